"""Stimuli that say the wrong thing: a wrong label, or the fact negated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from eif_lab.data.images.base import pixel_distance
from eif_lab.data.task import Images, Task, concatenate
from eif_lab.errors import NotApplicable
from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Relabel(Perturbation):
    """Every image with another label, drawn evenly from the other classes; every text with its fact negated.

    The probes stay as they are, and each relabelled stimulus joins them as a further probe (``direct``), since that is
    what the stimulus teaches.
    """

    def apply(self, task: Task, seed: int) -> Task:
        """The task with relabelled stimuli, and these among the probes."""
        return relabelled_images(task, seed) if isinstance(task.stimuli, Images) else negated_texts(task)


def relabelled_images(task: Task, seed: int) -> Task:
    """The task with wrong labels: a probe with such a label is ``entailed``, one of the true class ``contradicted``.

    Raises:
        NotApplicable: There is only one class.
    """
    stimuli, probes = task.images
    if len(stimuli.classes) < 2:
        raise NotApplicable("perturbation=relabel needs at least 2 classes, got 1.")
    shift = np.random.default_rng(seed).integers(1, len(stimuli.classes), len(stimuli))
    claimed = torch.from_numpy((stimuli.labels.numpy() + shift) % len(stimuli.classes))
    ids = np.array([f"{name}={stimuli.classes[label]}" for name, label in zip(stimuli.ids, claimed.tolist())])
    wrong = replace(stimuli, labels=claimed, ids=ids)
    watched = concatenate([probes, wrong])
    says = wrong.labels.numpy()[:, None] == watched.labels.numpy()[None, :]
    denies = stimuli.labels.numpy()[:, None] == watched.labels.numpy()[None, :]
    relation = np.where(says, "entailed", np.where(denies, "contradicted", "unrelated")).astype("<U12")
    relation[wrong.ids[:, None] == watched.ids[None, :]] = "direct"
    return replace(
        task,
        stimuli=wrong,
        probes=watched,
        relation=relation,
        distances={
            "class": (~says).astype(float),
            "pixel": pixel_distance(wrong.pixels, watched.pixels).numpy().astype(float),
        },
        foils={},
    )


def negated_texts(task: Task) -> Task:
    """The task with negated facts: the fact itself is ``contradicted``, what followed from it is now ``unrelated``.

    What is contradicted keeps its foils.

    Raises:
        NotApplicable: The stimuli have no negation.
    """
    stimuli, probes = task.texts
    if "negation" not in stimuli.coords:
        raise NotApplicable(
            "perturbation=relabel needs a data set whose statements have a negation. Try dataset=ontology."
        )
    ids = np.array([f"not {name}" for name in stimuli.ids])
    negated = replace(stimuli, targets=tuple(map(str, stimuli.coords["negation"])), ids=ids)
    shared = {name: values for name, values in negated.coords.items() if name in probes.coords}
    blank = {
        name: np.full(len(negated), _blank(values)) for name, values in probes.coords.items() if name not in shared
    }
    watched = concatenate([probes, replace(negated, coords={**shared, **blank})])
    same_sample = negated.ids[:, None] == negated.ids[None, :]
    denied = task.relation == "direct"
    old = np.where(denied, "contradicted", "unrelated")
    foils = {name: np.where(denied, columns, -1) for name, columns in task.foils.items()}
    for columns in foils.values():
        rows, places = np.nonzero(columns >= 0)
        old[rows, columns[rows, places]] = "foil"
    none = np.full((len(negated), len(negated)), -1)
    # a negated statement is as far from the others as the statement that it negates
    column = {name: i for i, name in enumerate(probes.ids)}
    original = np.array([column.get(name, -1) for name in stimuli.ids])
    return replace(
        task,
        stimuli=negated,
        probes=watched,
        relation=np.concatenate([old, np.where(same_sample, "direct", "unrelated")], axis=1),
        distances={
            name: np.concatenate([values, np.where(original < 0, np.nan, values[:, original])], axis=1)
            for name, values in task.distances.items()
        },
        foils={name: np.concatenate([columns, none], axis=1) for name, columns in foils.items()},
    )


def _blank(values: np.ndarray) -> object:
    """A value of the array's kind that stands for none."""
    return "" if values.dtype.kind in "US" else -1
