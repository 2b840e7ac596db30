"""``eif-lab claims RESULTS ...``: the paper's claims beside what stored results say."""

from __future__ import annotations

from pathlib import Path

from eif_lab.commands.answer import make_parser, print_result


def main(arguments: list[str]) -> int:
    """Write the table of the jobs that the command line names.

    Returns:
        0; 2 for a mistake, reported in one line.
    """
    parser = make_parser("claims")
    parser.add_argument("results", nargs="+", type=Path, help="folders of jobs or sweeps")
    place = "where claims.md and claims.json go (%(default)s)"
    parser.add_argument("--output", type=Path, default=Path("outputs"), help=place)
    args = parser.parse_args(arguments)
    from eif_lab.figures.claims import claims
    from eif_lab.figures.claims_table import write_claims
    from eif_lab.figures.runs import find_jobs

    return print_result(lambda: write_claims(claims(find_jobs(args.results)), args.output))
