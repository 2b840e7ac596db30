"""One measure of attribution scores, with an interval for each thing that could have been drawn otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from eif_lab.desiderata.statistics import divide, jackknife
from eif_lab.errors import rule_error

CONFIDENCE = 0.95
"""Two-sided level of the intervals."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A mean over probes, with its intervals.

    Attributes:
        name: Such as ``lds``.
        value: The mean over the probes that count; NaN where none does.
        by_probe: (probes,), NaN for a probe that does not count.
        intervals: What could have been drawn otherwise (``probes``, ``sets``, ``samples``, ``seeds``) to the ends of
            the interval; NaN where there are fewer than two of them.
        unit: Of the value; empty for a correlation.
    """

    name: str
    value: float
    by_probe: Float[np.ndarray, " probes"]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    unit: str = ""

    def __str__(self) -> str:
        ends = ", ".join(f"{drawn} [{low:.3g}, {high:.3g}]" for drawn, (low, high) in self.intervals.items())
        return f"{self.name} {self.value:.3g}{f' {self.unit}' if self.unit else ''}: {ends}"


def over_probes(by_probe: Float[np.ndarray, " probes"], units: Int[np.ndarray, " _"] | None = None) -> Interval:
    """The interval of the mean over probes, for other probes of the same kind.

    Args:
        by_probe: NaN for a probe that does not count.
        units: What each probe belongs to, such as its world, which is left out whole; every probe alone where None.

    Raises:
        ConfigError: There is not a unit for each probe.
    """
    units = np.arange(len(by_probe)) if units is None else np.asarray(units)
    if units.shape != by_probe.shape:
        raise rule_error("probe_units", f"have a unit for each of {len(by_probe)} probes", f"shape {units.shape}")
    counted = np.isfinite(by_probe)
    names, groups = np.unique(units[counted], return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sizes, sums = np.bincount(groups), np.bincount(groups, by_probe[counted])
    return jackknife(lambda counts: divide(counts @ sums, counts @ sizes), len(names)).interval(CONFIDENCE)


def over_rows(statistic: Callable[[Int[np.ndarray, " kept"]], float], rows: int) -> Interval:
    """The interval of a statistic for other rows (sets, samples or seeds of training), by the jackknife.

    Args:
        statistic: Indices of the rows that are kept, to the statistic of them alone.
        rows: How many there are.
    """
    if rows < 2:
        return float("nan"), float("nan")
    estimate = jackknife(lambda counts: np.array([statistic(np.flatnonzero(kept)) for kept in counts]), rows)
    return estimate.interval(CONFIDENCE)
