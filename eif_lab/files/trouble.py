"""A full or forbidden disk, told in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eif_lab.errors import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT)


FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def disk_trouble(*folders: str | Path) -> Iterator[None]:
    """Turn a full disk, or a folder that this user may not read or write, into one line.

    Args:
        folders: Where a job writes.

    Raises:
        ConfigError: With the system's own reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            rule, hint = "have room", "Make room: the same command then goes on from what is stored."
        elif error.errno in FORBIDDEN:
            rule, hint = "be yours to read and write", "Try folders of your own, with cache=... and hydra.run.dir=..."
        else:
            raise
        told = " and ".join(map(str, folders_of(error, folders)))
        raise ConfigError(f"{told} must {rule}, got {error}. {hint}") from error


def folders_of(error: OSError, folders: Sequence[str | Path]) -> Sequence[str | Path]:
    """The folder that a file is in which gave trouble; all where the system named no file, or one elsewhere."""
    if not isinstance(error.filename, str):
        return folders
    place = Path(error.filename).absolute()
    return [folder for folder in folders if place.is_relative_to(Path(folder).absolute())] or folders
