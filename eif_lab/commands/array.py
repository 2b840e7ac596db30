"""``eif-lab array JOB PICTURE``: the influence array of a job as a picture."""

from __future__ import annotations

from pathlib import Path

from eif_lab.commands.answer import make_parser, print_result


def main(arguments: list[str]) -> int:
    """Draw the array of a job.

    Returns:
        0; 2 for a mistake, reported in one line.
    """
    parser = make_parser("array")
    parser.add_argument("job", type=Path, help="the folder of a job that is done")
    parser.add_argument("picture", type=Path, help="the file to write, such as array.png or array.pdf")
    args = parser.parse_args(arguments)
    from eif_lab.figures.array import write_picture

    return print_result(lambda: write_picture(args.job, args.picture))
