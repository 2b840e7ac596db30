"""The cache of influence arrays, keyed by what determines their values."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from eif_lab.files.checksums import damage, write_sums
from eif_lab.results.arrays import open_array, write_array
from eif_lab.results.job import ARRAY

log = logging.getLogger(__name__)


def array_key(determinants: Mapping[str, Any]) -> str:
    """The name of an array: the first 16 hexadecimal digits of the sha256 of its determinants' canonical JSON.

    Keys are sorted and floats written so that they read back exactly; 1, 1.0 and true are three values.

    Args:
        determinants: All that decides the array's values: nested mappings, lists, text, numbers, booleans, None.

    Raises:
        TypeError: A value that JSON cannot hold, with its place.
    """
    canonical = json.dumps(_to_json(determinants, "determinants"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class ArrayCache:
    """Influence arrays by key, shared by jobs and processes: ``<root>/<key>/influence.zarr`` and its checksums.

    An entry appears whole or not at all, and is compared with its checksums before it is used.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def find(self, key: str) -> xr.DataArray | None:
        """The array stored under ``key``, in memory; None where there is none, or only a damaged one."""
        entry = self.root / key
        if not entry.is_dir():
            return None
        if change := damage(entry):
            log.warning("cached array %s is damaged, or another version's (%s); it is computed again", entry, change)
            return None
        return open_array(entry / ARRAY).load()

    def put(self, key: str, array: xr.DataArray) -> None:
        """Store ``array`` under ``key``; an intact array that another process put there first stays.

        Raises:
            OSError: The array cannot be written, for instance because the disk is full.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        fresh = self._sibling_folder(key)
        try:
            fresh.mkdir()
            write_array(fresh / ARRAY, array)
            write_sums(fresh)
            self._install(fresh, self.root / key)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _install(self, fresh: Path, entry: Path) -> None:
        """Rename ``fresh`` to ``entry``, unless what stands there is intact."""
        while True:
            try:
                fresh.rename(entry)
            except OSError as error:
                # A folder that is not empty refuses to be replaced: that is how the loser of a race learns of it.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return
            if not damage(entry):
                return
            self._discard(entry)

    def _discard(self, entry: Path) -> None:
        """Take a damaged entry away in one step, so that no other process reads half of it."""
        aside = self._sibling_folder(entry.name)
        try:
            entry.rename(aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def unfinished_folders(self, key: str) -> list[Path]:
        """Folders of ``key`` that are not renamed yet: of a process that was killed, or of one that is writing now."""
        return list(self.root.glob(f".{key}.*"))

    def clear_unfinished(self, key: str) -> None:
        """Remove the `unfinished_folders`; only the process that holds the lock of ``key`` may do so."""
        for folder in self.unfinished_folders(key):
            shutil.rmtree(folder, ignore_errors=True)

    def _sibling_folder(self, key: str) -> Path:
        return self.root / f".{key}.{uuid.uuid4().hex}"


def _to_json(value: Any, place: str) -> Any:
    """``value`` in JSON's own types; a TypeError where that would lose something."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{place} must have text as keys, got {key!r}. Use str().")
        return {key: _to_json(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{place} must be a finite number, got {value!r}. Use None or text.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{place} must be what JSON holds, got {type(value).__name__} {value!r}. Convert it first.")
