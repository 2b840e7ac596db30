"""How well a prediction ranks what was measured: three statistics, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eif_lab.desiderata import statistics

CONFIDENCE, RESAMPLES = 0.95, 999

TOP = 10
"""Probes that a stimulus raises most, of which the overlap is taken."""

STATISTICS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "overlap": f"top-{TOP} overlap",
}


@dataclass(frozen=True)
class Judgement:
    """One statistic of a prediction and what was measured.

    Attributes:
        statistic: One of `STATISTICS`.
        effect: From -1 to 1, for the overlap from 0 to 1; NaN where one of the two does not vary.
        low, high: Its interval.
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
    """All statistics, over the cells that are finite in both arrays; intervals resample whole units of stimuli.

    ``spearman`` and ``pearson`` are over all cells; ``overlap`` is, on average over stimuli, the share of the `TOP`
    probes that a stimulus raises most which are among the `TOP` predicted ones.

    Args:
        predicted: Up to any positive factor.
        exact: Influence as measured.
        units: Numbered from 0.
        resamples: Of the bootstrap.
    """
    cells = np.isfinite(predicted) & np.isfinite(exact)
    x, y = predicted[cells].astype(float), exact[cells].astype(float)
    rows = np.nonzero(cells)[0]
    whole = cells.all(axis=1).astype(float)
    shares = np.where(whole > 0, overlap(predicted, exact), 0.0)

    def pearson(drawn: Float[np.ndarray, "draws stimuli"]) -> Float[np.ndarray, " draws"]:
        return np.array([statistics.correlation(x, y, weights[rows]) for weights in drawn])

    found = {
        "spearman": lambda drawn: statistics.row_spearman(predicted, exact, cells, drawn),
        "pearson": pearson,
        "overlap": lambda drawn: statistics.divide(drawn @ shares, drawn @ whole),
    }
    return [Judgement(name, *estimate(statistic, units, resamples)) for name, statistic in found.items()]


def estimate(
    statistic: Callable[[Float[np.ndarray, "draws stimuli"]], Float[np.ndarray, " draws"]],
    units: Int[np.ndarray, " stimuli"],
    resamples: int,
) -> tuple[float, float, float]:
    """A statistic of how often each stimulus was drawn, with the ends of its interval."""
    [effect] = statistic(np.ones((1, len(units))))
    low, high = statistics.bootstrap_interval(
        lambda counts: statistic(counts[:, units]),
        int(units.max()) + 1,
        CONFIDENCE,
        resamples,
        np.random.default_rng(0),
    )
    return float(effect), low, high


def overlap(
    predicted: Float[np.ndarray, "stimuli probes"], exact: Float[np.ndarray, "stimuli probes"]
) -> Float[np.ndarray, " stimuli"]:
    """The share of each row's `TOP` largest entries that are among the other array's `TOP` largest of that row."""
    one, other = (np.argsort(-array, axis=1, kind="stable")[:, :TOP] for array in (predicted, exact))
    return (one[:, :, None] == other[:, None, :]).any(axis=2).mean(axis=1)
