"""How strongly stimuli are taught: the clozes that they state, each less its own foils."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Int

from eif_lab.data.contrast import has_foils, strength_weights
from eif_lab.data.sets import Sets, of_samples, trained_on
from eif_lab.data.task import FOILS, Samples, Task
from eif_lab.desiderata.selection import neutral, same_sample, select_readout, texts, with_zeros
from eif_lab.desiderata.strength import weighted_rows
from eif_lab.influence.yardstick import Yardstick, draw_rows


@dataclass(frozen=True)
class Gauge:
    """Some clean stimuli, or sets, and what their strength is read on.

    Attributes:
        rows: Which of the task's stimuli.
        stimuli: These.
        probes: What is read: the stated clozes, their foils, and the stimuli as they are among the probes. Where no
            stimulus states a cloze that has foils, the stimuli themselves.
        yardstick: Of these stimuli and probes; None where each stimulus, or each set by its samples, is measured by
            itself.
    """

    rows: Int[np.ndarray, " stimuli"]
    stimuli: Samples | Sets
    probes: Samples
    yardstick: Yardstick | None


def gauge_of(task: Task, most: int | None = None) -> Gauge:
    """The gauge of how strongly a task's stimuli are taught, neutral ones left out.

    Where any stimulus states a cloze that has foils, only such stimuli count: strength is one thing for all of them.

    Args:
        task: Before any perturbation but one that makes sets, which are taught as sets.
        most: How many stimuli are drawn; None for all.
    """
    unsaid = np.asarray(task.stimuli.coords.get("neutral", np.zeros(len(task.stimuli), dtype=bool)))
    rows = np.flatnonzero(~unsaid)
    clozes = (task.relation == "direct") & has_foils(task.foils, task.relation.shape)
    if not clozes[rows].any():
        rows = rows[draw_rows(len(rows), most)]
        stimuli = task.stimuli.take(rows)
        return Gauge(rows, stimuli, trained_on(stimuli), own_samples(stimuli) if isinstance(stimuli, Sets) else None)
    rows = rows[clozes[rows].any(axis=1)]
    rows = rows[draw_rows(len(rows), most)]
    relation, foils = task.relation[rows], {name: columns[rows] for name, columns in task.foils.items()}
    itself = of_samples(task.stimuli, trained_on(task.stimuli).ids[:, None] == task.probes.ids[None, :])[rows]
    whole = Yardstick(
        weights=strength_weights(relation, foils, itself),
        stated=clozes[rows] / clozes[rows].sum(axis=1, keepdims=True),
        own=strength_weights(relation, {}, itself),
    )
    yardstick, columns = whole.take(np.arange(len(rows)))
    return Gauge(rows, task.stimuli.take(rows), task.probes.take(columns), yardstick)


def own_samples(sets: Sets) -> Yardstick:
    """The yardstick of sets by the samples that they hold, or by the one that a row is about."""
    return Yardstick.of_sets(sets.any_of(np.eye(len(sets.samples), dtype=bool)))


def strength_by_level(influence: xr.DataArray, readout: str) -> dict[str, float]:
    """The strength of the stimuli at each level of noise, in the unit of the readout.

    All levels have the learning rate of the clean stimuli; what each was taught is the influence on its own statement.
    As in calibration it is the median over clozes less their foils, or where none has any, the mean over stimuli. A
    stimulus that diverged is left out. There is none where there is no noise.

    Args:
        influence: An annotated array; of several seeds the first is taken, of several steps the last.
        readout: Which.
    """
    if "stimulus_sigma" not in influence.coords:
        return {}
    array = select_readout(influence, readout).transpose("stimulus", "probe")
    relation, foils = (
        texts(array, "relation"),
        {name: array[f"foil_{name}"].values for name in FOILS if f"foil_{name}" in array.coords},
    )
    contrasted = ((relation == "direct") & has_foils(foils, relation.shape)).any(axis=1)
    strengths = weighted_rows(with_zeros(array), strength_weights(relation, foils, same_sample(array)))
    counted = (contrasted | ~contrasted.any()) & ~neutral(array) & np.isfinite(strengths)
    average, levels = np.median if contrasted.any() else np.mean, array["stimulus_sigma"].values
    return {
        f"{level:g}": float(average(strengths[counted & (levels == level)])) for level in np.unique(levels[counted])
    }
