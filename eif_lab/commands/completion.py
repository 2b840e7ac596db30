"""What Hydra's completion for a shell lacks: the subcommands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def subcommands_typed(arguments: Sequence[str], subcommands: Iterable[str]) -> list[str]:
    """The subcommands that begin as the first word of the line does which is being typed in a shell.

    Args:
        arguments: Of this command; a shell asks with ``-sc query=bash``, and gives the line in the environment.
        subcommands: All of them.
    """
    if not any(argument.startswith("query=") for argument in arguments):
        return []
    line = os.environ.get("COMP_LINE", "")
    _, *words = line[: int(os.environ.get("COMP_POINT") or len(line))].split(" ")
    return [name for name in subcommands if len(words) == 1 and name.startswith(words[0])]
