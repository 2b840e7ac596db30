"""``eif-lab power``: how strong an effect must be for logic and negation to be satisfied."""

from __future__ import annotations

from eif_lab.commands.answer import ended, parser_of
from eif_lab.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Print the table, each line as soon as it is known.

    Returns:
        0; 2 for a mistake, told in one line.
    """
    parser = parser_of("power")
    parser.add_argument("--worlds", type=int, default=20, help="number of worlds (%(default)s)")
    parser.add_argument("--draws", type=int, default=100, help="simulated arrays per effect tried (%(default)s)")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.3, 1.0], help="standard deviations of a cell")
    asked = parser.parse_args(arguments)
    from eif_lab.desiderata.power import power_table

    def run() -> int:
        for line in power_table(asked.worlds, asked.draws, asked.noise):
            print(line, flush=True)
        return 0

    return ended(run, (ConfigError,))
