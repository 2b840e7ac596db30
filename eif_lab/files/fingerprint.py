"""What files hold, known by their contents and not by their names or times."""

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
    there = sorted(path for path in paths if path.is_file())
    names = [path.name if below is None else path.relative_to(below).as_posix() for path in there]
    return [[name, _contents(path, path.stat())] for name, path in zip(names, there)]


def _contents(path: Path, state: os.stat_result) -> str:
    """The file's SHA-256, first 16 hex digits; read once in this process, while nobody writes to the file."""
    # the time of the last change is the system's own: nobody sets it back, as one can that of the contents
    return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


@cache
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
