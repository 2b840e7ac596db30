"""What all desiderata have in common: the level, the confidence, the resamples, and one public method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.random import Generator

from eif_lab.desiderata.selection import prepare
from eif_lab.desiderata.statistics import bootstrap_interval
from eif_lab.desiderata.verdict import Verdict
from eif_lab.options import Options, option


@dataclass
class Desideratum(Options):
    """A claim about an influence array, with its test.

    Attributes:
        alpha: Level of the test.
        confidence: Two-sided level of the intervals.
        resamples: Permutations, sign flips and bootstrap draws.
    """

    group: ClassVar[str] = "desideratum"
    claim: ClassVar[str] = ""

    alpha: float = option(0.05, above=0, below=1, hint="Try 0.05.")
    confidence: float = option(0.95, above=0, below=1, hint="Try 0.95.")
    resamples: int = option(999, at_least=19, hint="Try 999.")

    def evaluate(self, influence: xr.DataArray, seed: int) -> Verdict:
        """Hold the array to the claim.

        Args:
            influence: (stimulus, probe), one seed, step and readout, with the coordinates that the data gave it.
                Stimuli with NaN or infinite influence are dropped.
            seed: Of the resamples; the same seed gives the same verdict, whatever the order of the samples.

        Raises:
            NotApplicable: The array lacks what the claim is about.
        """
        return self.judge(prepare(influence), np.random.default_rng(seed))

    def interval(
        self,
        statistic: Callable[[Float[np.ndarray, "draws units"]], Float[np.ndarray, " draws"]],
        units: int,
        generator: Generator,
    ) -> tuple[float, float]:
        """Bootstrap interval from resampling whole units; see `statistics.bootstrap_interval`."""
        return bootstrap_interval(statistic, units, self.confidence, self.resamples, generator)

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array: finite, sorted by sample id, not constant."""
        raise NotImplementedError
