"""Strength: how much a stimulus taught of what it states, in shares of which its consequences are given."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from jaxtyping import Float

from eif_lab.data.contrast import Foils, strength_weights
from eif_lab.desiderata.runs import finding_over_runs
from eif_lab.desiderata.selection import (
    clean,
    clusters,
    each_run,
    foils,
    same_sample,
    select_readout,
    texts,
    with_probe_numbers,
    with_zeros,
)
from eif_lab.desiderata.statistics import divide, group_means, jackknife
from eif_lab.desiderata.verdict import Finding

TAUGHT_ALPHA = 0.005
"""Level at which strength must be above zero: a tenth of a verdict's own, since all verdicts on an array hang on it. Of
learners that are taught nothing by our measure, such as a bag of words, one in 200 is judged all the same."""

NOT_ABOVE_ZERO = "is not clearly above zero"
"""In each note on a verdict that is withheld because too little was taught."""

NOTHING_TAUGHT = "beyond what all such sentences gain, nothing was clearly taught"


def strength_of(influence: xr.DataArray, readout: str, confidence: float = 0.95) -> Finding:
    """The mean strength of the stimuli, with its interval and p-values against zero.

    The strength of a stimulus is the mean over the clozes that it states of influence less control. Stimuli of one
    world are averaged first, and the worlds are the units. Images count one by one: each is learnt by an update of its
    own, and classes matter only to what is compared between images. Of several seeds it is the mean
    (`eif_lab.desiderata.runs`), of several steps the last is taken; where noise was added, the clean samples. A
    stimulus that diverged, or states none of the probes, is left out.

    Args:
        influence: An array with the coordinates of a job.
        readout: The readout judged, in whose unit the strength is.
        confidence: Two-sided level of the interval.

    Raises:
        ConfigError: Its seeds are of other samples.
    """
    arrays = [_selected(one, readout) for one in each_run(influence)]
    return finding_over_runs([_mean_above_zero("strength", array, foils(array), confidence) for array in arrays])


def direct_influence(influence: xr.DataArray, readout: str, confidence: float = 0.95) -> Finding:
    """The mean influence of a stimulus on itself, from which nothing is subtracted: much of it may be due to its form.

    A stimulus that is not among the probes, such as a passage too long to be one, counts with the mean of the probes
    that it states, and of several seeds the first. For all else see `strength_of`.
    """
    return _mean_above_zero("direct_influence", _selected(influence, readout), {}, confidence)


def weighted_rows(
    values: Float[np.ndarray, "stimulus probe"], weights: Float[np.ndarray, "stimulus probe"]
) -> Float[np.ndarray, " stimulus"]:
    """The weighted sum of each row; NaN for one that is not finite or has no weights.

    Args:
        values: Influence.
        weights: Those of `eif_lab.data.contrast.strength_weights`, by which the sum is a stimulus's strength.
    """
    finite = np.isfinite(values).all(axis=1) & weights.any(axis=1)
    sums = (weights * np.where(finite[:, None], values, 0.0)).sum(axis=1)
    return np.where(finite, sums, np.nan)


def _selected(influence: xr.DataArray, readout: str) -> xr.DataArray:
    return clean(with_probe_numbers(select_readout(influence, readout).transpose("stimulus", "probe")))


def _mean_above_zero(statistic: str, array: xr.DataArray, columns: Foils, confidence: float) -> Finding:
    weights = strength_weights(texts(array, "relation"), columns, same_sample(array))
    values = weighted_rows(with_zeros(array), weights)
    index, unit = clusters(array, ["world"])
    finite = np.isfinite(values)
    means = group_means(values[finite], index[finite], int(index.max(initial=-1)) + 1)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        nothing = (math.nan,) * 4
        return Finding(statistic, *nothing, len(means), unit, 0.0, confidence=confidence)
    estimate = jackknife(lambda counts: divide(counts @ means, counts.sum(axis=1)), len(means))
    low, high = estimate.interval(confidence)
    p_value, p_violated = estimate.p_values(0.0)
    return Finding(
        statistic, estimate.value, low, high, p_value, len(means), unit, 0.0, p_violated, confidence=confidence
    )
