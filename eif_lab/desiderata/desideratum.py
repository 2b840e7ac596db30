"""The base of all desiderata: the level, the confidence, the fewest units, and one public method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.selection import must_be_judged, prepare
from eif_lab.desiderata.statistics import Estimate, divide, fieller_interval, jackknife, pair_jackknife
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.options import Options, option

Weighted = Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]]
"""How often each unit counts, to the statistic; NaN where it is undefined."""


@dataclass
class Desideratum(Options):
    """A claim about an influence array, with its test.

    Attributes:
        alpha: Level of the tests.
        confidence: Two-sided level of the intervals.
        least_units: Fewest independent units for which there is a verdict.
        of_sets: Whether the claim has a meaning for a row that is a set of samples, if these are of one world.
    """

    group: ClassVar[str] = "desideratum"
    claim: ClassVar[str] = ""
    of_sets: ClassVar[bool] = False

    alpha: float = option(0.05, above=0, below=1, hint="Try 0.05.")
    confidence: float = option(0.95, above=0, below=1, hint="Try 0.95.")
    least_units: int = option(6, at_least=3, hint="Try 6.")

    def evaluate(self, influence: xr.DataArray, seed: int) -> Verdict:
        """Test the claim on the array.

        Args:
            influence: (stimulus, probe), one seed, step and readout, with the coordinates that the data gave it.
                Stimuli with NaN or infinite influence are dropped.
            seed: Of what is drawn; the same seed gives the same verdict, whatever the order of the samples.

        Raises:
            NotApplicable: The array lacks what the claim is about.
        """
        must_be_judged(influence, self.of_sets)
        return self.judge(prepare(influence), np.random.default_rng(seed))

    def finding(
        self,
        statistic: str,
        weighted: Weighted,
        units: int,
        unit: str,
        threshold: float,
        *,
        chance: float = 0.0,
        pairs: bool = False,
    ) -> Finding:
        """A statistic over independent units, with its interval and both p-values against the threshold.

        All follow from one t distribution, that of the jackknife over units. With fewer than ``least_units`` there are
        no p-values.

        Args:
            statistic: Its name.
            weighted: What it is where units count so often.
            units: Number of units.
            unit: What they are, in the plural.
            threshold: The bar.
            chance: What the statistic is by chance.
            pairs: Whether it is one of pairs of units, whose rows and columns leave together.
        """
        estimate = (pair_jackknife if pairs else jackknife)(weighted, units)
        low, high = estimate.interval(self.confidence)
        p_value, p_violated = self.p_values(estimate, units, threshold)
        return Finding(
            statistic, estimate.value, low, high, p_value, units, unit, threshold, p_violated, chance, self.confidence
        )

    def correlation(
        self, statistic: str, weighted: Weighted, units: int, unit: str, threshold: float, *, scale: statistics.Scale
    ) -> Finding:
        """A correlation over pairs of units, with the interval and the p-values that it has on another scale.

        As it stands the jackknife errs to one side: the two sides of a correlation are not equally uncertain.

        Args:
            statistic, weighted, units, unit, threshold: Those of `finding`.
            scale: On which they are.
        """

        def scaled(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return scale.of(weighted(counts))

        finding = self.finding(statistic, scaled, units, unit, float(scale.of(threshold)), pairs=True)
        effect, low, high = (float(scale.back(end)) for end in (finding.effect, finding.low, finding.high))
        return replace(finding, effect=effect, low=low, high=high, threshold=threshold)

    def ratio(
        self,
        statistic: str,
        numerator: Float[np.ndarray, " units"],
        denominator: Float[np.ndarray, " units"],
        *,
        unit: str,
        threshold: float,
    ) -> Finding:
        """A ratio of means over independent units, with Fieller's interval and both p-values against the threshold.

        The p-values are those of ``mean(numerator - threshold * denominator)`` against zero, which is on the same side
        of zero as the ratio is of the threshold as long as the denominator's mean is positive. See
        `statistics.fieller_interval` for why a ratio is not left to `finding`.

        Args:
            statistic: Its name.
            numerator, denominator: By unit; the denominator's mean is to be clearly above zero.
            unit: What the units are, in the plural.
            threshold: The bar.
        """
        n = len(numerator)
        beyond = jackknife(lambda counts: divide(counts @ (numerator - threshold * denominator), counts.sum(axis=1)), n)
        low, high = fieller_interval(numerator, denominator, self.confidence)
        p_value, p_violated = self.p_values(beyond, n, 0.0)
        effect = float(divide(numerator.sum(), denominator.sum()))
        return Finding(
            statistic, effect, low, high, p_value, n, unit, threshold, p_violated, confidence=self.confidence
        )

    def p_values(self, estimate: Estimate, units: int, threshold: float) -> tuple[float, float]:
        """Both p-values against the threshold; NaN with fewer than ``least_units``."""
        return estimate.p_values(threshold) if units >= self.least_units else (math.nan, math.nan)

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array: finite, sorted by sample id, not constant."""
        raise NotImplementedError
