"""``eif-lab judge SCORES dataset=...``: scores of another program in the place of a model, as a job."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from eif_lab.commands.answer import SUBCOMMANDS, make_parser


def main(arguments: list[str]) -> int:
    """Run the job, or a sweep of one job for each file.

    Returns:
        The exit code of the job (`dispatch.main`).
    """
    parser = make_parser("judge")
    parser.description = f"{SUBCOMMANDS['judge']} The same as eif-lab model=scores model.path=SCORES OPTION=VALUE."
    parser.usage = "eif-lab judge SCORES [SCORES ...] [OPTION=VALUE ...]"
    parser.add_argument("scores", type=Path, nargs="+", metavar="SCORES", help="a file or a folder of scores")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="dataset=..., model.source=..., and the like"
    )
    files = list(takewhile(is_file, arguments))
    if {"-h", "--help"} & set(arguments):
        parser.parse_args(["--help"])
    if not files:
        parser.error("the following arguments are required: SCORES")
    from eif_lab.commands.loader import format_override
    from eif_lab.commands.run import main as run

    paths = [format_override("model.path", str(path)) for path in files]
    several = ",".join(path.partition("=")[2] for path in paths)
    chosen, rest = ["model=scores", f"model.path={several}"], arguments[len(files) :]
    # the overrides of a command stand together, before or behind its flags
    together = [*rest, *chosen] if rest and rest[0].startswith("-") else [*chosen, *rest]
    return run([*["-m"] * (len(paths) > 1 and not {"-m", "--multirun"} & set(rest)), *together])


def is_file(argument: str) -> bool:
    """Whether a word of the command line is a file of scores: what is there, or what sets no option."""
    return not argument.startswith("-") and (Path(argument).exists() or "=" not in argument)
