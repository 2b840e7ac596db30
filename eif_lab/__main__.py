"""``eif-lab`` and ``python -m eif_lab``: a subcommand, or else the jobs that Hydra composes."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from eif_lab.commands.interruption import run


def main() -> NoReturn:
    """Run the command line; what it needs is imported within, since Ctrl-C may come then, too."""
    with suppress(OSError):  # of a folder that is gone
        if not sys.flags.safe_path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # where ``python -m`` looks for the user's own modules, too
    run("eif_lab.commands.dispatch")


if __name__ == "__main__":
    main()
