"""The influence array on disk: zarr v3, chunked by stimulus, and a checksum over every byte of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

NAME = "influence"
CHUNK_BYTES = 16 * 2**20


def write_array(path: Path, array: xr.DataArray) -> None:
    """Write ``array`` to ``path`` in one chunk per block of stimuli (all probes, at most 16 MiB).

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
    dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def open_array(path: Path) -> xr.DataArray:
    """The array at ``path``: coordinates in memory, values read when they are asked for (no dask)."""
    # Attributes such as `units` are the project's own: CF decoding would turn seconds into timedeltas.
    array = xr.open_zarr(path, chunks=None, consolidated=False, decode_times=False, decode_timedelta=False)[NAME]
    return array.assign_coords({name: _plain(values.variable.load()) for name, values in array.coords.items()})


def checksum(path: Path) -> str:
    """sha256 over the names and bytes of every file below ``path``, in hexadecimal."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            digest.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


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
