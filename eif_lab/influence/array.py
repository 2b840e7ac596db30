"""Put a task's labels, relations and distances on an influence array."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from eif_lab.data.task import Task


def annotate(array: xr.DataArray, task: Task, distances: Mapping[str, np.ndarray], default: str) -> xr.DataArray:
    """The array with coordinates ``stimulus_*``, ``probe_*``, ``relation``, ``foil`` and ``distance_*``.

    Args:
        array: Dims with ``stimulus`` and ``probe``, in the task's order.
        task: Where the coordinates come from.
        distances: Named (stimuli, probes) arrays.
        default: The distance that is taken when none is named; kept as the attribute ``distance``.
    """
    pair = ("stimulus", "probe")
    coords = {f"stimulus_{name}": ("stimulus", values) for name, values in task.stimuli.describe().items()}
    coords |= {f"probe_{name}": ("probe", values) for name, values in task.probes.describe().items()}
    coords |= {f"distance_{name}": (pair, values) for name, values in distances.items()}  # type: ignore[misc]
    coords |= {"relation": (pair, task.relation), "foil": (pair, task.foil)}  # type: ignore[dict-item]
    return array.assign_coords(coords).assign_attrs(distance=default)
