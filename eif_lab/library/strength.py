"""How strongly a task's stimuli are taught: the clozes that they state, each less its own foils."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from eif_lab.data.contrast import has_foils, strength_weights
from eif_lab.data.task import Samples, Task
from eif_lab.influence.yardstick import Yardstick, drawn


@dataclass(frozen=True)
class Gauge:
    """Some clean stimuli, and what their strength is read on.

    Attributes:
        rows: Which of the task's stimuli.
        stimuli: These.
        probes: What is read: the stated clozes, their foils, and the stimuli as they are among the probes. Where no
            stimulus states a cloze that has foils, the stimuli themselves.
        yardstick: Of these stimuli and probes; None where each stimulus is measured by itself.
    """

    rows: Int[np.ndarray, " stimuli"]
    stimuli: Samples
    probes: Samples
    yardstick: Yardstick | None


def gauge_of(task: Task, most: int | None = None) -> Gauge:
    """What tells how strongly a task's stimuli are taught, neutral ones left out.

    Where any stimulus states a cloze that has foils, only such stimuli count: strength is one thing for all of them.

    Args:
        task: Before any perturbation.
        most: How many stimuli are drawn; None for all.
    """
    neutral = np.asarray(task.stimuli.coords.get("neutral", np.zeros(len(task.stimuli), dtype=bool)))
    rows = np.flatnonzero(~neutral)
    clozes = (task.relation == "direct") & has_foils(task.foils, task.relation.shape)
    if not clozes[rows].any():
        rows = rows[drawn(len(rows), most)]
        stimuli = task.stimuli.take(rows)
        return Gauge(rows, stimuli, stimuli, None)
    rows = rows[clozes[rows].any(axis=1)]
    rows = rows[drawn(len(rows), most)]
    relation, foils = task.relation[rows], {name: columns[rows] for name, columns in task.foils.items()}
    same_sample = task.stimuli.ids[rows][:, None] == task.probes.ids[None, :]
    whole = Yardstick(
        weights=strength_weights(relation, foils, same_sample),
        stated=clozes[rows] / clozes[rows].sum(axis=1, keepdims=True),
        own=strength_weights(relation, {}, same_sample),
    )
    yardstick, columns = whole.take(np.arange(len(rows)))
    return Gauge(rows, task.stimuli.take(rows), task.probes.take(columns), yardstick)
