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

    kinds: ClassVar[tuple[str, ...]] = ("text",)

    wordings: int | None = option(None, at_least=1, hint="Try 2.")

    def apply(self, task: Task, seed: int) -> Task:
        """The task with the other wordings behind the originals.

        Raises:
            NotApplicable: No stimulus has another wording.
        """
        assert isinstance(task.stimuli, Texts) and isinstance(task.probes, Texts)
        stimuli, probes = original(task.stimuli), original(task.probes)
        rows, others = self._reworded(task.stimuli, probes)
        column = {name: j for j, name in enumerate(probes.ids)}
        # what is a probe already needs no other one, and a wording is as far from everything as the original is
        new = [k for k, i in enumerate(rows) if stimuli.ids[i] in column and others.ids[k] not in column]
        columns = [column[stimuli.ids[rows[k]]] for k in new]
        said, asked = [*range(len(stimuli)), *rows], [*range(len(probes)), *columns]
        every = concatenate([stimuli, others])
        watched = concatenate([probes, as_probes(others.take(new), probes.take(columns))])

        relation = task.relation[np.ix_(said, asked)].astype("<U12")
        copied = np.ones(relation.shape, dtype=bool)
        copied[: len(stimuli), : len(probes)] = False
        relation[copied & (relation == "direct")] = "entailed"
        relation[every.ids[:, None] == watched.ids[None, :]] = "direct"
        foil = np.full(relation.shape, -1)
        foil[:, : len(probes)] = task.foil[said]
        foil[relation == "direct"] = -1
        return replace(
            task,
            stimuli=every,
            probes=watched,
            relation=relation,
            distances={name: values[np.ix_(said, asked)] for name, values in task.distances.items()},
            foil=foil,
        )

    def _reworded(self, stimuli: Texts, probes: Texts) -> tuple[list[int], Texts]:
        """The other wordings, with the row of each one's original; one that is a probe already has that probe's id."""
        columns = wordings_of(stimuli)[: self.wordings]
        found = [(i, number) for number, texts in enumerate(columns, 1) for i, text in enumerate(texts) if text]
        if not found:
            raise NotApplicable(
                "perturbation=template needs stimuli in other wordings, got none. Try dataset=fictional_knowledge."
            )
        rows = [i for i, _ in found]
        texts = [
            split(str(columns[number - 1][i]), stimuli.targets[i] if stimuli.prompts[i] else "") for i, number in found
        ]
        known = dict(zip(zip(probes.prompts, probes.targets), probes.ids))
        names = [
            str(known.get(text, f"{stimuli.ids[i]} (wording {number})")) for text, (i, number) in zip(texts, found)
        ]
        same = original(stimuli).take(rows)
        others = replace(
            same,
            prompts=tuple(prompt for prompt, _ in texts),
            targets=tuple(target for _, target in texts),
            ids=np.array(names),
            coords={**same.coords, "wording": np.array([number for _, number in found])},
        )
        return rows, others


def wordings_of(stimuli: Texts) -> list[np.ndarray]:
    """The columns ``wording_1``, ``wording_2``, ... that there are."""
    columns: list[np.ndarray] = []
    while f"wording_{len(columns) + 1}" in stimuli.coords:
        columns.append(stimuli.coords[f"wording_{len(columns) + 1}"])
    return columns


def original(texts: Texts) -> Texts:
    """The texts as their own sources, without the columns of other wordings."""
    kept = {name: values for name, values in texts.coords.items() if not name.startswith("wording_")}
    return replace(texts, coords={**kept, "source": texts.ids, "wording": np.zeros(len(texts), dtype=int)})


def split(text: str, target: str) -> tuple[str, str]:
    """Prompt and target; a text that does not end with the target is learnt whole."""
    return (text.removesuffix(target), target) if target and text.endswith(target) else ("", text)


def as_probes(stimuli: Texts, originals: Texts) -> Texts:
    """Stimuli as probes, with what the probes have that are their originals."""
    candidates = originals.candidates or ((),) * len(originals)
    same = [one == other for one, other in zip(stimuli.targets, originals.targets)]
    return replace(
        originals,
        prompts=stimuli.prompts,
        targets=stimuli.targets,
        ids=stimuli.ids,
        coords={**originals.coords, "source": stimuli.coords["source"], "wording": stimuli.coords["wording"]},
        candidates=tuple(one if kept else () for one, kept in zip(candidates, same)),
    )
