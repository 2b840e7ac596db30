"""The command ``eif-lab``: a subcommand, the help, or else jobs (`run`)."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence

from eif_lab.commands.answer import SUBCOMMANDS, USER_ERROR, replace_unencodable
from eif_lab.errors import rule_error, unknown_name


def main(given: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        given: Its words; None for those of this process.

    Returns:
        The exit code: 0; 1 where a job failed or memory ran out; 2 for a mistake in the command line, reported in one
        line before anything is written; 130 where it was interrupted.
    """
    arguments = list(sys.argv[1:] if given is None else given)
    first = arguments[0] if arguments else ""
    if first in SUBCOMMANDS:
        command: int = importlib.import_module(f"eif_lab.commands.{first}").main(arguments[1:])
        return command
    if re.fullmatch(r"[A-Za-z][\w-]*", first):
        print(no_such_subcommand(first), file=sys.stderr)
        return USER_ERROR
    if {"-h", "--help"} & set(arguments):
        from eif_lab.commands.help import help_text

        replace_unencodable()
        print(help_text(arguments, SUBCOMMANDS))
        return 0
    if "--version" in arguments:
        from importlib.metadata import version

        print(f"eif-lab {version('eif-lab')}")
        return 0
    from eif_lab.commands.run import main as run

    return run(arguments)


def no_such_subcommand(word: str) -> Exception:
    """The line for a first word that is neither a subcommand nor sets an option."""
    error = unknown_name("the subcommand", word, SUBCOMMANDS)
    if "Did you mean" in str(error):
        return error
    rule = f"be a subcommand ({', '.join(SUBCOMMANDS)}) or set an option"
    return rule_error("the first word", rule, word, f"Try {word}=... or eif-lab --help.")
