"""Distance decay: the further a probe is from the stimulus, the less it is taught."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpy.random import Generator
from scipy.optimize import OptimizeWarning, curve_fit

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, clusters, require_units, same_sample, texts
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option

_MOST_BINS = 20


@dataclass
class DistanceDecay(Desideratum):
    """Influence falls with semantic distance.

    Statistic: Spearman correlation of influence with distance, turned round, over the pairs that are not the same
    sample and whose distance is defined. Interval: stimuli (worlds, where there are any) resampled whole. p-value: QAP;
    rows and columns permuted together where stimuli and probes are the same samples, rows alone otherwise, which
    assumes exchangeable samples, or stimuli, of clusters of one size. Where a distance is defined only for some of the
    stimuli (within a world, say), no row can stand in for another, and the sign of each unit's contribution is flipped
    instead, which assumes that contributions are symmetric about zero. Where noise was added, the clean samples are
    judged.

    Details: ``decay_length`` of ``I = a exp(-distance / length) + c`` fitted to binned means, in units of the distance;
    NaN where there are fewer than four distinct distances or the fit fails.

    Attributes:
        distance: Name of the distance; the array's default one where None.
        threshold: Rank correlation (turned round) that counts as decay.
    """

    group: ClassVar[str] = "desideratum.distance_decay"
    claim: ClassVar[str] = "influence falls with the distance between stimulus and probe"

    distance: str | None = option(None)
    threshold: float = option(0.1, at_least=-1, below=1, hint="Try 0.1.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        distance = self.distances(influence)
        same = same_sample(influence)
        cells = np.isfinite(distance) & ~same
        measured = cells.any(axis=1)
        influence, distance, cells, same = influence[measured], distance[measured], cells[measured], same[measured]
        units, unit = clusters(influence)
        n = int(units.max(initial=-1)) + 1
        require_units(n, f"{unit} with a distance to another sample")

        def falls(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            return -statistics.row_spearman(influence.values, distance, cells, counts[:, units])

        effect = float(falls(np.ones((1, n)))[0])
        low, high = self.interval(falls, n, generator)
        p_value = self.p_value(influence, distance, cells | same, generator) if np.isfinite(effect) else float("nan")
        finding = Finding("rank_correlation", effect, low, high, p_value, n, unit, self.threshold)
        note = "" if np.isfinite(effect) else "influence or distance does not vary between different samples"
        details = {"decay_length": decay_length(distance[cells], influence.values[cells])}
        return Verdict("distance_decay", self.claim, [finding], self.alpha, details, note)

    def distances(self, influence: xr.DataArray) -> Float[np.ndarray, "stimulus probe"]:
        """The distance chosen, or the array's default one.

        Raises:
            NotApplicable: The array has no such distance.
        """
        names = sorted(str(name).removeprefix("distance_") for name in influence.coords if str(name)[:9] == "distance_")
        if not names:
            raise NotApplicable("influence must have a distance, got none. Choose a dataset with distances.")
        name = self.distance or influence.attrs.get("distance", names[0])
        if name not in names:
            raise NotApplicable(
                f"{self.group}.distance must be one of {', '.join(names)}, got {name!r}. Try {names[0]}."
            )
        return influence[f"distance_{name}"].transpose("stimulus", "probe").values.astype(float)

    def p_value(
        self,
        influence: xr.DataArray,
        distance: Float[np.ndarray, "stimulus probe"],
        defined: Bool[np.ndarray, "stimulus probe"],
        generator: Generator,
    ) -> float:
        """One-sided, against influence that has nothing to do with distance."""
        cells = defined & ~same_sample(influence)
        taught, near = centred_ranks(influence.values, cells), -centred_ranks(distance, cells)
        units, _ = clusters(influence)
        if (defined.all(axis=0) != defined.any(axis=0)).any():
            return statistics.sign_flip_p(np.bincount(units, (taught * near).sum(axis=1)), self.resamples, generator)
        permutations = statistics.cluster_permutations(units, self.resamples, generator)
        if np.array_equal(texts(influence, "stimulus_id"), texts(influence, "probe_id")):
            null = statistics.joint_permutation_null(taught, near, permutations)
            return statistics.upper_tail(float(np.vdot(taught, near)), null)
        paired = taught @ near.T
        return statistics.upper_tail(
            float(np.trace(paired) / len(paired)), statistics.row_permutation_null(paired, permutations)
        )


def centred_ranks(
    values: Float[np.ndarray, "stimulus probe"], cells: Bool[np.ndarray, "stimulus probe"]
) -> Float[np.ndarray, "stimulus probe"]:
    """Ranks over ``cells`` about their mean, and 0, which weighs nothing, elsewhere."""
    ranks = statistics.mid_ranks(np.unique(values[cells], return_inverse=True)[1])
    centred = np.zeros(values.shape)
    centred[cells] = ranks - ranks.mean()
    return centred


def decay_length(distance: Float[np.ndarray, " cells"], influence: Float[np.ndarray, " cells"]) -> float:
    """Length of the exponential fitted to mean influence in bins of distance; NaN where none fits."""
    places = np.unique(distance)
    if len(places) > _MOST_BINS:
        places = np.unique(np.quantile(distance, np.linspace(0, 1, _MOST_BINS + 1)[1:]))
    bins = np.searchsorted(places[:-1], distance)
    centre = statistics.group_means(distance, bins, len(places))
    height = statistics.group_means(influence, bins, len(places))
    span, scale = np.ptp(centre), np.abs(height).max()
    if len(places) < 4 or scale == 0 or span == 0:
        return float("nan")
    # Fitted in units of the data, so that neither the scale of influence nor that of distance matters.
    x, y = (centre - centre[0]) / span, height / scale
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            fitted, _ = curve_fit(
                lambda x, a, length, c: a * np.exp(-x / length) + c,
                x,
                y,
                p0=(y[0] - y[-1], 0.3, y[-1]),
                bounds=([0, 1e-2, -np.inf], [np.inf, 1e2, np.inf]),
            )
        except (RuntimeError, ValueError, OptimizeWarning):
            return float("nan")
    amplitude, length = fitted[0], fitted[1]
    # At a bound nothing was resolved: no decay, a straight line, or a drop within the first bin.
    resolved = amplitude > 1e-6 and 1.01e-2 < length < 99
    return float(length * span) if resolved else float("nan")
