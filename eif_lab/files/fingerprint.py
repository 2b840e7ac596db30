"""Checksums of data files, so that changed contents are noticed whatever their names and times."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def fingerprint(paths: Iterable[Path], below: Path | None = None) -> list[list[str]]:
    """Name and SHA-256 of each file, so that an array measured on other contents is not taken for this one.

    Args:
        paths: The files; those that are not there are left out.
        below: The folder that names begin at; None for the files' own names.
    """
    existing = sorted(path for path in paths if path.is_file())
    names = [path.name if below is None else path.relative_to(below).as_posix() for path in existing]
    return [[name, _contents(path, path.stat())] for name, path in zip(names, existing)]


def _contents(path: Path, state: os.stat_result) -> str:
    """The file's SHA-256, first 16 hex digits; read once in this process, while nobody writes to the file."""
    # a user can set the modification time back, but not the change time
    return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


@cache
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
