"""What a command prints: its answer, or its user's mistake in one line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from eif_lab.errors import (
    ConfigError,
    memory_line,
    printable,
    short_of_memory,
)


def print_anywhere() -> None:
    """Let the console show a question mark for each letter that its encoding lacks, where it would end the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def in_one_line(call: Callable[[], object]) -> int:
    """Print what a command gives, or its user's mistake in one line.

    Returns:
        The exit code: 0, 1 where memory ran out, or 2 for the mistake.
    """
    print_anywhere()
    try:
        print(printable(str(call())))
    except Exception as error:
        if short_of_memory(error):
            print(memory_line(error), file=sys.stderr)
            return 1
        if not isinstance(error, ConfigError | OSError):
            raise
        print(printable(" ".join(str(error).split())), file=sys.stderr)
        return 2
    return 0
