"""Distance decay: the further a probe is from the stimulus, the less it is moved."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpy.random import Generator
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import rankdata

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, require_units, same_sample
from eif_lab.desiderata.stand_ins import (
    FEWEST,
    Units,
    above_stand_ins,
    average_scores,
    own_and_chance,
    related_elsewhere,
    units_of,
)
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option

_MOST_BINS = 20

_OF_IMAGES = ("feature", "pixel")
"""The distances of images, the preferred one first. The class is none: of two values neither is further away."""


@dataclass
class DistanceDecay(Desideratum):
    """The size of influence falls with semantic distance.

    Statistic: for each stimulus the rank correlation of ``|I|`` with nearness over the probes of its own world, itself
    left out, less what the stimuli of other worlds, put in its place, reach on the same probes (see `stand_ins`);
    averaged over a world's stimuli, then over worlds. Nothing is compared across worlds, so that the number of worlds
    does not matter; and what moves a probe under any stimulus cancels. A probe of the world without a distance (no
    proof leads to it) is further away than all that have one. It is called ``rank_correlation_<distance>``.

    Of images there are two findings. ``within_class_<distance>`` is the same within classes, by the distance between
    features where there is one, else between pixels. ``between_classes_<distance>``: the rank correlation, over pairs
    of classes, of the size of the mean influence of one on the other with their nearness (mean distance of their
    samples), given both classes: that some teach, learn or lie in the middle more than others cancels. Being of one
    class or not is a contrast, of which `Sparsity` asks; it is no decay.

    Unit: the class, the world, or the stimulus where there is neither. Where noise was added, the clean samples are
    judged.

    Details: the statistic and its chance as they are before the difference is taken, and ``decay_length`` of
    ``|I| = a exp(-distance / length) + c`` fitted to binned means, in units of the distance; NaN where there are fewer
    than four distinct distances or the fit fails.

    Attributes:
        distance: Name of the distance. None is the dataset's first one; of images that between features, or pixels.
        threshold: Rank correlation above chance that counts as decay.
    """

    group: ClassVar[str] = "desideratum.distance_decay"
    claim: ClassVar[str] = "the size of influence falls with the distance between stimulus and probe"

    distance: str | None = option(None)
    threshold: float = option(0.05, at_least=-1, below=1, hint="Try 0.05.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence, units = clean(influence), units_of(clean(influence))
        name, distance = self.distances(influence)
        cells = comparable(influence, distance, units)
        if units.name == "worlds":
            distance = np.where(np.isfinite(distance), distance, np.inf)
        size = np.abs(influence.values)
        table = rank_correlations(size, distance, cells, related_elsewhere(influence, units), units)
        require_units(len(table), f"{units.name} with distances that differ", at_least=FEWEST)
        of_images = units.name == "classes"
        inner = f"within_class_{name}" if of_images else f"rank_correlation_{name}"
        findings = [self.finding(inner, above_stand_ins(table), len(table), units.name, self.threshold)]
        details = dict(zip((inner, f"{inner}_chance"), own_and_chance(table)))
        if of_images and units.count > FEWEST:
            findings.append(self.between_classes(name, influence.values, distance, units))
            cells = np.isfinite(distance) & ~same_sample(influence)
        measured = cells & np.isfinite(distance)
        details["decay_length"] = decay_length(distance[measured], size[measured])
        return Verdict("distance_decay", self.claim, findings, self.alpha, details)

    def between_classes(
        self,
        name: str,
        influence: Float[np.ndarray, "stimulus probe"],
        distance: Float[np.ndarray, "stimulus probe"],
        units: Units,
    ) -> Finding:
        """Whether the classes that are nearer to a class are moved more by it."""
        moved, apart = (class_means(values, np.isfinite(distance), units) for values in (influence, distance))
        defined = np.isfinite(apart + np.eye(len(apart))).all(axis=1)
        moved, apart = moved[np.ix_(defined, defined)], apart[np.ix_(defined, defined)]

        def weighted(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
            kept = np.nonzero(counts)[1].reshape(len(counts), -1)  # each draw of a jackknife leaves out as many
            cells = kept[:, :, None], kept[:, None, :]
            return decay_between(np.abs(moved[cells]), apart[cells])

        return self.correlation(
            f"between_classes_{name}", weighted, len(moved), units.name, self.threshold, scale=statistics.FISHER
        )

    def distances(self, influence: xr.DataArray) -> tuple[str, Float[np.ndarray, "stimulus probe"]]:
        """The distance chosen, or the array's first one, with its name.

        Raises:
            NotApplicable: The array has no such distance.
        """
        names = sorted(str(name).removeprefix("distance_") for name in influence.coords if str(name)[:9] == "distance_")
        names = [name for name in names if name != "class"]
        if not names:
            raise NotApplicable("influence must have a distance, got none. Choose a dataset with distances.")
        preferred = (self.distance, influence.attrs.get("distance"), *_OF_IMAGES, *names)
        name = self.distance or next(name for name in preferred if name in names)
        if name not in names:
            raise NotApplicable(
                f"{self.group}.distance must be one of {', '.join(names)}, got {name!r}. Try {names[0]}."
            )
        return name, influence[f"distance_{name}"].transpose("stimulus", "probe").values.astype(float)


def comparable(
    influence: xr.DataArray, distance: Float[np.ndarray, "stimulus probe"], units: Units
) -> Bool[np.ndarray, "stimulus probe"]:
    """The cells in which a stimulus is compared with itself: other samples of its unit, at known distances.

    In a world that has distances, those without one count: nothing leads from the stimulus to them.
    """
    defined, other = np.isfinite(distance), ~same_sample(influence)
    if units.columns is None:
        return defined & other
    own = other & (units.rows[:, None] == units.columns[None, :])
    return own & defined.any(axis=1, keepdims=True) if units.name == "worlds" else own & defined


def rank_correlations(
    size: Float[np.ndarray, "stimulus probe"],
    distance: Float[np.ndarray, "stimulus probe"],
    cells: Bool[np.ndarray, "stimulus probe"],
    elsewhere: Bool[np.ndarray, "stimulus probe"],
    units: Units,
) -> Float[np.ndarray, "units units"]:
    """By (target unit, scored unit), how well size of influence follows nearness to the stimuli of the target unit.

    Ranks are taken over the probes of the target unit; a row that does not vary there has 0.

    Args:
        size: Of influence.
        distance: From the target unit's stimulus to the probe.
        cells: Where distances are compared.
        elsewhere: Where a stimulus is related to probes of another unit.
        units: The array's.
    """
    own, other, targets = [], [], []
    groups = np.zeros(len(size), dtype=int) if units.columns is None else units.rows
    for rows in (np.flatnonzero(groups == group) for group in np.unique(groups)):
        columns = np.flatnonzero(cells[rows].any(axis=0))
        near = centred_ranks(-distance[np.ix_(rows, columns)], cells[np.ix_(rows, columns)])
        block = size[:, columns]
        block[rows] = np.where(cells[np.ix_(rows, columns)], block[rows], np.inf)  # so that others' ranks have no gap
        scores = row_correlations(near, cells[np.ix_(rows, columns)].astype(float), rankdata(block, axis=1))
        varies = (near != 0).any(axis=1)
        own.append(scores[np.arange(len(rows)), rows][varies])
        strange = elsewhere[:, columns].any(axis=1) | np.isnan(block).any(axis=1)  # or not read on all of these probes
        other.append(np.where(strange, np.nan, scores)[varies])
        targets.append(units.rows[rows][varies])
    return average_scores(np.concatenate(own), np.concatenate(other), np.concatenate(targets), units)


def centred_ranks(
    values: Float[np.ndarray, "stimulus probe"], cells: Bool[np.ndarray, "stimulus probe"]
) -> Float[np.ndarray, "stimulus probe"]:
    """Each row's ranks among ``cells`` about their mean, and 0, which weighs nothing, elsewhere."""
    ranks = np.where(cells, rankdata(np.where(cells, values, np.inf), axis=1), 0.0)
    mean = statistics.divide(ranks.sum(axis=1, keepdims=True), cells.sum(axis=1, keepdims=True))
    return np.where(cells, ranks - mean, 0.0)


def row_correlations(
    near: Float[np.ndarray, "questions probe"],
    cells: Float[np.ndarray, "questions probe"],
    taught: Float[np.ndarray, "stimulus probe"],
) -> Float[np.ndarray, "questions stimulus"]:
    """Pearson correlation of each question's values with each stimulus's over the question's cells; 0 where undefined.

    Args:
        near: Values about their mean over ``cells``, 0 elsewhere.
        cells: 1 where a question counts a probe, 0 elsewhere.
        taught: Ranks.
    """
    count = np.maximum(cells.sum(axis=1, keepdims=True), 1)
    spread = cells @ (taught**2).T - (cells @ taught.T) ** 2 / count
    scale = np.sqrt(np.maximum(spread, 0)) * np.sqrt((near**2).sum(axis=1, keepdims=True))
    return np.where(spread > 1e-9, statistics.divide(near @ taught.T, scale), 0.0)


def class_means(
    values: Float[np.ndarray, "stimulus probe"], cells: Bool[np.ndarray, "stimulus probe"], units: Units
) -> Float[np.ndarray, "units units"]:
    """Means by (class of the stimulus, class of the probe) over the cells; NaN where there are none."""
    assert units.columns is not None
    rows, columns = (np.eye(units.count + 1)[of] for of in (units.rows, units.columns))
    total, count = (rows.T @ np.where(cells, one, 0.0) @ columns for one in (values, 1.0))
    return statistics.divide(total, count)[:-1, :-1]


def decay_between(
    moved: Float[np.ndarray, "*draws classes classes"], apart: Float[np.ndarray, "*draws classes classes"]
) -> Float[np.ndarray, " *draws"]:
    """Rank correlation of ``moved`` with nearness off the diagonal, given the row and the column.

    What a class does to all others, what is done to it by all others, and how central it is, cancel. NaN for fewer
    than four classes, which leave nothing over; 0 where nothing varies.
    """
    n = moved.shape[-1]
    if n <= FEWEST:
        return np.full(moved.shape[:-2], np.nan)
    cells = ~np.eye(n, dtype=bool)
    near, taught = (beyond_rows_and_columns(off_diagonal_ranks(values))[..., cells] for values in (-apart, moved))
    scale = np.sqrt((near**2).sum(axis=-1) * (taught**2).sum(axis=-1))
    return np.where(scale > 1e-9, statistics.divide((near * taught).sum(axis=-1), scale), 0.0)


def off_diagonal_ranks(square: Float[np.ndarray, "*draws n n"]) -> Float[np.ndarray, "*draws n n"]:
    """Ranks of the cells off the diagonal, which holds 0; means that differ by rounding only are tied."""
    ranks, cells = np.zeros(square.shape), ~np.eye(square.shape[-1], dtype=bool)
    values = square[..., cells]
    largest = np.abs(values).max(axis=-1, keepdims=True)
    ranks[..., cells] = rankdata(np.round(values / np.where(largest > 0, largest, 1.0), 10), axis=-1)
    return ranks


def beyond_rows_and_columns(square: Float[np.ndarray, "*draws n n"]) -> Float[np.ndarray, "*draws n n"]:
    """What is left of the cells off the diagonal when row and column effects are fitted by least squares.

    Args:
        square: With a diagonal of zeros.

    Source: Warner, Kenny and Stoto (1979), A new round robin analysis of variance for social interaction data.
    """
    n = square.shape[-1]
    row, column = (square.sum(axis=axis, keepdims=True) / (n - 1) for axis in (-1, -2))
    mean = row.mean(axis=-2, keepdims=True)
    of_row, of_column = (
        ((n - 1) ** 2 * one + (n - 1) * np.swapaxes(other, -1, -2)) / (n * (n - 2)) - (n - 1) / (n - 2) * mean
        for one, other in ((row, column), (column, row))
    )
    return square - mean - of_row - of_column


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
