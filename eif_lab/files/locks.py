"""Locks that die with the process that holds them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

log = logging.getLogger(__name__)


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
    """Whether a process holds the lock file ``path``; nothing is written, so that the file may be another user's."""
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
def folder_lock(folder: Path) -> Iterator[bool]:
    """Within this, no other process that calls this on the same folder goes on; no file is left there.

    It yields False where the file system knows no locks on folders, such as that of a network.
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
