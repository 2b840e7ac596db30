"""A full disk, and a folder without permission, as one-line errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eif_lab.errors import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def disk_errors(*folders: str | Path) -> Iterator[None]:
    """Within this, a full disk, or a folder that this user may not read or write, is a ConfigError of one line.

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
        places = " and ".join(map(str, folders_of(error, folders)))
        raise ConfigError(f"{places} must {rule}, got {error}. {hint}") from error


def folders_of(error: OSError, folders: Sequence[str | Path]) -> Sequence[str | Path]:
    """The folder of the file that an error names; all folders where it names none, or one elsewhere."""
    if not isinstance(error.filename, str):
        return folders
    place = Path(error.filename).absolute()
    return [folder for folder in folders if place.is_relative_to(Path(folder).absolute())] or folders
