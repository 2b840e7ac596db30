"""Sparsity: a stimulus moves few probes, and those that it has to do with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, clusters, related, require_units
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.options import option


@dataclass
class Sparsity(Desideratum):
    """Few probes are moved, and the right ones. Where noise was added, the clean samples are judged.

    ``share_on_related``: the share of ``|I|`` that a stimulus lays on related probes, corrected for chance:
    ``(share - expected) / (1 - expected)``, with what is expected if it were spread evenly; 1 where nothing else moves.
    p-value: each stimulus's row, whole and with its norm, is given the related probes of another stimulus. This assumes
    exchangeable stimuli, but not exchangeable probes: a probe that moves under any stimulus gains nothing.

    ``hoyer``: Hoyer sparsity less that of Gaussian rows with the same length and norm. p-value: sign-flip over units,
    which assumes that a row and its Gaussian match are exchangeable under the null.

    Intervals: stimuli (worlds, where there are any) resampled whole.

    Details: means over stimuli of the Gini and Hoyer indices, of the effective number of probes moved, and of the share
    on related probes as it stands.

    Attributes:
        share_threshold: Share above chance that counts as laid on the right probes.
        hoyer_threshold: Hoyer sparsity above a Gaussian row's that counts as sparse.
    """

    group: ClassVar[str] = "desideratum.sparsity"
    claim: ClassVar[str] = "a stimulus moves few probes, and those that it has to do with"

    share_threshold: float = option(0.1, at_least=0, below=1, hint="Try 0.1.")
    hoyer_threshold: float = option(0.0, at_least=-1, below=1, hint="Try 0.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        influence = influence[(influence.values != 0).any(axis=1)]
        require_units(influence.sizes["stimulus"], "stimuli that moved a probe")
        require_units(influence.sizes["probe"], "probes", at_least=2)
        size = np.abs(influence.values)
        share, expected = share_on_related(influence)
        details = {
            "gini": float(statistics.gini(size).mean()),
            "hoyer": float(statistics.hoyer(size).mean()),
            "effective_number": float(statistics.effective_number(size).mean()),
            "share_on_related": float(np.diag(share).mean()),
            "share_expected": float(expected.mean()),
        }
        findings = [self.share_finding(influence, generator), self.hoyer_finding(influence, generator)]
        return Verdict("sparsity", self.claim, findings, self.alpha, details)

    def share_finding(self, influence: xr.DataArray, generator: Generator) -> Finding:
        """Whether the right probes are moved."""
        has_both = related(influence).any(axis=1) & ~related(influence).all(axis=1)
        influence = influence[has_both]
        units, unit = clusters(influence)
        require_units(int(units.max(initial=-1)) + 1, f"{unit} with both related and unrelated probes")
        share, expected = share_on_related(influence)
        corrected = (share - expected) / (1 - expected)
        permutations = statistics.cluster_permutations(units, self.resamples, generator)
        null = statistics.row_permutation_null(corrected, permutations)
        values = np.diag(corrected)
        p_value = statistics.upper_tail(float(values.mean()), null)
        return self.mean_finding(
            "share_on_related",
            values=values,
            influence=influence,
            p_value=p_value,
            threshold=self.share_threshold,
            generator=generator,
        )

    def hoyer_finding(self, influence: xr.DataArray, generator: Generator) -> Finding:
        """Whether few probes are moved."""
        rows, probes = influence.shape
        pairs = max(1, self.resamples // rows)
        null = statistics.hoyer(generator.standard_normal((rows, pairs, probes))).mean(axis=1)
        values = statistics.hoyer(influence.values) - null
        units, _ = clusters(influence)
        means = statistics.group_means(values, units, int(units.max()) + 1)
        p_value = statistics.sign_flip_p(means, self.resamples, generator)
        return self.mean_finding(
            "hoyer_above_gaussian",
            values=values,
            influence=influence,
            p_value=p_value,
            threshold=self.hoyer_threshold,
            generator=generator,
        )

    def mean_finding(
        self,
        statistic: str,
        *,
        values: Float[np.ndarray, " stimulus"],
        influence: xr.DataArray,
        p_value: float,
        threshold: float,
        generator: Generator,
    ) -> Finding:
        """The mean over stimuli, with an interval from resampling whole units."""
        units, unit = clusters(influence)
        n = int(units.max()) + 1
        low, high = self.interval(
            lambda counts: (counts[:, units] @ values) / counts[:, units].sum(axis=1), n, generator
        )
        return Finding(statistic, float(values.mean()), low, high, p_value, n, unit, threshold)


def share_on_related(
    influence: xr.DataArray,
) -> tuple[Float[np.ndarray, "stimulus stimulus"], Float[np.ndarray, " stimulus"]]:
    """Share of row i's ``|I|`` on the probes related to stimulus k (the diagonal is the array's own), and the share
    expected on the probes related to k if influence were spread evenly.
    """
    size = np.abs(influence.values)
    relation = related(influence).astype(float)
    return size / size.sum(axis=1, keepdims=True) @ relation.T, relation.mean(axis=1)
