"""Strength: what a stimulus was taught, to which all that follows from it is held."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from jaxtyping import Float

from eif_lab.data.contrast import strength_weights
from eif_lab.desiderata.selection import clean, clusters, foils, numbered, same_sample, select_readout, texts
from eif_lab.desiderata.statistics import divide, group_means, jackknife
from eif_lab.desiderata.verdict import Finding


def strength_of(influence: xr.DataArray, readout: str, confidence: float = 0.95) -> Finding:
    """The mean strength of the stimuli, with its interval and p-values against zero.

    Stimuli of one world, or class, are averaged first, and the worlds are the units, as for every desideratum. Of
    several seeds the first is taken, of several steps the last; where noise was added, the clean samples. A stimulus
    that diverged, or states none of the probes, is left out.

    Args:
        influence: An array with the coordinates of a job.
        readout: The readout judged, in whose unit the strength is.
        confidence: Two-sided level of the interval.
    """
    array = _selected(influence, readout)
    return _mean_above_zero("strength", strengths(array), array, confidence)


def direct_influence(influence: xr.DataArray, readout: str, confidence: float = 0.95) -> Finding:
    """The mean influence of a stimulus on itself, from which nothing is subtracted: much of it may be due to its form.

    A stimulus that is not among the probes, such as a passage too long to be one, counts with the mean of the probes
    that it states. For all else see `strength_of`.
    """
    array = _selected(influence, readout)
    return _mean_above_zero("direct_influence", _weighed(array, {}), array, confidence)


def strengths(influence: xr.DataArray) -> Float[np.ndarray, " stimulus"]:
    """What each stimulus was taught: the mean over the clozes that it states, each less its control.

    NaN for a stimulus that diverged or states none of the probes.

    Args:
        influence: (stimulus, probe), see `eif_lab.desiderata.selection.numbered`.
    """
    return _weighed(influence, foils(influence))


def _weighed(influence: xr.DataArray, columns: dict[str, np.ndarray]) -> Float[np.ndarray, " stimulus"]:
    weights = strength_weights(texts(influence, "relation"), columns, same_sample(influence))
    finite = np.isfinite(influence.values).all(axis=1)
    values = np.where(finite[:, None], influence.values, 0.0).astype(float)
    return np.where(finite & weights.any(axis=1), (weights * values).sum(axis=1), np.nan)


def _selected(influence: xr.DataArray, readout: str) -> xr.DataArray:
    return clean(numbered(select_readout(influence, readout).transpose("stimulus", "probe")))


def _mean_above_zero(
    statistic: str, values: Float[np.ndarray, " stimulus"], array: xr.DataArray, confidence: float
) -> Finding:
    index, unit = clusters(array)
    known = np.isfinite(values)
    means = group_means(values[known], index[known], int(index.max(initial=-1)) + 1)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return Finding(statistic, math.nan, math.nan, math.nan, math.nan, len(means), unit, 0.0)
    estimate = jackknife(lambda counts: divide(counts @ means, counts.sum(axis=1)), len(means))
    low, high = estimate.interval(confidence)
    p_value, p_violated = estimate.p_values(0.0)
    return Finding(statistic, estimate.value, low, high, p_value, len(means), unit, 0.0, p_violated)
