"""How a claim of the paper is judged: a statistic with its interval, and the rule that decides.

The rule. Each claim is a statistic with a 95 % interval, and a range that the claim allows. It *agrees* where the whole
interval lies in the range, *disagrees* where the whole interval lies outside on one side, and is *inconclusive*
otherwise, or where too little was taught or measured to say. A claim about domains on average has the domains as its
units. A claim about every domain agrees where each of at least two does, and disagrees where any
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eif_lab.desiderata import statistics
from eif_lab.desiderata.selection import clean, same_sample, texts
from eif_lab.desiderata.symmetry import shared_square
from eif_lab.figures.runs import finding, judged_array, setting
from eif_lab.results.job import JobResults

AGREES, DISAGREES, INCONCLUSIVE = "agrees", "disagrees", "inconclusive"

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Range:
    """What a claim allows: above ``least`` and at most ``most``."""

    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        parts = [f"above {self.least:g}"] if math.isfinite(self.least) else []
        return " and ".join(parts + ([f"at most {self.most:g}"] if math.isfinite(self.most) else []))


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval.

    Attributes:
        effect, low, high: NaN where there is none.
        domain: Which domain it is of; empty where it is of all.
    """

    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    domain: str = ""


def decide(estimate: Estimate, allowed: Range) -> str:
    """The rule for one statistic."""
    low, high = estimate.low, estimate.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return INCONCLUSIVE
    if low > allowed.least and high <= allowed.most:
        return AGREES
    return DISAGREES if high <= allowed.least or low > allowed.most else INCONCLUSIVE


def decide_every(estimates: Sequence[Estimate], allowed: Range) -> str:
    """The rule for a claim about every domain."""
    outcomes = [decide(estimate, allowed) for estimate in estimates]
    if DISAGREES in outcomes:
        return DISAGREES
    return AGREES if len(outcomes) >= 2 and set(outcomes) == {AGREES} else INCONCLUSIVE


def stored(job: JobResults, desideratum: str, statistic: str) -> Estimate | None:
    """The stored finding of the job's desideratum; None where it was not judged or is about nothing."""
    result = finding(job, desideratum, statistic)
    if result is None or not math.isfinite(result.finding_p_value):
        return None
    return Estimate(float(result.effect), float(result.low), float(result.high), setting(job).dataset)


def over_domains(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over domains, with the jackknife's interval; no interval where there are fewer than two."""
    values = np.array([estimate.effect for estimate in estimates if math.isfinite(estimate.effect)])
    if not len(values):
        return Estimate()
    return with_interval(lambda counts: counts @ values / counts.sum(axis=1), len(values))


def with_interval(
    statistic: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]], units: int, domain: str = ""
) -> Estimate:
    """A statistic of units with the interval of the jackknife."""
    estimate = statistics.jackknife(statistic, units)
    return Estimate(estimate.value, *estimate.interval(CONFIDENCE), domain=domain)


def less_symmetric(job: JobResults, other: JobResults) -> Estimate | None:
    """Correlation of the first array with its transpose less that of the second, each world left out of both.

    None where the two are not over the same samples, or one of them taught nothing.
    """
    if stored(job, "symmetry", "correlation") is None or stored(other, "symmetry", "correlation") is None:
        return None
    arrays = [clean(judged_array(one)) for one in (job, other)]
    if set(texts(arrays[0], "stimulus_id")) != set(texts(arrays[1], "stimulus_id")):
        return None
    (square, units, _), (prompted, _, _) = (shared_square(array) for array in arrays)

    def difference(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        one, two = (statistics.transpose_correlation(values, units, counts) for values in (square, prompted))
        return one - two

    return with_interval(difference, int(units.max()) + 1, setting(job).dataset)


def correlation_between(job: JobResults, other: JobResults) -> Estimate:
    """Correlation of two arrays over the pairs of different samples, each sample left out in both its roles.

    Args:
        job, other: Over the same samples in the same order.
    """
    x, y = (clean(judged_array(one)) for one in (job, other))
    defined = (~same_sample(x) & np.isfinite(x.values) & np.isfinite(y.values)).astype(float)
    a, b = (np.where(defined > 0, one.values - np.nanmean(one.values), 0.0) for one in (x, y))
    square = x.shape[0] == x.shape[1] and (texts(x, "stimulus_id") == texts(x, "probe_id")).all()

    def correlation(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        columns = counts if square else np.ones((len(counts), x.shape[1]))
        total, sum_a, sum_b, aa, bb, ab = (
            ((counts @ moment) * columns).sum(axis=1) for moment in (defined, a, b, a * a, b * b, a * b)
        )
        covariance = ab - sum_a * sum_b / total
        return statistics.divide(covariance, np.sqrt((aa - sum_a**2 / total) * (bb - sum_b**2 / total)))

    return with_interval(correlation, len(a), setting(job).dataset)


def share_satisfied(job: JobResults, desiderata: Sequence[str]) -> float:
    """The share of the findings of some desiderata that are satisfied; NaN where none was judged, or all are void."""
    rows = job.verdicts[job.verdicts["desideratum"].isin(desiderata) & job.verdicts["finding_p_value"].notna()]
    return float((rows["finding_verdict"] == "satisfied").mean()) if len(rows) else math.nan
