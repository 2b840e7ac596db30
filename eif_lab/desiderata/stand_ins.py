"""Stand-ins: what stimuli of other units do to a unit's probes, by which distance decay and sparsity are judged.

A probe may move under any stimulus, because of its form, its words or its class. So whatever is said of how a stimulus
moves the probes of its own unit (its world, its class) is said in comparison with the stimuli of other units, put in
its place: they move the same probes, and have nothing to do with them. What is the same for every stimulus cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from eif_lab.desiderata.desideratum import Weighted
from eif_lab.desiderata.selection import clusters, related
from eif_lab.desiderata.statistics import divide, group_means

FEWEST = 3
"""Units that a comparison with stand-ins needs."""


@dataclass(frozen=True)
class Units:
    """The independent units that stimuli and probes belong to.

    Attributes:
        rows: The unit ``0 .. count - 1`` of each stimulus.
        columns: The unit of each probe, -1 where it is of none; None where probes belong to no unit.
        count: Number of units.
        name: What they are, in the plural.
    """

    rows: Int[np.ndarray, " stimulus"]
    columns: Int[np.ndarray, " probe"] | None
    count: int
    name: str


def units_of(influence: xr.DataArray) -> Units:
    """The units of an array: classes, worlds, or single stimuli, as `clusters` has them."""
    rows, name = clusters(influence)
    count = int(rows.max(initial=-1)) + 1
    coordinate = {"classes": "class", "worlds": "world"}.get(name)
    if coordinate is None or f"probe_{coordinate}" not in influence.coords:
        return Units(rows, None, count, name)
    known = np.unique(influence[f"stimulus_{coordinate}"].values)
    asked = influence[f"probe_{coordinate}"].values
    place = np.minimum(np.searchsorted(known, asked), count - 1)
    return Units(rows, np.where(known[place] == asked, place, -1), count, name)


def related_elsewhere(influence: xr.DataArray, units: Units) -> Bool[np.ndarray, "stimulus probe"]:
    """Where a stimulus is related to a probe of another unit; it does not stand in for anyone there."""
    cells = related(influence)
    return np.zeros_like(cells) if units.columns is None else cells & (units.rows[:, None] != units.columns[None, :])


def average_scores(
    own: Float[np.ndarray, " questions"],
    other: Float[np.ndarray, "questions stimulus"],
    asked: Int[np.ndarray, " questions"],
    units: Units,
) -> Float[np.ndarray, "known known"]:
    """Scores by (unit asked about, unit that answers); the diagonal holds what each unit's own stimuli reach.

    Units about which nothing is asked are left out.

    Args:
        own: The score of the stimulus that each question is about.
        other: The score of each stimulus on each question, NaN where it is no stand-in; those of a question's own unit
            do not count.
        asked: The unit that each question is about.
        units: The array's.
    """
    asker, answer = np.eye(units.count)[asked], np.eye(units.count)[units.rows]
    counted = np.isfinite(other)
    table = divide(asker.T @ np.where(counted, other, 0.0) @ answer, asker.T @ counted @ answer)
    np.fill_diagonal(table, group_means(own, asked, units.count))
    known = np.isfinite(np.diag(table))
    return table[np.ix_(known, known)]


def above_stand_ins(table: Float[np.ndarray, "units units"], best: float | None = None) -> Weighted:
    """How much higher the diagonal is than the rest of its row, averaged over units that count so often.

    Args:
        table: What `average_scores` gives.
        best: The highest score there is: the difference is given as a share of what is left to it.
    """
    own, others = np.diag(table), ~np.eye(len(table), dtype=bool) & np.isfinite(table)
    rest = np.where(others, table, 0.0)

    def weighted(counts: Float[np.ndarray, "draws units"]) -> Float[np.ndarray, " draws"]:
        chance = divide(counts @ rest.T, counts @ others.T)
        weights = np.where(np.isfinite(chance), counts, 0.0)
        chance = np.where(np.isfinite(chance), chance, 0.0)
        left = 1.0 if best is None else best - chance
        return divide((weights * (own - chance)).sum(axis=1), (weights * left).sum(axis=1))

    return weighted


def own_and_chance(table: Float[np.ndarray, "units units"]) -> tuple[float, float]:
    """The mean score of the units themselves, and that of their stand-ins; NaN where none is defined."""
    own = np.eye(len(table), dtype=bool)
    means = [divide(np.nansum(table[cells]), np.isfinite(table[cells]).sum()) for cells in (own, ~own)]
    return float(means[0]), float(means[1])
