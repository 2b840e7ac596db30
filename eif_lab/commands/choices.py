"""The contents of ``conf/``: groups, their choices, and the sentence with which each describes itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from eif_lab.configs import CONF

PRIMARY = "config"
"""The config of ``CONF`` that a command line overrides."""


class Entry(NamedTuple):
    """A line of the primary config: a group or an option.

    Attributes:
        name: Such as ``method`` or ``seed``.
        default: Its choice or value, as it is written there.
        sentence: The comment behind it.
    """

    name: str
    default: str
    sentence: str


def described_entries(indented: bool) -> Iterator[Entry]:
    """The groups (``indented``) or the options of the primary config that have a comment, in its order."""
    start = "  - (?:optional )?" if indented else ""
    line = re.compile(rf"{start}(\w[\w/]*): (.*?) # (.*)")
    for text in (CONF / f"{PRIMARY}.yaml").read_text(encoding="utf-8").splitlines():
        if found := line.fullmatch(text):
            yield Entry(*found.groups())


def choices(group: str, folders: Iterable[Path] = (CONF,)) -> dict[str, str]:
    """The choices of a group, each with its sentence.

    Args:
        group: Such as ``method`` or ``hydra/launcher``.
        folders: Where configs are looked for.
    """
    files = [file for folder in folders for file in (folder / group).glob("*.yaml")]
    return {file.stem: first_comment(file) for file in sorted(files, key=lambda file: file.stem)}


def first_comment(file: Path) -> str:
    """The first comment of a config file, but for the one that says its package; empty where it has none."""
    text = file.read_text(encoding="utf-8", errors="replace")
    comments = re.findall(r"(?:^|(?<= ))# (.*)", text, re.MULTILINE)
    return next((comment for comment in comments if not comment.startswith("@package")), "")
