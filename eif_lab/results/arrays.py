"""The influence array on disk: zarr v3, chunked by stimulus, every chunk compared with its checksum when it is read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from eif_lab.errors import ConfigError
from eif_lab.files.checksums import difference

NAME = "influence"
CHUNK_BYTES = 16 * 2**20
LARGEST_COORDINATE = 256 * 2**20
"""Bytes of a coordinate that is read at once; of a text, 16 for each."""


def write_array(path: Path, array: xr.DataArray) -> None:
    """Write ``array`` to ``path`` in one chunk per block of stimuli (all probes, at most 16 MiB).

    The metadata of all coordinates stand together in the store's own, too, so that ``xarray.open_zarr`` reads one file.

    Strings are stored as zarr's variable-length ``string``: numpy's fixed-length unicode is not in the zarr v3
    specification, so that other readers need not know it.

    Args:
        path: The store's folder; what stands there is replaced.
        array: The influence array; attributes must be what JSON holds.
    """
    dataset = array.rename(NAME).drop_encoding().to_dataset()
    texts = {name: _as_strings(values) for name, values in dataset.variables.items() if values.dtype.kind == "U"}
    dataset = dataset.assign_coords(texts)
    encoding = {name: {"chunks": _chunks(v), "_FillValue": None} for name, v in dataset.variables.items()}
    with warnings.catch_warnings():
        # that consolidated metadata is not yet in the specification: other readers read each array's own
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", ZarrUserWarning)
        # a path would be taken for an address where it has "::" in it
        dataset.to_zarr(LocalStore(path), mode="w", zarr_format=3, consolidated=True, encoding=encoding)


def open_array(path: Path, sums: Mapping[str, str] | None = None) -> xr.DataArray:
    """The array at ``path``: coordinates in memory, values read when they are asked for (no dask).

    A coordinate of more than `LARGEST_COORDINATE` is read when it is asked for, too.

    Args:
        path: The store's folder.
        sums: The checksum of each file, by its place below the folder that ``path`` is in: files are compared with
            them as they are read. None where they were checked before, or where there are none.

    Raises:
        ConfigError: A file is damaged or missing; also later, when values are read.
    """
    store = LocalStore(path, read_only=True) if sums is None else CheckedStore(path, sums)
    # Attributes such as `units` are the project's own: CF decoding would turn seconds into timedeltas.
    array = xr.open_zarr(store, chunks=None, consolidated=False, decode_times=False, decode_timedelta=False)[NAME]
    small = {name: one.variable for name, one in array.coords.items() if one.nbytes <= LARGEST_COORDINATE}
    return array.assign_coords({name: _plain(one.load()) for name, one in small.items()})


def blocks(array: xr.DataArray, most: int = 4 * CHUNK_BYTES) -> Iterator[xr.DataArray]:
    """The array some stimuli at a time, each block in memory with its coordinates, for what is too large at once.

    Args:
        array: With the dimension ``stimulus``, such as `open_array` gives.
        most: Bytes of a block's values, but for the rows of one chunk at least.
    """
    place = array.dims.index("stimulus")
    rows = _chunks(array.variable)[place]
    step = rows * max(1, most // max(array.nbytes // max(array.sizes["stimulus"], 1) * rows, 1))
    for start in range(0, array.sizes["stimulus"], step):
        yield array.isel(stimulus=slice(start, start + step)).load()


class CheckedStore(LocalStore):
    """A store to read, whose files are compared with their checksums as they are read.

    Zarr alone would take a chunk that is missing for one that was never filled.
    """

    def __init__(self, root: Path, sums: Mapping[str, str]) -> None:
        super().__init__(root, read_only=True)
        self.sums = sums

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """The file's contents, or the part of them that is asked for; None where there is no such file.

        Raises:
            ConfigError: It is not what was written.
        """
        whole = await super().get(key, prototype)
        place = f"{self.root.name}/{key}"
        if change := difference(place, None if whole is None else whole.to_bytes(), self.sums):
            raise damage_error(self.root.parent, change)
        return whole if byte_range is None or whole is None else await super().get(key, prototype, byte_range)


def damage_error(folder: Path, change: str) -> ConfigError:
    """The error of results that are not what was written; ``change`` says which file differs, and how."""
    return ConfigError(f"{folder} must be as it was written, got damage: {change}. Run the job again.")


def _chunks(values: xr.Variable) -> tuple[int, ...]:
    """The whole variable, cut along ``stimulus`` where it is larger than a chunk may be."""
    sizes = dict(values.sizes)
    if "stimulus" in sizes:
        row_bytes = values.size // max(sizes["stimulus"], 1) * values.dtype.itemsize
        sizes["stimulus"] = min(sizes["stimulus"], max(1, CHUNK_BYTES // max(row_bytes, 1)))
    return tuple(max(size, 1) for size in sizes.values())


def _as_strings(values: xr.Variable) -> xr.Variable:
    return xr.Variable(values.dims, values.values.astype(np.dtypes.StringDType()), values.attrs)


def _plain(values: xr.Variable) -> xr.Variable:
    """The variable with numpy's ordinary unicode, as wide as its longest string."""
    data = values.values
    if data.dtype.kind == "T":
        data = data.astype(f"U{np.strings.str_len(data).max(initial=1)}")
    return xr.Variable(values.dims, data, values.attrs)
