"""Stimuli in other wordings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from eif_lab.data.task import Task, Texts, concatenate
from eif_lab.errors import NotApplicable
from eif_lab.options import option
from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Template(Perturbation):
    """Every stimulus, and the same in its other wordings, each a further stimulus.

    Stimuli and probes gain the coordinates ``source`` (the id of the original) and ``wording`` (0 for the original,
    then 1, 2, ...). A data set has its other wordings in the coordinates ``wording_1``, ``wording_2``, ... of its
    stimuli, "" where a stimulus has none. Of a stimulus whose prompt is given and whose target is learnt, the part of a
    wording before that target is given.

    What follows from a stimulus follows from its other wordings; what it says word for word (``direct``) they say in
    other words (``entailed``). Where a stimulus is a probe itself, so is each of its other wordings.

    Attributes:
        wordings: How many other wordings of each stimulus are taken, at most; None takes all.
    """

    kinds: ClassVar[tuple[str, ...]] = (Texts.kind,)

    wordings: int | None = option(None, at_least=1, hint="Try 2.")

    def apply(self, task: Task, seed: int) -> Task:
        """The task with the other wordings behind the originals.

        Raises:
            NotApplicable: No stimulus has another wording.
        """
        texts, probes = task.texts[0], without_wordings(task.texts[1])
        stimuli = without_wordings(texts)
        rows, others = self._reworded(texts, probes)
        column = {name: j for j, name in enumerate(probes.ids)}
        # what is a probe already needs no other one, and a wording is as far from everything as the original is
        new = [k for k, i in enumerate(rows) if stimuli.ids[i] in column and others.ids[k] not in column]
        columns = [column[stimuli.ids[rows[k]]] for k in new]
        all_rows, all_columns = [*range(len(stimuli)), *rows], [*range(len(probes)), *columns]
        every = concatenate([stimuli, others])
        watched = concatenate([probes, as_probes(others.take(new), probes.take(columns))])

        relation = task.relation[np.ix_(all_rows, all_columns)].astype("<U12")
        copied = np.ones(relation.shape, dtype=bool)
        copied[: len(stimuli), : len(probes)] = False
        relation[copied & (relation == "direct")] = "entailed"
        relation[every.ids[:, None] == watched.ids[None, :]] = "direct"
        none = np.full((len(all_rows), len(new)), -1)
        return replace(
            task,
            stimuli=every,
            probes=watched,
            relation=relation,
            distances={name: values[np.ix_(all_rows, all_columns)] for name, values in task.distances.items()},
            foils={name: np.concatenate([foil[all_rows], none], axis=1) for name, foil in task.foils.items()},
        )

    def _reworded(self, stimuli: Texts, probes: Texts) -> tuple[list[int], Texts]:
        """The other wordings, with the row of each one's original; one that is a probe already has that probe's id."""
        columns = wordings_of(stimuli)[: self.wordings]
        reworded = [(i, number) for number, texts in enumerate(columns, 1) for i, text in enumerate(texts) if text]
        if not reworded:
            raise NotApplicable(
                "perturbation=template needs stimuli in other wordings, got none. Try dataset=fictional_knowledge."
            )
        rows = [i for i, _ in reworded]
        texts = [
            split(str(columns[number - 1][i]), stimuli.targets[i] if stimuli.prompts[i] else "")
            for i, number in reworded
        ]
        known = dict(zip(zip(probes.prompts, probes.targets), probes.ids))
        names = [
            str(known.get(text, f"{stimuli.ids[i]} (wording {number})")) for text, (i, number) in zip(texts, reworded)
        ]
        originals = without_wordings(stimuli).take(rows)
        others = replace(
            originals,
            prompts=tuple(prompt for prompt, _ in texts),
            targets=tuple(target for _, target in texts),
            ids=np.array(names),
            coords={**originals.coords, "wording": np.array([number for _, number in reworded])},
        )
        return rows, others


def wordings_of(stimuli: Texts) -> list[np.ndarray]:
    """The columns ``wording_1``, ``wording_2``, ... of the stimuli, each (n,); "" where there is no such wording."""
    columns: list[np.ndarray] = []
    while f"wording_{len(columns) + 1}" in stimuli.coords:
        columns.append(stimuli.coords[f"wording_{len(columns) + 1}"])
    return columns


def without_wordings(texts: Texts) -> Texts:
    """The texts as originals: each its own ``source``, ``wording`` 0, without the columns of other wordings."""
    coords = {name: values for name, values in texts.coords.items() if not name.startswith("wording_")}
    return replace(texts, coords={**coords, "source": texts.ids, "wording": np.zeros(len(texts), dtype=int)})


def split(text: str, target: str) -> tuple[str, str]:
    """A text as prompt and target; one that does not end with the target is learnt whole."""
    return (text.removesuffix(target), target) if target and text.endswith(target) else ("", text)


def as_probes(stimuli: Texts, originals: Texts) -> Texts:
    """Stimuli as probes: with the coordinates of their originals, and their candidates where the targets are equal."""
    candidates = originals.candidates or ((),) * len(originals)
    same_target = [one == other for one, other in zip(stimuli.targets, originals.targets)]
    return replace(
        originals,
        prompts=stimuli.prompts,
        targets=stimuli.targets,
        ids=stimuli.ids,
        coords={**originals.coords, "source": stimuli.coords["source"], "wording": stimuli.coords["wording"]},
        candidates=tuple(one if same else () for one, same in zip(candidates, same_target)),
    )
