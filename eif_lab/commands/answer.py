"""The base of the subcommands: their list, their parser, and the output of a command or its error in one line."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from eif_lab.errors import ConfigError, memory_line, one_line, printable, short_of_memory

JOB_FAILED, USER_ERROR = 1, 2
"""Exit codes."""

SUBCOMMANDS = {
    "array": "Draw the influence array of a job.",
    "claims": "Hold the paper's claims to stored results.",
    "convert": "Make a language model of Llama's form, such as a GGUF of SmolLM2, into one of Phi-3's form.",
    "figures": "Draw a figure of the paper from stored results.",
    "judge": "Hold scores that are in a file, such as those of an attribution method, to the desiderata.",
    "power": "Say how many worlds it takes for an effect of a given size to satisfy logic and negation.",
    "pretrain": "Make phi3-tiny or phi3-stored, the language models that come with the package.",
    "report": "Make one HTML page about a job or a sweep.",
    "status": "Say where each job of a sweep is, and how to go on with it.",
    "workspace": "Save a Weights & Biases workspace that compares jobs by their desiderata.",
}
"""The modules beside this one that are subcommands, each with a sentence."""


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and where to look for help, and exit with the code for it."""
        self.exit(USER_ERROR, printable(one_line(f"{message}. Try {self.prog} --help")) + "\n")


def make_parser(subcommand: str) -> Parser:
    """The parser of a subcommand, to which its module adds its arguments."""
    return Parser(prog=f"eif-lab {subcommand}", description=SUBCOMMANDS[subcommand])


def replace_unencodable() -> None:
    """Let the console show a question mark for each letter that its encoding lacks, where it would end the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_result(call: Callable[[], object]) -> int:
    """Print what a command gives, if that is not empty, or its user's mistake in one line.

    Returns:
        The exit code: 0, 1 where memory ran out, or 2 for the mistake.
    """

    def run() -> int:
        if answer := printable(str(call())):
            print(answer)
        return 0

    return run_command(run, (ConfigError, OSError))


def run_command(run: Callable[[], int], mistakes: tuple[type[Exception], ...]) -> int:
    """Run a command, and say in one line what a user can mend.

    Args:
        run: The command; it returns its exit code.
        mistakes: The errors that are the user's; others are raised.
    """
    replace_unencodable()
    try:
        return run()
    except Exception as error:
        if short_of_memory(error):
            print(memory_line(error), file=sys.stderr)
            return JOB_FAILED
        if not isinstance(error, mistakes):
            raise
        print(error_line(error), file=sys.stderr)
        return USER_ERROR


def error_line(error: Exception) -> str:
    """An error in one line; where it is not ours or the system's, with where to look for help."""
    line = printable(one_line(error))
    return line if isinstance(error, ConfigError | OSError) else f"{line}. Try eif-lab --help"


NEXT = {"look at them": "report", "go on": "status"}
"""What a reader may want to do with results, and the subcommand for it."""


def results_line(folder: Path, wish: str = "") -> str:
    """Where results are, and the next command to give.

    Args:
        folder: That of a job or a sweep.
        wish: One of `NEXT`; empty for no command.
    """
    line = f"results: {folder}"
    return f"{line}   {wish}: eif-lab {NEXT[wish]} {shlex.quote(str(folder))}" if wish else line
