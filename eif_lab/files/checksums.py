"""Checksums of what a folder holds, in the format of ``sha256sum``, so that damage is seen when it is read."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SUMS = "checksums.txt"


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def files_below(folder: Path, names: Iterable[str] = (".",)) -> dict[str, Path]:
    """Every file of ``folder`` but its checksums, by its place below it.

    Args:
        folder: Where to look.
        names: Files and folders in it; by default all.
    """
    files = [file for name in names for file in [folder / name, *(folder / name).rglob("*")] if file.is_file()]
    return {place: file for file in sorted(files) if (place := file.relative_to(folder).as_posix()) != SUMS}


def write_sums(folder: Path, names: Iterable[str] = (".",)) -> str:
    """Write the checksums of `files_below` to ``folder/checksums.txt``; ``sha256sum --check`` reads it, too.

    Returns:
        What was written.
    """
    text = "".join(f"{sha256(file.read_bytes())}  {place}\n" for place, file in files_below(folder, names).items())
    (folder / SUMS).write_text(text, encoding="utf-8")
    return text


def read_sums(text: str) -> dict[str, str]:
    """The checksum of each file, by its place.

    Raises:
        ValueError: A line is not in the format of ``sha256sum``.
    """
    pairs = [line.split("  ", 1) for line in text.splitlines()]
    return {place: digest for digest, place in pairs}


def damage(folder: Path, names: Iterable[str] = (".",)) -> str:
    """How a folder differs from its checksums, in words; empty where it is as it was written.

    Args:
        folder: With a ``checksums.txt``.
        names: What `write_sums` was given.
    """
    try:
        sums = read_sums((folder / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"no checksums to be read ({type(error).__name__})"
    files = files_below(folder, names)
    for place in sorted(sums.keys() | files.keys()):
        if damaged := difference(place, files[place].read_bytes() if place in files else None, sums):
            return damaged
    return ""


def difference(place: str, content: bytes | None, sums: Mapping[str, str]) -> str:
    """How one file differs from its checksum, in words; empty where it does not.

    Args:
        place: Where the file is, as in ``sums``.
        content: None where there is no such file.
        sums: The checksum of each file, by place.
    """
    if content is None:
        return f"{place} is missing" if place in sums else ""
    if place not in sums:
        return f"{place} was not written with the rest"
    return "" if sha256(content) == sums[place] else f"{place} has other contents than were written"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        fresh.write_bytes(content)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def clear_partial_writes(path: Path) -> None:
    """Remove what a process left that was killed in `replace_file`; only for the one process that writes ``path``."""
    for leftover in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 32}"):
        leftover.unlink(missing_ok=True)


def write_checked(path: Path, content: bytes) -> None:
    """Write a file whose first line is the checksum of the rest, the content; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, f"{sha256(content)}\n".encode() + content)


def read_checked(path: Path) -> bytes | None:
    """The content of a file that `write_checked` wrote; None where there is none, or it is damaged."""
    if not path.is_file():
        return None
    digest, _, content = path.read_bytes().partition(b"\n")
    return content if digest.decode(errors="replace") == sha256(content) else None


class HashedFile:
    """A file that is written from front to back, with the SHA-256 of what has been written so far."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        """Append to the file; the number of bytes written."""
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        """Pass buffered bytes on to the system."""
        self.file.flush()


@contextmanager
def checked_file(path: Path) -> Iterator[HashedFile]:
    """Within this, content too large for memory is written piece by piece, after a first line with its checksum.

    Until it is whole, the file has another name, always the same, so that the next attempt overwrites what a killed
    process left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    try:
        with fresh.open("wb") as file:
            file.write(f"{sha256(b'')}\n".encode())  # keeps the place
            hashed = HashedFile(file)
            yield hashed
            file.seek(0)
            file.write(hashed.digest.hexdigest().encode())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def opened_checked(path: Path) -> Iterator[BinaryIO]:
    """A file that `checked_file` or `write_checked` wrote, open where its content begins.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    with path.open("rb") as file:
        first_line = file.readline()
        begins = file.tell()
        if first_line != f"{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode():
            raise ValueError(f"{path} has other contents than were written")
        file.seek(begins)
        yield file
