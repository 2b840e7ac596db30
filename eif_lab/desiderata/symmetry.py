"""Symmetry: a sample teaches another one as much as it is taught by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy.stats import rankdata

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum, Weighted
from eif_lab.desiderata.selection import clean, clusters, prepare, related, require_units, texts
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option


@dataclass
class Symmetry(Desideratum):
    """``I[i, j] = I[j, i]`` where stimuli and probes are the same samples.

    Statistic: Pearson correlation of ``I[i, j]`` with ``I[j, i]`` over i != j. Of texts it is taken within each world
    and averaged over worlds, so that it is the same however many worlds there are: what different worlds do to each
    other is noise. Unit: the class or the world, whose rows and columns leave together, else the sample. Where noise
    was added, the clean samples are judged. Where no statement says anything about another one, influence between them
    ought to be none, and the symmetry of none is that of noise: there is no verdict.

    What a symmetric array says: after one small step of SGD, influence on the loss itself (the readout ``log_prob``
    where the loss is the mean of it) is to first order ``rate * <grad s_i, grad s_j>``, which is symmetric whatever the
    network has learnt. Only what is in `excess` of the first-order prediction's symmetry, with another optimizer,
    another readout or a larger step, is about the network.

    Details: ``rank_correlation`` by Spearman, with its interval; it weighs the many small cells as much as the few
    large ones, which hold nearly all of the energy. ``asymmetry_ratio = norm(I - I^T) / norm(I + I^T)`` (0 symmetric,
    infinite antisymmetric), and ``symmetric_share``, its complement in [0, 1]: the share of the array's energy in its
    symmetric part, 1/2 for white noise. Both over i != j, since the diagonal is symmetric by construction.

    Attributes:
        threshold: Correlation that counts as symmetric.
    """

    group: ClassVar[str] = "desideratum.symmetry"
    claim: ClassVar[str] = "a sample teaches another as much as it is taught by it: I[i, j] = I[j, i]"

    threshold: float = option(0.5, at_least=-1, below=1, hint="Try 0.5.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        square = Square.of(influence)
        headline, ranks = (
            self.correlation(name, symmetry, square.count, square.unit, self.threshold, scale=statistics.ARCSINE)
            for name, symmetry in (
                ("correlation", square.symmetry()),
                ("rank_correlation", square.symmetry(ranks=True)),
            )
        )
        details = {
            "rank_correlation": ranks.effect,
            "rank_correlation_low": ranks.low,
            "rank_correlation_high": ranks.high,
            **symmetric_parts(square.values),
        }
        note = ""
        if not np.isfinite(headline.effect):
            note = "influence between different samples does not vary: nothing to compare"
        elif not square.related:
            headline = headline.without_p_values()
            note = "no statement says anything about another: no influence between them is right, and no verdict"
        return Verdict("symmetry", self.claim, [headline], self.alpha, details, note)

    def excess(self, influence: xr.DataArray, first_order: xr.DataArray) -> Finding:
        """By how much an array is more symmetric than its first-order prediction, with an interval.

        Args:
            influence: (stimulus, probe), as `evaluate` takes it.
            first_order: The prediction by the engine ``first_order``. Stimuli that either lacks are left out.

        Raises:
            NotApplicable: They are not of the same probes.
        """
        arrays = [prepare(array) for array in (influence, first_order)]
        ids = [texts(array, "stimulus_id") for array in arrays]
        exact, predicted = (Square.of(one[np.isin(own, other)]) for one, own, other in zip(arrays, ids, ids[::-1]))
        if not np.array_equal(exact.ids, predicted.ids):
            raise NotApplicable("first_order must have the probes of influence, got others. Measure them again.")
        one, two = exact.symmetry(), predicted.symmetry()

        def difference(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return one(counts) - two(counts)

        return self.finding("excess_over_first_order", difference, exact.count, exact.unit, 0.0, pairs=True)


@dataclass(frozen=True)
class Square:
    """Influence among the samples that are both stimulus and probe, in one order.

    Attributes:
        values: Its cells.
        units: The unit ``0 .. count - 1`` of each sample.
        count: Number of units.
        unit: What they are, in the plural.
        ids: The samples.
        related: Whether one says anything about another; of texts it may be that none does.
    """

    values: Float[np.ndarray, "n n"]
    units: Int[np.ndarray, " n"]
    count: int
    unit: str
    ids: np.ndarray
    related: bool = True

    @classmethod
    def of(cls, influence: xr.DataArray) -> Square:
        """The square part of a prepared array.

        Raises:
            NotApplicable: Fewer than three units have samples that are both.
        """
        influence = clean(influence)
        ids, rows, columns = np.intersect1d(
            texts(influence, "stimulus_id"), texts(influence, "probe_id"), return_indices=True
        )
        units, unit = clusters(influence[rows])
        count = int(units.max(initial=-1)) + 1
        require_units(count, f"{unit} with samples that are both stimulus and probe")
        cells = np.ix_(rows, columns)
        related_cells = related(influence)[cells] & off_diagonal(influence.values[cells])
        return cls(influence.values[cells], units, count, unit, ids, unit != "worlds" or bool(related_cells.any()))

    def symmetry(self, ranks: bool = False) -> Weighted:
        """Correlation with the transpose where units count so often; by ranks it is ranked once, over all cells."""
        if self.unit != "worlds":
            values = rank_off_diagonal(self.values) if ranks else self.values
            return lambda counts: statistics.transpose_correlation(values, self.units, counts)
        worlds = [self.values[np.ix_(self.units == w, self.units == w)] for w in range(self.count)]
        within = np.array([symmetry_of(rank_off_diagonal(world) if ranks else world) for world in worlds])
        defined = np.isfinite(within)
        return lambda counts: statistics.divide(counts[:, defined] @ within[defined], counts[:, defined].sum(axis=1))


def symmetry_of(square: Float[np.ndarray, "n n"]) -> float:
    """Correlation of one square array with its transpose, off the diagonal."""
    if len(square) < 2:
        return float("nan")
    return float(statistics.transpose_correlation(square, np.arange(len(square)), np.ones((1, len(square))))[0])


def rank_off_diagonal(square: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Ranks of the cells off the diagonal, which holds 0; the mean rank of tied cells."""
    ranks, cells = np.zeros(square.shape), off_diagonal(square)
    ranks[cells] = rankdata(square[cells])
    return ranks


def off_diagonal(square: Float[np.ndarray, "n n"]) -> Bool[np.ndarray, "n n"]:
    """Where two samples are different ones."""
    return ~np.eye(len(square), dtype=bool)


def symmetric_parts(square: Float[np.ndarray, "n n"]) -> dict[str, float]:
    """How large the antisymmetric part is beside the symmetric one, off the diagonal, over the cells read both ways."""
    cells = np.where(np.isnan(square + square.T), 0.0, square) * off_diagonal(square)
    symmetric = float(np.linalg.norm(cells + cells.T))
    antisymmetric = float(np.linalg.norm(cells - cells.T))
    total = np.hypot(symmetric, antisymmetric)
    return {
        "asymmetry_ratio": antisymmetric / symmetric if symmetric > 0 else float("inf" if antisymmetric > 0 else "nan"),
        "symmetric_share": float((symmetric / total) ** 2) if total > 0 else float("nan"),
    }
