"""Summaries of an influence array: its last step, and means by class and by relation."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from eif_lab.desiderata.selection import neutral


def last_step(influence: xr.DataArray) -> xr.DataArray:
    """Influence after the last step, mean over seeds, where it has these; dims (stimulus, probe), then the readout."""
    array = influence.isel(step=-1) if "step" in influence.dims else influence
    return (array.mean("seed") if "seed" in array.dims else array).transpose("stimulus", "probe", ...)


def unit(influence: xr.DataArray, readout: str) -> str:
    """The readout's unit, from the array's attributes; empty where they have none."""
    return json.loads(influence.attrs.get("units", "{}")).get(readout, "")


def judged_unit(influence: xr.DataArray | None) -> str:
    """The unit of the readout that is judged, the first; nats where that is not known."""
    if influence is None or "readout" not in influence.coords:
        return "nat"
    return unit(influence, str(np.atleast_1d(influence["readout"].values)[0])) or "nat"


def relation_means(influence: xr.DataArray) -> pd.DataFrame:
    """Mean influence per readout and relation: readout, unit, relation, mean, pairs.

    Neutral stimuli, which show what any text does, have the relation ``neutral`` to every probe.
    """
    relations = influence["relation"].transpose("stimulus", "probe").values
    relation = pd.Series(np.where(neutral(influence)[:, None], "neutral", relations).ravel(), name="relation")
    return _per_readout(influence, lambda values: pd.Series(values.ravel()).groupby(relation).agg(["mean", "count"]))


def class_means(influence: xr.DataArray) -> pd.DataFrame:
    """Mean influence per readout and pair of classes: readout, unit, stimulus, probe, mean, pairs."""
    stimuli = pd.Index(influence["stimulus_label"].values, name="stimulus")
    probes = pd.Index(influence["probe_label"].values, name="probe")

    def means(values: np.ndarray) -> pd.DataFrame:
        cells = pd.DataFrame(values, index=stimuli, columns=probes)
        sums, counts = ((c.groupby("stimulus").sum().T.groupby("probe").sum().T) for c in (cells, cells.notna()))
        return pd.DataFrame({"mean": (sums / counts).stack(), "count": counts.stack()})

    return _per_readout(influence, means)


def _per_readout(influence: xr.DataArray, means: Callable[[np.ndarray], pd.DataFrame]) -> pd.DataFrame:
    values = last_step(influence)
    parts = []
    for readout in influence["readout"].values:
        part = means(values.sel(readout=readout).values).reset_index()
        part.insert(0, "readout", str(readout))
        part.insert(1, "unit", unit(influence, str(readout)))
        parts.append(part)
    return pd.concat(parts, ignore_index=True).rename(columns={"count": "pairs"})
