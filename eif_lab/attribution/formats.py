"""Files and folders that hold scores, each opened without running code of theirs and mostly without reading it.

Scores are passed around, and so not trusted: pickles are not opened but for torch's tensors, and sizes are known before
anything is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from eif_lab.errors import ConfigError, class_and_reason, rule_error, short_of_memory
from eif_lab.influence.array import in_numpy

SCORES_BIN, INFO = "scores.bin", "info.json"
"""Files of a folder that bergson writes."""

PAIRWISE = "pairwise_scores.safetensors"
"""The file of a folder that kronfluence writes."""

HDF5 = b"\x89HDF\r\n\x1a\n"
"""How netCDF of version 4 begins."""

PAIR = ["stimulus_id", "probe_id"]
"""Columns of a table that name a cell."""

ALL_MODULES = "all_modules"
"""Kronfluence's name of the sum over modules."""


UNREAD: dict[str, Any] = {"decode_times": False, "decode_timedelta": False, "create_default_indexes": False}
"""How xarray opens a file as it is stored, without reading coordinates."""


@dataclass(frozen=True)
class Opened:
    """Scores that were found.

    Attributes:
        shape: As they are stored.
        read: Gives the values, two-dimensional, as they are stored.
        source: The program that alone writes them so; ``plain`` where any could have.
        reverse: Whether the program says that its sign is the other one.
        names: Gives the ids of the stimuli and of the probes as text, where they are stored; the values are then
            (stimuli, probes).
        unit: Of the values, where it is stored.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    source: str = "plain"
    reverse: bool = False
    names: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    unit: str = ""


def open_scores(path: Path, field: str, readout: str) -> Opened:
    """Find out what a file or a folder holds.

    Args:
        path: A file, or a folder that zarr, bergson or kronfluence has written.
        field: What errors call the path.
        readout: The one taken of an array that has several.

    Raises:
        ConfigError: There is nothing, it is of no known format, or it is damaged.
    """
    if not path.exists():
        raise rule_error(field, "name a file or a folder", str(path), "Try scores.npy.")
    opener = opener_of(path)
    if opener is None:
        known = f"{', '.join(FILES)}, or a folder of zarr, bergson or kronfluence"
        raise rule_error(field, f"name scores in a known format ({known})", str(path), "Try numpy.save.")
    try:
        return opener(path, field, readout)
    except ConfigError:
        raise
    except Exception as error:  # whatever the libraries raise for a file that is not what its name says
        if short_of_memory(error):
            raise
        raise unreadable(path, field, error) from None


def unreadable(path: Path, field: str, error: Exception) -> ConfigError:
    """The line for a file that a library cannot read."""
    return rule_error(field, f"name scores that can be read ({class_and_reason(error)[:300]})", str(path))


Opener = Callable[[Path, str, str], Opened]


def opener_of(path: Path) -> Opener | None:
    """What opens a file or folder, by its name and contents; None where nothing does."""
    if path.is_dir():
        inside: dict[str, Opener] = {
            SCORES_BIN: bergson,
            PAIRWISE: kronfluence,
            "zarr.json": zarr_store,
            ".zgroup": zarr_store,
        }
        return next((opener for name, opener in inside.items() if (path / name).is_file()), None)
    return FILES.get(path.suffix.lower())


def numpy_file(path: Path, field: str, readout: str) -> Opened:
    """NumPy's own format, which TRAK writes too (``scores/<name>.mmap``)."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return Opened(values.shape, lambda: np.asarray(values), "trak" if path.suffix == ".mmap" else "plain")


def tensor_file(path: Path, field: str, readout: str) -> Opened:
    """One tensor, as ``torch.save`` writes it."""
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(found, torch.Tensor):
        raise rule_error(field, "hold one tensor", type(found).__name__, "Try torch.save(scores, path).")
    return Opened(tuple(found.shape), lambda: in_numpy(found))


def kronfluence(path: Path, field: str, readout: str) -> Opened:
    """Kronfluence's pairwise scores, (probes, stimuli): of all modules, or summed over each."""
    from safetensors import safe_open

    file = path / PAIRWISE if path.is_dir() else path
    with safe_open(file, framework="pt") as stored:
        modules = sorted(stored.keys())
        names = [ALL_MODULES] if ALL_MODULES in modules else modules
        shapes = {tuple(stored.get_slice(name).get_shape()) for name in names}
    if len(shapes) != 1:
        raise rule_error(field, "hold scores of one shape", sorted(shapes))

    def read() -> np.ndarray:
        with safe_open(file, framework="pt") as stored:
            parts = [stored.get_tensor(name).double().numpy() for name in names]
        return np.sum(parts, axis=0)

    return Opened(shapes.pop(), read, "kronfluence")


def bergson(path: Path, field: str, readout: str) -> Opened:
    """Bergson's score store: a structured array with a column and a mark for each query."""
    import yaml
    from numpy.lib.recfunctions import structured_to_unstructured

    info = json.loads((path / INFO).read_text(encoding="utf-8"))
    if info.get("attribute_tokens") or (path / "candidates.npy").exists():
        rule = "hold a score for each stimulus, not for its tokens or for candidates"
        raise rule_error(field, rule, str(path), "Try attribute_tokens: false, without candidates.")
    count, kind = int(info["num_scores"]), np.dtype(bergson_dtype(info["dtype"]))
    stored = np.memmap(path / SCORES_BIN, dtype=kind, mode="r", shape=(int(info["num_rows"]),))
    if not all(stored[f"written_{query}"].all() for query in range(count)):
        raise rule_error(field, "hold scores that are finished", str(path), "Let bergson go on with them.")
    config = path / "config.yaml"
    options = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    steps = [command for step in options.get("steps", []) for command in step.values() if command]
    scoring: dict[str, Any] = next((step["score_cfg"] for step in steps if step.get("score_cfg")), {})
    columns = [f"score_{query}" for query in range(count)]

    def read() -> np.ndarray:
        return structured_to_unstructured(stored[columns])

    return Opened((len(stored), count), read, "bergson", reverse=not scoring.get("higher_is_better", True))


def bergson_dtype(stored: Any) -> Any:
    """The structured type that JSON holds; plain formats only, as NumPy knows them."""
    if not isinstance(stored, dict) or "bfloat16" in map(str, stored["formats"]):
        raise ConfigError("bergson's scores must be in a format of NumPy, got bfloat16. Try score_cfg.precision: fp32.")
    return stored


def parquet(path: Path, field: str, readout: str) -> Opened:
    """A table: of three columns ``stimulus_id``, ``probe_id`` and ``score``, or of a column for each probe."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names, rows = file.schema_arrow.names, file.metadata.num_rows
    if not {*PAIR, "score"} <= set(names):
        columns = [name for name in names if not name.startswith("__index_level_")]
        return Opened((rows, len(columns)), lambda: pd.read_parquet(path, columns=columns).to_numpy())
    ids = [different(file, column) for column in PAIR]
    shape = len(ids[0]), len(ids[1])
    twice = rule_error(field, "hold each pair of a stimulus and a probe once", str(path))
    if rows > shape[0] * shape[1]:
        raise twice

    def read() -> np.ndarray:
        long = pd.read_parquet(path, columns=[*PAIR, "score"])
        if long.duplicated(PAIR).any():
            raise twice
        return (
            long.pivot(index=PAIR[0], columns=PAIR[1], values="score").reindex(index=ids[0], columns=ids[1]).to_numpy()
        )

    return Opened(shape, read, names=lambda: (ids[0].astype(str), ids[1].astype(str)))


def different(file: Any, column: str) -> np.ndarray:
    """The values of a column of a parquet file, each once; some rows at a time, since a small file may repeat them."""
    batches = file.iter_batches(columns=[column])
    values = [value for batch in batches for value in batch.column(0).unique().to_pylist()]
    return pd.Index(values).unique().to_numpy()


def zarr_store(path: Path, field: str, readout: str) -> Opened:
    """An array of xarray's in zarr, such as a job's ``influence.zarr``."""
    from zarr.storage import LocalStore

    # a path would be taken for an address where it has "::" in it
    store = LocalStore(path, read_only=True)
    return dataset(xr.open_zarr(store, chunks=None, consolidated=False, **UNREAD), field, readout)


def netcdf(path: Path, field: str, readout: str) -> Opened:
    """An array of xarray's in netCDF; version 4 takes h5netcdf."""
    with path.open("rb") as file:
        begins = file.read(len(HDF5))
    if begins == HDF5 and find_spec("h5netcdf") is None:
        rule = "be in netCDF of version 3 where h5netcdf is not installed"
        raise rule_error(field, rule, str(path), "Try pip install 'eif-lab[netcdf]'.")
    return dataset(xr.open_dataset(path, **UNREAD), field, readout)


def dataset(found: xr.Dataset, field: str, readout: str) -> Opened:
    """The only array with the dims stimulus and probe, or the one named ``influence``.

    Of its steps the last counts, of its readouts the one asked for, and of several seeds the mean, as in
    `eif_lab.attribution.truth`. Samples are matched by ``stimulus_id`` and ``probe_id``, else by the names along the
    dims, where these are no mere numbers of places, and else by place.
    """
    fitting = [name for name, one in found.data_vars.items() if {"stimulus", "probe"} <= set(one.dims)]
    chosen = "influence" if "influence" in fitting else fitting[0] if len(fitting) == 1 else None
    if chosen is None:
        rule = "hold one array with the dims stimulus and probe"
        raise rule_error(field, rule, {str(name): one.dims for name, one in found.data_vars.items()})
    array = found[chosen]
    if "readout" in array.dims:
        names = [str(name) for name in array["readout"].values] if "readout" in array.coords else []
        if array.sizes["readout"] > 1 and readout not in names:
            raise rule_error(
                "readout", f"be one of {', '.join(names)}", readout, f"Try readout=[{', '.join(names[:1])}]."
            )
        array = array.isel(readout=names.index(readout) if readout in names else 0)
    array = array.isel(step=-1) if "step" in array.dims else array
    if set(array.dims) - {"seed"} != {"stimulus", "probe"}:
        raise rule_error(field, "have no dims but stimulus, probe, seed, step and readout", array.dims)
    array = array.transpose(..., "stimulus", "probe")
    ids = [array.coords.get(f"{dim}_id", named_places(array, dim)) for dim in ("stimulus", "probe")]
    taken = str(array["readout"].values) if "readout" in array.coords else readout
    return Opened(
        array.shape[-2:],
        lambda: array.values if array.ndim == 2 else array.values.mean(axis=0),
        names=None if any(one is None for one in ids) else lambda: tuple(one.values.astype(str) for one in ids),
        unit=unit_of(array.attrs.get("units", ""), taken),
    )


def named_places(array: xr.DataArray, dim: str) -> xr.DataArray | None:
    """The names along a dim; None where they number places, or there are none."""
    names = array.coords.get(dim)
    return None if names is None or names.dtype.kind in "iuf" else names


def unit_of(units: Any, readout: str) -> str:
    """The unit of a readout: a job's ``units`` are JSON, from readouts to units; elsewhere they are the unit itself."""
    try:
        found = json.loads(units)
    except (TypeError, ValueError):
        return str(units)
    return str(found.get(readout, "")) if isinstance(found, dict) else str(units)


FILES: dict[str, Opener] = {
    ".npy": numpy_file,
    ".mmap": numpy_file,
    ".pt": tensor_file,
    ".pth": tensor_file,
    ".safetensors": kronfluence,
    ".parquet": parquet,
    ".nc": netcdf,
}
"""By the end of a file's name."""
