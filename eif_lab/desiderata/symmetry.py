"""Symmetry: a sample teaches another one as much as it is taught by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, clusters, require_units, texts
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.options import option


@dataclass
class Symmetry(Desideratum):
    """``I[i, j] = I[j, i]`` where stimuli and probes are the same samples.

    Statistic: Pearson correlation of ``I[i, j]`` with ``I[j, i]`` over i != j. Interval: samples (worlds, where there
    are any) resampled whole, rows and columns together. p-value: probes relabelled against stimuli; see
    `statistics.transpose_null` for what that assumes and for why it is not the usual QAP. Where noise was added, the
    clean samples are judged.

    Details: ``asymmetry_ratio = norm(I - I^T) / norm(I + I^T)`` (0 symmetric, infinite antisymmetric), and
    ``symmetric_share``, its complement in [0, 1]: the share of the array's energy in its symmetric part, 1/2 for white
    noise. Both over i != j, since the diagonal is symmetric by construction.

    Attributes:
        threshold: Correlation that counts as symmetric.
    """

    group: ClassVar[str] = "desideratum.symmetry"
    claim: ClassVar[str] = "a sample teaches another as much as it is taught by it: I[i, j] = I[j, i]"

    threshold: float = option(0.5, at_least=-1, below=1, hint="Try 0.5.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        square, units, unit = shared_square(clean(influence))
        n = int(units.max(initial=-1)) + 1
        require_units(n, f"{unit} with samples that are both stimulus and probe")

        def symmetry(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return statistics.transpose_correlation(square, units, counts)

        effect = float(symmetry(np.ones((1, n)))[0])
        low, high = self.interval(symmetry, n, generator)
        permutations = statistics.cluster_permutations(units, self.resamples, generator)
        p_value = statistics.upper_tail(effect, statistics.transpose_null(square, permutations))
        correlation = Finding("correlation", effect, low, high, p_value, n, unit, self.threshold)
        note = "" if np.isfinite(effect) else "influence between different samples does not vary: nothing to compare"
        return Verdict("symmetry", self.claim, [correlation], self.alpha, symmetric_parts(square), note)


def shared_square(influence: xr.DataArray) -> tuple[Float[np.ndarray, "n n"], Int[np.ndarray, " n"], str]:
    """Influence among the samples that are both stimulus and probe, in one order, with the unit of each."""
    _, rows, columns = np.intersect1d(
        texts(influence, "stimulus_id"), texts(influence, "probe_id"), return_indices=True
    )
    units, unit = clusters(influence[rows])
    return influence.values[np.ix_(rows, columns)], units, unit


def symmetric_parts(square: Float[np.ndarray, "n n"]) -> dict[str, float]:
    """How large the antisymmetric part is beside the symmetric one, off the diagonal."""
    off_diagonal = square * ~np.eye(len(square), dtype=bool)
    symmetric = float(np.linalg.norm(off_diagonal + off_diagonal.T))
    antisymmetric = float(np.linalg.norm(off_diagonal - off_diagonal.T))
    total = np.hypot(symmetric, antisymmetric)
    return {
        "asymmetry_ratio": antisymmetric / symmetric if symmetric > 0 else float("inf" if antisymmetric > 0 else "nan"),
        "symmetric_share": float((symmetric / total) ** 2) if total > 0 else float("nan"),
    }
