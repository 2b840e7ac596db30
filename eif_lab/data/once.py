"""What is slow to make is made by one process and found by the others."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout, lock_descriptor

from eif_lab.data.checksums import damage, write_sums
from eif_lab.schema import ConfigError

log = logging.getLogger(__name__)

REPORT = "report.json"


@contextmanager
def locked(path: Path, does: str) -> Iterator[None]:
    """Within this, no other process holds the lock file ``path``; the lock dies with its holder.

    Args:
        path: Stays there afterwards: to remove it would let in two at once.
        does: What another holder does, for the line that says what is waited for.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that %s", does)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock file ``path``; not where another one does, or where it may not be written."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file ``path``; to ask, nothing is written, so that it may be another user's."""
    try:
        descriptor = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except OSError:  # there is none, or it is another user's alone
        return False
    try:
        return not lock_descriptor(descriptor, blocking=False)
    except OSError:  # a network's file system may want the right to write for that
        return False
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Within this, no other process that asks for the same holds the folder; nothing is left there.

    It gives False where the file system knows no locks on folders, such as that of a network.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            lock_descriptor(descriptor)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


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
