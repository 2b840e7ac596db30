"""Stand-ins: what stimuli of other units do to a unit's probes, by which distance decay and sparsity are judged.

A probe may move under any stimulus, because of its form, its words or its class. So how a stimulus moves the
probes of its own unit (its world, its class) is compared with how the stimuli of other units, put in its place, move
the same probes, to which they are not related. What is the same for every stimulus cancels.
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
    of_stimuli = np.unique(influence[f"stimulus_{coordinate}"].values)
    of_probes = influence[f"probe_{coordinate}"].values
    place = np.minimum(np.searchsorted(of_stimuli, of_probes), count - 1)
    return Units(rows, np.where(of_stimuli[place] == of_probes, place, -1), count, name)


def related_elsewhere(influence: xr.DataArray, units: Units) -> Bool[np.ndarray, "stimulus probe"]:
    """Where a stimulus is related to a probe of another unit; it does not stand in for anyone there."""
    cells = related(influence)
    return np.zeros_like(cells) if units.columns is None else cells & (units.rows[:, None] != units.columns[None, :])


def average_scores(
    own: Float[np.ndarray, " targets"],
    others: Float[np.ndarray, "targets stimulus"],
    target_units: Int[np.ndarray, " targets"],
    units: Units,
) -> Float[np.ndarray, "scored scored"]:
    """Mean scores by (target unit, scored unit); the diagonal holds those of each unit's own stimuli.

    A target is a stimulus with its own probes. Units without one are left out.

    Args:
        own: The score of each target's stimulus on its own probes.
        others: The score of each stimulus, put in its place, on the same probes; NaN where it is no stand-in. Those of
            the target's unit do not count.
        target_units: The unit of each target.
        units: The array's.
    """
    of_target, of_stimulus = np.eye(units.count)[target_units], np.eye(units.count)[units.rows]
    counted = np.isfinite(others)
    table = divide(of_target.T @ np.where(counted, others, 0.0) @ of_stimulus, of_target.T @ counted @ of_stimulus)
    np.fill_diagonal(table, group_means(own, target_units, units.count))
    scored = np.isfinite(np.diag(table))
    return table[np.ix_(scored, scored)]


def above_stand_ins(table: Float[np.ndarray, "units units"], best: float | None = None) -> Weighted:
    """How much higher the diagonal is than the rest of its row, averaged over units that count so often.

    Args:
        table: That of `average_scores`.
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
