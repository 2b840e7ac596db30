"""``eif-lab --help``, from the comments of the config files."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eif_lab.commands.choices import choices, described_entries
from eif_lab.configs import CONF

WIDEST = 100
"""Characters of a line."""

INTRODUCTION = """\
usage: eif-lab [GROUP=CHOICE ...] [OPTION=VALUE ...] [-m] [FLAGS]
       eif-lab SUBCOMMAND ...

What did one training sample do to everything else that a model says? A job is one choice from each group below, with
any options of these choices; -m sweeps over lists:

  eif-lab dataset=fashion_mnist method=lora method.rank=4
  eif-lab -m model=cnn,phi3 method=lora,full
"""

FLAGS = {
    "-m": "run a sweep: a job for each combination of the values that are separated by commas",
    "-c job": "print the composed config and run nothing; shows all options of the choices",
    "--config-dir DIR": "look for choices in a folder of your own, too",
    "--info": "say where configs are looked for, and what the choices are made of",
    "-sc install=SHELL": 'print what completes eif-lab in bash, zsh or fish: eval "$(eif-lab -sc install=bash)"',
    "--hydra-help": "list the other flags, which are Hydra's",
    "--version": "print the version",
}


def help_text(arguments: Sequence[str], subcommands: Mapping[str, str]) -> str:
    """The text of ``eif-lab --help``.

    Args:
        arguments: Of the command line; folders of the user's own choices among them are looked into.
        subcommands: The sentence of each.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-cd", "--config-dir", type=Path)
    own = parser.parse_known_args(arguments)[0].config_dir
    folders = [CONF, own] if own and own.is_dir() else [CONF]
    groups = [group for group in described_entries(indented=True) if not group.name.startswith("hydra")]
    parts = [INTRODUCTION, "subcommands (each has a --help):", *table(subcommands.items(), "  ")]
    parts += ["", "groups and their choices (* is the default):"]
    for group in groups:
        described = choices(group.name, folders).items()
        derived = f" ({group.default} unless given)" if "$" in group.default else ""
        parts += [*table([(group.name, group.sentence + derived)], "  ")]
        marks = {name: "* " if name in group.default.strip("[]").split(", ") else "  " for name, _ in described}
        parts += table([(marks[name] + name, sentence) for name, sentence in described], "    ")
    parts += ["  hydra/launcher: where the jobs of a sweep run, if not in this process"]
    parts += table([(f"  {name}", sentence) for name, sentence in choices("hydra/launcher", folders).items()], "    ")
    parts += ["", "options of every job:"]
    parts += table([(f"{one.name}={one.default}", one.sentence) for one in described_entries(indented=False)], "  ")
    return "\n".join([*parts, "", "flags:", *table(FLAGS.items(), "  ")])


def table(rows: Iterable[tuple[str, str]], indent: str) -> list[str]:
    """Lines of two columns, the second one wrapped to the terminal's width."""
    rows = list(rows)
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    column = len(indent) + 2 + max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, sentence in rows:
        first = f"{indent}{name}".ljust(column)
        wrapped = textwrap.wrap(sentence, max(20, width - column), break_on_hyphens=False) or [""]
        lines += [f"{first}{wrapped[0]}".rstrip(), *(" " * column + line for line in wrapped[1:])]
    return lines
