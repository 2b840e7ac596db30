"""Every statistic and interval of the desiderata, on plain NumPy arrays.

Inference never treats a cell of the influence array as an independent unit: rows share columns and columns share rows.
Units (worlds, classes, sources, stimuli) are left out whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import special

_TIE = 1e-12
"""Relative round-off below which two values of one statistic count as equal."""

_DRAWN_IN = 0.95
"""Of a correlation on Fisher's scale."""


# Concentration of one row -------------------------------------------------------------------------------------------


def hoyer(values: Float[np.ndarray, "*rows probes"]) -> Float[np.ndarray, " *rows"]:
    """Hoyer sparsity of each row: ``(sqrt(m) - |x|_1 / |x|_2) / (sqrt(m) - 1)``.

    0 where all entries are equally large, 1 where a single one is not zero, NaN for a row of zeros or of one entry.
    Source: Hoyer (2004), Non-negative matrix factorization with sparseness constraints, JMLR 5.
    """
    size = np.abs(values)
    root = np.sqrt(values.shape[-1])
    ratio = divide(size.sum(-1), np.sqrt((size**2).sum(-1)))
    return divide(root - ratio, np.full_like(ratio, root - 1))


def gini(values: Float[np.ndarray, "*rows probes"]) -> Float[np.ndarray, " *rows"]:
    """Gini index of each row's absolute values: one minus twice the area under the Lorenz curve, by trapezoids.

    0 where all entries are equally large, ``1 - 1/m`` where a single one is not zero, NaN for a row of zeros.
    """
    size = np.sort(np.abs(values), axis=-1)
    m = size.shape[-1]
    return divide(size @ (2.0 * np.arange(1, m + 1) - m - 1), m * size.sum(-1))


def effective_number(values: Float[np.ndarray, "*rows probes"]) -> Float[np.ndarray, " *rows"]:
    """Number of equally moved probes that would be as concentrated: ``1 / sum(p^2)`` with ``p = |x| / sum |x|``.

    From 1 (a single probe moved) to m (all moved alike); the inverse Simpson index of the absolute values.
    """
    size = np.abs(values)
    return divide(size.sum(-1) ** 2, (size**2).sum(-1))


# Symmetry -----------------------------------------------------------------------------------------------------------


def transpose_correlation(
    square: Float[np.ndarray, "n n"], units: Int[np.ndarray, " n"], weights: Float[np.ndarray, "draws units"]
) -> Float[np.ndarray, " draws"]:
    """Correlation of ``A[i, j]`` with ``A[j, i]`` over i != j when unit u was drawn ``weights[draw, u]`` times.

    Each drawn copy of a unit brings its own samples. Copies of one unit are never paired with one another: for a sample
    and its duplicate that pair would be the diagonal, which always equals itself.

    Args:
        square: Influence among n samples.
        units: The unit ``0 .. units - 1`` that each sample belongs to.
        weights: How often each unit was drawn.
    """
    off_diagonal = 1.0 - np.eye(len(square))
    member = np.eye(weights.shape[1])[units]
    # The correlation does not change with the origin; near the mean the sums lose no digits.
    centred = (square - square[off_diagonal > 0].mean()) * off_diagonal

    def pair_sum(values: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " draws"]:
        by_unit = member.T @ values @ member
        within = np.diag(by_unit)
        return ((weights @ (by_unit - np.diag(within))) * weights).sum(-1) + weights @ within

    total = pair_sum(off_diagonal)
    mean = divide(pair_sum(centred), total)
    variance = divide(pair_sum(centred**2), total) - mean**2
    covariance = divide(pair_sum(centred * centred.T), total) - mean**2
    defined = variance > (_TIE * np.abs(square).max()) ** 2
    return divide(covariance, np.where(defined, variance, 0.0))


# Intervals ----------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A statistic with its standard error, and the degrees of freedom of that.

    Attributes:
        value: The statistic.
        error: Its standard error; NaN where it is not known.
        freedom: Degrees of freedom.
    """

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """The ends of the t interval."""
        reach = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return self.value - reach, self.value + reach

    def p_values(self, bar: float) -> tuple[float, float]:
        """One-sided p-values against a true value at or below the bar, and against one at or above it."""
        if not np.isfinite(self.error):
            return float("nan"), float("nan")
        beyond = self.value - bar
        if self.error <= _TIE * abs(beyond):
            return float(beyond <= 0), float(beyond >= 0)
        t = beyond / self.error if self.error > 0 else 0.0
        return float(special.stdtr(self.freedom, -t)), float(special.stdtr(self.freedom, t))


def jackknife(
    statistic: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]], units: int
) -> Estimate:
    """A statistic of independent units with the standard error of the jackknife, which leaves out one unit at a time.

    For a mean this is the standard error of the mean, for a ratio of means that of the linearised ratio; for statistics
    of pairs of units (an array whose rows and columns are units) it counts what pairs have in common.
    Source: Efron and Stein (1981), The jackknife estimate of variance; Arvesen (1969), Jackknifing U-statistics.

    Args:
        statistic: How often each unit counts (draws, units), to the statistic of each draw, NaN where undefined.
        units: Number of units.
    """
    value = float(statistic(np.ones((1, units)))[0])
    if units < 2:
        return Estimate(value, float("nan"), 1)
    without = statistic(1.0 - np.eye(units))
    error = float(np.sqrt((units - 1) / units * ((without - without.mean()) ** 2).sum()))
    return Estimate(value, error, units - 1)


def pair_jackknife(
    statistic: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]], units: int
) -> Estimate:
    """The jackknife for a statistic of pairs of units, such as one of an array whose rows and columns are units.

    The part of its variance that comes from single pairs is counted twice by the jackknife, since either unit takes the
    pair with it. Leaving out two units at a time shows how much that is: for them
    ``Q[i, j] = n t - (n - 1) (t[-i] + t[-j]) + (n - 2) t[-i, -j]`` is what the pair adds to its units, and
    ``(n - 2) / n^3 sum_{i < j} Q^2`` is taken off the variance, at most two fifths of it.
    Source: Efron and Stein (1981), The jackknife estimate of variance, section 5.

    Args:
        statistic, units: Those of `jackknife`.
    """
    estimate = jackknife(statistic, units)
    if units < 4 or not np.isfinite(estimate.error):
        return estimate
    one, other = np.triu_indices(units, 1)
    leave = np.eye(units)
    without = statistic(1.0 - leave)
    both = statistic(1.0 - leave[one] - leave[other])
    extra = units * estimate.value - (units - 1) * (without[one] + without[other]) + (units - 2) * both
    twice = (units - 2) / units**3 * ((extra - extra.mean()) ** 2).sum()
    variance = max(estimate.error**2 - twice, 0.6 * estimate.error**2)
    return estimate._replace(error=float(np.sqrt(variance)))


def unit_values(
    numerator: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]],
    denominator: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]],
    units: int,
    *,
    pairs: bool,
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """One value by unit of either statistic, whose means are the statistics and whose covariance is the jackknife's.

    So a ratio of any two statistics can be tested like a ratio of means. They are Tukey's pseudo-values, moved to the
    statistic. Of pairs of units they are drawn together by as much as `pair_jackknife` takes off the error of
    ``numerator - ratio * denominator``.
    Source: Tukey (1958), Bias and confidence in not-quite large samples, Annals of Mathematical Statistics 29.

    Args:
        numerator, denominator: Those of `jackknife`.
        units: Number of units.
        pairs: Whether they are statistics of pairs of units.
    """
    once = np.ones((1, units))
    ratio = float(divide(numerator(once), denominator(once))[0])

    def residual(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        return numerator(counts) - ratio * denominator(counts)

    plain = jackknife(residual, units).error
    shrink = pair_jackknife(residual, units).error / plain if pairs and plain > 0 else 1.0
    values = []
    for statistic in (numerator, denominator):
        without = statistic(1.0 - np.eye(units))
        values.append(statistic(once) + shrink * (units - 1) * (without.mean() - without))
    return values[0], values[1]


def fieller_interval(
    numerator: Float[np.ndarray, " units"], denominator: Float[np.ndarray, " units"], confidence: float
) -> tuple[float, float]:
    """The interval of a ratio of means: every ratio r at which a t test does not reject ``mean(numerator - r
    denominator) = 0``.

    It is exact for normal values. The t interval about the ratio is not: with a denominator that varies between units
    it rejects too seldom on one side and too often on the other.
    Source: Fieller (1954), Some problems in interval estimation, JRSS B 16.

    Returns:
        The ends; NaN where the denominator's own interval holds zero, since then no finite interval has that level.
    """
    n = len(numerator)
    if n < 2:
        return float("nan"), float("nan")
    top, bottom = numerator.mean(), denominator.mean()
    quantile = special.stdtrit(n - 1, (1 + confidence) / 2)
    of_top, of_both, _, of_bottom = quantile**2 * np.cov(numerator, denominator).ravel() / n
    square, product = bottom**2 - of_bottom, top * bottom - of_both
    if square <= 0:
        return float("nan"), float("nan")
    reach = np.sqrt(max(product**2 - square * (top**2 - of_top), 0.0))
    return float((product - reach) / square), float((product + reach) / square)


class Scale(NamedTuple):
    """A scale on which the two sides of a correlation are equally uncertain.

    Attributes:
        of: A correlation to its place on the scale.
        back: The correlation at a place, which may lie beyond the scale's ends.
    """

    of: Callable[[ArrayLike], np.ndarray]
    back: Callable[[ArrayLike], np.ndarray]


ARCSINE = Scale(
    of=lambda values: np.arcsin(np.clip(values, -1, 1)),
    back=lambda places: np.sin(np.clip(places, -np.pi / 2, np.pi / 2)),
)
"""For the correlation of an array with its transpose; Fisher's errs to the other side there (docs/desiderata.md)."""

FISHER = Scale(
    of=lambda values: np.arctanh(_DRAWN_IN * np.asarray(values)), back=lambda places: np.tanh(places) / _DRAWN_IN
)
"""For a rank correlation over pairs of classes, which is drawn in a little: of few classes it may be 1, and is then to
be at a finite place, near that of 0.99.

Source: Fisher (1921), On the probable error of a coefficient of correlation, Metron 1.
"""


# Arithmetic ---------------------------------------------------------------------------------------------------------


def divide(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Element-wise quotient; NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def group_means(
    values: Float[np.ndarray, " cells"], groups: Int[np.ndarray, " cells"], count: int
) -> Float[np.ndarray, " groups"]:
    """Mean of the values of each group ``0 .. count - 1``; NaN for a group without any."""
    return divide(np.bincount(groups, values, minlength=count), np.bincount(groups, minlength=count))
