"""Direct influence: did a stimulus teach itself? Without that, no other verdict is about anything."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from eif_lab.desiderata.selection import clean, clusters, same_sample, select_readout, texts
from eif_lab.desiderata.statistics import bootstrap_interval, group_means, sign_flip_p
from eif_lab.desiderata.verdict import Finding

RESAMPLES = 1999


def direct_influence(influence: xr.DataArray, readout: str, confidence: float = 0.95) -> Finding:
    """Mean influence of a stimulus on the probe that is the same sample, tested against zero.

    Stimuli of one world are averaged first and the worlds resampled, as for every desideratum. Of several seeds the
    first is taken, of several steps the last; where noise was added, the clean samples. A stimulus that is not among
    the probes, such as a passage too long to be one, counts with the mean of the probes that it states (relation
    ``direct``); one that diverged, or has none, is left out.

    Args:
        influence: An array with the coordinates of a job.
        readout: The readout judged.
        confidence: Two-sided level of the interval.
    """
    array = clean(select_readout(influence, readout)).transpose("stimulus", "probe")
    same = same_sample(array)
    same = np.where(same.any(axis=1, keepdims=True), same, texts(array, "relation") == "direct")
    index, unit = clusters(array)
    self_influence = np.where(same, array.values, 0.0).sum(axis=1) / np.maximum(same.sum(axis=1), 1)
    used = same.any(axis=1) & np.isfinite(self_influence)
    values = group_means(self_influence[used].astype(float), index[used], int(index.max()) + 1)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Finding("direct_influence", math.nan, math.nan, math.nan, math.nan, len(values), unit, 0.0)
    generator = np.random.default_rng(0)
    low, high = bootstrap_interval(
        lambda drawn: drawn @ values / drawn.sum(axis=1), len(values), confidence, RESAMPLES, generator
    )
    p_value = sign_flip_p(values, RESAMPLES, generator)
    return Finding("direct_influence", float(values.mean()), low, high, p_value, len(values), unit, 0.0)
