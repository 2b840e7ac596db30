"""How a claim of the paper is judged: a statistic with its interval, and the rule that decides.

The rule. Each claim is a statistic with a 95 % interval, and a range that the claim allows. It *agrees* where the whole
interval lies in the range, *disagrees* where the whole interval lies outside on one side, and is *inconclusive*
otherwise, or where too little was taught or measured to say. So "barely" is a claim of two sides: an interval that lies
within it shows that there is little, and not only that nothing was found.

Domains are listed and counted. They were chosen, not drawn, so that nothing is said of other ones: a mean over domains
is that of these. A claim about domains on average is inconclusive where the mean agrees and a single domain disagrees.
A claim about every domain agrees where each of at least two does, and disagrees where any does. Where single domains
are named, they are so after Holm's correction over the domains.

Seeds. A seed draws the base model (of images its training; of phi3-tiny, which is one model, the teaching of the
background to a copy of it) and the samples. The effect is the mean over seeds. Its interval is the wider of two: that
of the seeds' worlds or classes taken together, which alone would be too narrow where base models differ, and Student's
over the seeds' effects, which is right in either case but which three seeds now and then leave narrow by luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

from eif_lab.desiderata import statistics
from eif_lab.desiderata.selection import clean, clusters, same_sample, texts
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.errors import NotApplicable
from eif_lab.figures.runs import finding, judged_array, setting
from eif_lab.results.job import JobResults

AGREES, DISAGREES, INCONCLUSIVE = "agrees", "disagrees", "inconclusive"

LEVEL = 0.025
"""Of each one-sided test, so that the intervals are at 95 %."""


@dataclass(frozen=True)
class Range:
    """The values that a claim allows: above ``least`` and at most ``most``."""

    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        parts = [f"above {self.least:g}"] if math.isfinite(self.least) else []
        return " and ".join(parts + ([f"at most {self.most:g}"] if math.isfinite(self.most) else []))


@dataclass(frozen=True)
class Spread:
    """Standard errors of an effect towards either side, with their degrees of freedom."""

    below: float
    above: float
    freedom: float

    @property
    def variance(self) -> float:
        """The mean of both sides'."""
        return (self.below**2 + self.above**2) / 2


@dataclass(frozen=True)
class Estimate:
    """A statistic, and how far it may be from the truth.

    Attributes:
        effect: NaN where there is none.
        spreads: Of several the widest counts; none where no interval is known.
        domain: Which domain it is of; empty where it is of several.
        seeds: How many seeds it is the mean of.
    """

    effect: float = math.nan
    spreads: tuple[Spread, ...] = ()
    domain: str = ""
    seeds: int = 1

    @classmethod
    def of_interval(cls, effect: float, low: float, high: float, units: int, domain: str = "") -> Estimate:
        """An estimate from its 95 % interval and its number of independent units."""
        freedom = units - 1
        if freedom < 1 or not all(map(math.isfinite, (effect, low, high))):
            return cls(effect, domain=domain)
        quantile = _quantile(freedom)
        return cls(effect, (Spread((effect - low) / quantile, (high - effect) / quantile, freedom),), domain)

    @property
    def low(self) -> float:
        """The interval's lower end; NaN where it is not known."""
        return min((self.effect - _quantile(one.freedom) * one.below for one in self.spreads), default=math.nan)

    @property
    def high(self) -> float:
        """The interval's upper end; NaN where it is not known."""
        return max((self.effect + _quantile(one.freedom) * one.above for one in self.spreads), default=math.nan)

    @property
    def widest(self) -> Spread:
        """The spread whose interval is the longest."""
        return max(self.spreads, key=lambda one: _quantile(one.freedom) * math.sqrt(one.variance))

    def p_above(self, bar: float) -> float:
        """One-sided p-value against a true value at or below the bar; 1 where nothing is known."""
        return max((_tail(self.effect - bar, one.below, one.freedom) for one in self.spreads), default=1.0)

    def p_below(self, bar: float) -> float:
        """One-sided p-value against a true value at or above the bar; 1 where nothing is known."""
        return max((_tail(bar - self.effect, one.above, one.freedom) for one in self.spreads), default=1.0)

    def p_inside(self, allowed: Range) -> float:
        """Against a true value outside the range: the larger of the two sides'."""
        ends = [(self.p_above, allowed.least), (self.p_below, allowed.most)]
        return max(p_value(end) for p_value, end in ends if math.isfinite(end))

    def p_outside(self, allowed: Range) -> float:
        """Against a true value inside the range, on whichever side the effect is."""
        ends = [(self.p_below, allowed.least), (self.p_above, allowed.most)]
        return min(p_value(end) for p_value, end in ends if math.isfinite(end))


def _quantile(freedom: float) -> float:
    return float(special.stdtrit(freedom, 1 - LEVEL))


def _tail(beyond: float, error: float, freedom: float) -> float:
    if error <= 0:
        return float(beyond <= 0)
    return float(special.stdtr(freedom, -beyond / error))


# Several estimates ----------------------------------------------------------------------------------------------------


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, with the interval that follows from theirs; none where one has none.

    Source: Zou and Donner (2008), Construction of confidence limits about effect measures, Statistics in Medicine 27;
    the degrees of freedom by Satterthwaite (1946).
    """
    if not estimates:
        return Estimate()
    effect = float(np.mean([one.effect for one in estimates]))
    seeds = min(one.seeds for one in estimates)
    if not all(one.spreads for one in estimates):
        return Estimate(effect, seeds=seeds)
    widest = [one.widest for one in estimates]
    total = sum(one.variance for one in widest)
    square = sum(one.variance**2 / one.freedom for one in widest)
    freedom = total**2 / square if square > 0 else float(sum(one.freedom for one in widest))
    below, above = (math.sqrt(sum(side)) / len(widest) for side in zip(*((s.below**2, s.above**2) for s in widest)))
    return Estimate(effect, (Spread(below, above, freedom),), seeds=seeds)


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over seeds, whose interval is the wider of that of all units together and Student's over seeds.

    Args:
        estimates: The same statistic of the same domain.
    """
    if len(estimates) < 2:
        return estimates[0] if estimates else Estimate()
    mean = mean_of(estimates)
    error = float(np.std([one.effect for one in estimates], ddof=1) / math.sqrt(len(estimates)))
    spreads = (*mean.spreads, Spread(error, error, len(estimates) - 1)) if mean.spreads else ()
    return Estimate(mean.effect, spreads, estimates[0].domain, len(estimates))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for the chance of a single error among all.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


# The rule -------------------------------------------------------------------------------------------------------------


def decide(estimate: Estimate, allowed: Range) -> str:
    """The rule for one statistic."""
    low, high = estimate.low, estimate.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return INCONCLUSIVE
    if low > allowed.least and high <= allowed.most:
        return AGREES
    return DISAGREES if high <= allowed.least or low > allowed.most else INCONCLUSIVE


def decide_each(estimates: Sequence[Estimate], allowed: Range) -> list[str]:
    """The rule for each of several domains, after Holm's correction."""
    inside, outside = (
        holm([p_value(one, allowed) for one in estimates]) for p_value in (Estimate.p_inside, Estimate.p_outside)
    )
    return [
        AGREES if one <= LEVEL else DISAGREES if other <= LEVEL else INCONCLUSIVE for one, other in zip(inside, outside)
    ]


def decide_mean(estimates: Sequence[Estimate], allowed: Range) -> str:
    """The rule for a claim about domains on average."""
    outcome = decide(mean_of(estimates), allowed)
    return INCONCLUSIVE if outcome == AGREES and DISAGREES in decide_each(estimates, allowed) else outcome


def decide_every(estimates: Sequence[Estimate], allowed: Range) -> str:
    """The rule for a claim about every domain.

    That all agree needs no correction, since each of them has to; that one disagrees does.
    """
    if DISAGREES in decide_each(estimates, allowed):
        return DISAGREES
    agree = [decide(estimate, allowed) == AGREES for estimate in estimates]
    return AGREES if len(agree) >= 2 and all(agree) else INCONCLUSIVE


# Statistics of jobs ---------------------------------------------------------------------------------------------------


def stored_finding(job: JobResults, desideratum: str, statistic: str | None = None) -> Estimate | None:
    """The stored finding of the job's desideratum, the headline where no statistic is named; None where it was not
    judged, or has no effect to judge.
    """
    result = finding(job, desideratum, statistic)
    if result is None or not math.isfinite(result.finding_p_value):
        return None
    low, high = float(result.low), float(result.high)
    return Estimate.of_interval(float(result.effect), low, high, int(result.n), setting(job).dataset)


def less_symmetric(job: JobResults, other: JobResults) -> Estimate | None:
    """Correlation of the first array with its transpose less that of the second, each world left out of both.

    None where the two are not over the same samples, or one of them taught nothing.
    """
    if (
        stored_finding(job, "symmetry", "correlation") is None
        or stored_finding(other, "symmetry", "correlation") is None
    ):
        return None
    return more_symmetric(job, other)


def more_symmetric(job: JobResults, other: JobResults) -> Estimate | None:
    """By how much the first array is the more symmetric one; None where they are not over the same samples."""
    try:
        found = Symmetry().excess(judged_array(job), judged_array(other))
    except NotApplicable:
        return None
    return Estimate.of_interval(found.effect, found.low, found.high, found.n, setting(job).dataset)


def correlation_between(job: JobResults, other: JobResults) -> Estimate:
    """Correlation of two arrays over the pairs of different samples, each class or world left out in both its roles.

    Args:
        job, other: Over the same samples in the same order.
    """
    x, y = (clean(judged_array(one)) for one in (job, other))
    defined = (~same_sample(x) & np.isfinite(x.values) & np.isfinite(y.values)).astype(float)
    a, b = (np.where(defined > 0, one.values - np.nanmean(one.values), 0.0) for one in (x, y))
    units, _ = clusters(x)
    square = np.array_equal(texts(x, "stimulus_id"), texts(x, "probe_id"))
    moments = [_by_unit(one, units, square) for one in (defined, a, b, a * a, b * b, a * b)]

    def correlation(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        columns = counts if square else np.ones((len(counts), 1))
        total, sum_a, sum_b, aa, bb, ab = (((counts @ moment) * columns).sum(axis=1) for moment in moments)
        covariance = ab - sum_a * sum_b / total
        return statistics.divide(covariance, np.sqrt((aa - sum_a**2 / total) * (bb - sum_b**2 / total)))

    count = int(units.max()) + 1
    found = statistics.pair_jackknife(correlation, count) if square else statistics.jackknife(correlation, count)
    return Estimate.of_interval(found.value, *found.interval(1 - 2 * LEVEL), count, setting(job).dataset)


def _by_unit(
    cells: Float[np.ndarray, "stimulus probe"], units: np.ndarray, square: bool
) -> Float[np.ndarray, "units columns"]:
    """Sums over the stimuli of each unit, and over its probes where they are the same samples, else over all probes."""
    member = np.eye(int(units.max()) + 1)[units]
    return member.T @ cells @ (member if square else np.ones((cells.shape[1], 1)))
