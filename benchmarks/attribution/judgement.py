"""How well a prediction ranks what was measured: three statistics, each with its interval."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

CONFIDENCE, RESAMPLES = 0.95, 999

TOP = 10
"""Probes that a stimulus raises most, of which the overlap is taken."""

STATISTICS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "overlap": f"top-{TOP} overlap",
}


Statistic = Callable[[Int[np.ndarray, " drawn"]], float]
"""Rows of stimuli, one of which may be there several times, to the statistic."""


@dataclass(frozen=True)
class Judgement:
    """One statistic of a prediction and what was measured.

    Attributes:
        statistic: One of `STATISTICS`.
        effect: From -1 to 1, for the overlap from 0 to 1; NaN where one of the two does not vary.
        low, high: Its 95 % interval.
    """

    statistic: str
    effect: float
    low: float
    high: float


def judge(
    predicted: Float[np.ndarray, "stimuli probes"],
    exact: Float[np.ndarray, "stimuli probes"],
    units: Int[np.ndarray, " stimuli"],
    resamples: int = RESAMPLES,
) -> list[Judgement]:
    """All statistics, over the stimuli whose rows are finite in both arrays.

    ``spearman`` and ``pearson`` are over all cells; ``overlap`` is, on average over stimuli, the share of the `TOP`
    probes that a stimulus raises most which are among the `TOP` predicted ones.

    Args:
        predicted: Up to any positive factor.
        exact: Influence as measured.
        units: The independent unit of each stimulus, which is resampled whole.
        resamples: Of the bootstrap.
    """
    rows = (np.isfinite(predicted) & np.isfinite(exact)).all(axis=1)
    x, y = predicted[rows].astype(float), exact[rows].astype(float)
    shares = overlap(x, y)
    statistics: dict[str, Statistic] = {
        "spearman": lambda drawn: float(stats.spearmanr(x[drawn], y[drawn], axis=None).statistic),
        "pearson": lambda drawn: float(stats.pearsonr(x[drawn], y[drawn], axis=None).statistic),
        "overlap": lambda drawn: float(shares[drawn].mean()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return [Judgement(name, *estimate(one, units[rows], resamples)) for name, one in statistics.items()]


def estimate(statistic: Statistic, units: Int[np.ndarray, " stimuli"], resamples: int) -> tuple[float, float, float]:
    """A statistic of the stimuli, with the ends of its expanded percentile interval.

    Plain percentiles are too narrow for few units: they miss the factor ``sqrt((n - 1) / n)`` and use the normal
    quantile for Student's.
    Source: Hesterberg (2015), What Teachers Should Know About the Bootstrap, The American Statistician 69(4).

    Returns:
        All of them NaN where the statistic is not defined, the ends also with fewer than two units.
    """
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    n = len(members)
    effect = statistic(np.arange(len(units))) if n else math.nan
    if n < 2 or math.isnan(effect):
        return effect, math.nan, math.nan
    tail = special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - CONFIDENCE) / 2))
    low, high = stats.bootstrap(
        (np.arange(n),),
        lambda drawn: statistic(np.concatenate([members[unit] for unit in drawn])),
        vectorized=False,
        n_resamples=resamples,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=0,
    ).confidence_interval
    return effect, float(low), float(high)


def overlap(
    predicted: Float[np.ndarray, "stimuli probes"], exact: Float[np.ndarray, "stimuli probes"]
) -> Float[np.ndarray, " stimuli"]:
    """The share of each row's `TOP` largest entries that are among the other array's `TOP` largest of that row."""
    one, other = (np.argsort(-array, axis=1, kind="stable")[:, :TOP] for array in (predicted, exact))
    return (one[:, :, None] == other[:, None, :]).any(axis=2).mean(axis=1)
