"""What all desiderata have in common: the level, the confidence, the fewest units, and one public method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.random import Generator

from eif_lab.desiderata.selection import prepare
from eif_lab.desiderata.statistics import jackknife
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
    """

    group: ClassVar[str] = "desideratum"
    claim: ClassVar[str] = ""

    alpha: float = option(0.05, above=0, below=1, hint="Try 0.05.")
    confidence: float = option(0.95, above=0, below=1, hint="Try 0.95.")
    least_units: int = option(6, at_least=3, hint="Try 6.")

    def evaluate(self, influence: xr.DataArray, seed: int) -> Verdict:
        """Hold the array to the claim.

        Args:
            influence: (stimulus, probe), one seed, step and readout, with the coordinates that the data gave it.
                Stimuli with NaN or infinite influence are dropped.
            seed: Of what is drawn; the same seed gives the same verdict, whatever the order of the samples.

        Raises:
            NotApplicable: The array lacks what the claim is about.
        """
        return self.judge(prepare(influence), np.random.default_rng(seed))

    def finding(
        self, statistic: str, weighted: Weighted, units: int, unit: str, threshold: float, chance: float = 0.0
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
        """
        estimate = jackknife(weighted, units)
        low, high = estimate.interval(self.confidence)
        enough = units >= self.least_units
        p_value, p_violated = (estimate.p_values(threshold)) if enough else (math.nan, math.nan)
        return Finding(statistic, estimate.value, low, high, p_value, units, unit, threshold, p_violated, chance)

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array: finite, sorted by sample id, not constant."""
        raise NotImplementedError
