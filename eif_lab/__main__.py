"""``eif-lab`` and ``python -m eif_lab``: a subcommand, or else the jobs that Hydra composes."""

from typing import NoReturn

from eif_lab.commands.interruption import run


def main() -> NoReturn:
    """Run the command line; what it needs is imported within, since Ctrl-C may come then, too."""
    run("eif_lab.commands.dispatch")


if __name__ == "__main__":
    main()
