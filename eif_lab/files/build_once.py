"""What is slow to make is made by one process and found by the others."""

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


def made_once(directory: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The report of what ``make`` left in ``directory``, made now if it is not there, or no longer what was made.

    ``make`` works in a ``.partial`` folder beside it that outlives an interruption (training goes on from its last
    checkpoint there) and is renamed when done; a lock that dies with its holder keeps a second process waiting.

    Args:
        directory: Where the result is looked for and kept.
        make: Writes files to the folder it is given and returns a report that JSON can hold.
    """
    if not _there(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with locked(directory.with_name(directory.name + ".lock"), f"makes {directory.name}"):
            if not _there(directory):  # the other process may have made it meanwhile
                partial = directory.with_name(directory.name + ".partial")
                partial.mkdir(exist_ok=True)
                if damage(partial):
                    _make(partial, make)
                if directory.is_dir():
                    log.warning("%s is damaged, or another version's (%s); made again", directory, damage(directory))
                    shutil.rmtree(directory)
                partial.rename(directory)
    return json.loads((directory / REPORT).read_text(encoding="utf-8"))


def kept_report(directory: Path) -> dict[str, Any]:
    """The report of what was made in ``directory``; empty where `made_once` would make it now."""
    return json.loads((directory / REPORT).read_text(encoding="utf-8")) if _there(directory) else {}


def _there(directory: Path) -> bool:
    return directory.is_dir() and not damage(directory)


def _make(partial: Path, make: Callable[[Path], dict[str, Any]]) -> None:
    try:
        report = make(partial)
    except ConfigError:
        if partial.is_dir() and not any(partial.iterdir()):
            partial.rmdir()
        raise
    (partial / REPORT).write_text(json.dumps(report, indent=2), encoding="utf-8")
    give_usual_rights(partial, (partial / REPORT).stat().st_mode)
    write_sums(partial)


def give_usual_rights(folder: Path, mode: int) -> None:
    """Let those read (and write) what is below a folder whom the umask lets, where a library let its owner alone.

    Safetensors and all that goes through `tempfile` are such.

    Args:
        folder: Whose own rights are given to folders.
        mode: Of a file that was made in the usual way.
    """
    for path in folder.rglob("*"):
        wanted = stat.S_IMODE(folder.stat().st_mode if path.is_dir() else mode)
        if stat.S_IMODE(path.stat().st_mode) != wanted:
            path.chmod(wanted)
