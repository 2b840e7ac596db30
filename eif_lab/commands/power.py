"""``eif-lab power``: how many worlds it takes for an effect to satisfy logic and negation."""

from __future__ import annotations

from eif_lab.commands.answer import make_parser, run_command
from eif_lab.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Print the table, each line as soon as it is known.

    Returns:
        0; 2 for a mistake, reported in one line.
    """
    parser = make_parser("power")
    parser.add_argument("--worlds", type=int, default=20, help="number of worlds to give the power at (%(default)s)")
    parser.add_argument("--stimuli", type=int, default=3, help="stimuli in each world (%(default)s)")
    parser.add_argument("--draws", type=int, default=100, help="simulated arrays per line and size (%(default)s)")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.3, 1.0], help="standard deviations of a cell")
    parser.add_argument("--effect", type=float, nargs="+", default=[0.1, 0.15, 0.2, 0.3], help="true effects")
    args = parser.parse_args(arguments)
    from eif_lab.desiderata.power import power_table

    def run() -> int:
        for line in power_table(args.worlds, args.stimuli, args.draws, args.noise, args.effect):
            print(line, flush=True)
        return 0

    return run_command(run, (ConfigError,))
