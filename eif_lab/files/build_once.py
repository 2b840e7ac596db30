"""Folders that are slow to make, such as trained models: built by one process, and reused by the others."""

from __future__ import annotations

import json
import logging
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eif_lab.errors import ConfigError
from eif_lab.files.checksums import damage, write_sums
from eif_lab.files.locks import locked

log = logging.getLogger(__name__)


REPORT = "report.json"
"""The file of a folder that holds what was measured while it was built."""


def build_once(directory: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The report of the folder ``directory``, which is built now if it is not there or is damaged.

    ``make`` works in a ``.partial`` folder beside it that outlives an interruption (training goes on from its last
    checkpoint there) and is renamed when done. A second process waits for a lock, which dies with its holder.

    Args:
        directory: The folder.
        make: Writes files to the folder that it is called with, and returns a report that JSON can hold.
    """
    if not _is_whole(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with locked(directory.with_name(directory.name + ".lock"), f"makes {directory.name}"):
            if not _is_whole(directory):  # another process may have built it meanwhile
                partial = directory.with_name(directory.name + ".partial")
                partial.mkdir(exist_ok=True)
                if damage(partial):
                    _build(partial, make)
                if directory.is_dir():
                    log.warning("%s is damaged, or another version's (%s); made again", directory, damage(directory))
                    shutil.rmtree(directory)
                partial.rename(directory)
    return json.loads((directory / REPORT).read_text(encoding="utf-8"))


def built_report(directory: Path) -> dict[str, Any]:
    """The report of a folder that was built; empty where `build_once` would build it now."""
    return json.loads((directory / REPORT).read_text(encoding="utf-8")) if _is_whole(directory) else {}


def _is_whole(directory: Path) -> bool:
    return directory.is_dir() and not damage(directory)


def _build(partial: Path, make: Callable[[Path], dict[str, Any]]) -> None:
    try:
        report = make(partial)
    except ConfigError:
        if partial.is_dir() and not any(partial.iterdir()):
            partial.rmdir()
        raise
    (partial / REPORT).write_text(json.dumps(report, indent=2), encoding="utf-8")
    set_usual_permissions(partial, (partial / REPORT).stat().st_mode)
    write_sums(partial)


def set_usual_permissions(folder: Path, mode: int) -> None:
    """Give files below a folder the permissions that the umask gives, where a library gave them to the owner alone.

    Safetensors does so, and all that goes through `tempfile`.

    Args:
        folder: Folders below it get its permissions.
        mode: The mode of a file that was made in the usual way.
    """
    for path in folder.rglob("*"):
        usual = stat.S_IMODE(folder.stat().st_mode if path.is_dir() else mode)
        if stat.S_IMODE(path.stat().st_mode) != usual:
            path.chmod(usual)
