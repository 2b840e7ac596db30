"""Sets of samples, each of which is trained on as one: rows of an array that have no single stimulus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

from eif_lab.data.task import RELATED, RELATIONS, Samples, Task
from eif_lab.errors import rule_error

SHARED = ("world", "class")
"""Coordinates that a set has, too, where its samples agree in them."""

NAMED = 3
"""Samples of a set that its label names."""

Members = Bool[np.ndarray, "sets samples"]
"""True where a sample is in a set."""


@dataclass(frozen=True)
class Sets:
    """The stimuli of a task whose rows are sets of samples.

    Attributes:
        samples: What the sets are drawn from.
        members: Which of them each set holds, as many each.
        ids: (sets,), their names.
        about: (sets,), the one sample that a row is about, of which the others are company; None where there is none.
    """

    samples: Samples
    members: Members
    ids: np.ndarray
    about: Int[np.ndarray, " sets"] | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<{len(self)} sets of {int(self.members[0].sum())} of {self.samples!r}>"

    @property
    def kind(self) -> str:
        """The kind of data of the samples."""
        return self.samples.kind

    def take(self, index: Sequence[int] | np.ndarray) -> Sets:
        """The sets at ``index``, in that order, of the same samples."""
        rows = np.asarray(index, dtype=int)
        about = None if self.about is None else self.about[rows]
        return replace(self, members=self.members[rows], ids=self.ids[rows], about=about)

    @cached_property
    def coords(self) -> Mapping[str, np.ndarray]:
        """The coordinates of what a row is about; else those of `SHARED` in which the samples of each set agree."""
        if self.about is not None:
            return self.samples.take(self.about).coords
        shared = {}
        for name, values in self.samples.describe().items():
            first = values[self.members.argmax(axis=1)]
            if name in SHARED and ((values == first[:, None]) | ~self.members).all():
                shared[name] = first
        return shared

    def describe(self) -> dict[str, np.ndarray]:
        """Coordinates for the influence array: ``id`` and ``label``, beside ``coords``."""
        if self.about is not None:
            return self.samples.take(self.about).describe()
        labels = self.samples.describe()["label"]
        named = np.array([label_of(labels[one]) for one in self.members])
        return {"id": self.ids, "label": named, **self.coords}

    def any_of(self, cells: Bool[np.ndarray, "samples probes"]) -> Bool[np.ndarray, "sets probes"]:
        """Where it holds of any sample of a set; or of what a row is about."""
        if self.about is not None:
            return cells[self.about]
        return np.stack([cells[one].any(axis=0) for one in self.members])

    def nearest(self, distance: Float[np.ndarray, "samples probes"]) -> Float[np.ndarray, "sets probes"]:
        """The distance of each set, or of what a row is about: that of the nearest sample; NaN where none has any."""
        if self.about is not None:
            return distance[self.about]
        known = np.where(np.isfinite(distance), distance, np.inf)
        least = np.stack([known[one].min(axis=0) for one in self.members])
        return np.where(np.isfinite(least), least, np.nan)


def trained_on(stimuli: Samples | Sets) -> Samples:
    """The samples that are trained on: stimuli, or those of sets."""
    return stimuli.samples if isinstance(stimuli, Sets) else stimuli


def members_of(stimuli: Samples | Sets) -> Members | None:
    """Which samples each set holds; None where each stimulus is trained on alone."""
    return stimuli.members if isinstance(stimuli, Sets) else None


def of_samples(
    stimuli: Samples | Sets, cells: Bool[np.ndarray, "samples probes"]
) -> Bool[np.ndarray, "stimuli probes"]:
    """Where it holds of a stimulus, or of any sample of a set."""
    return stimuli.any_of(cells) if isinstance(stimuli, Sets) else cells


def task_of_sets(task: Task, members: Members) -> Task:
    """The task whose stimuli are sets of its stimuli.

    What a set says about a probe is what any of its samples says, the first of `RELATIONS` counting where they differ;
    a foil about which it says something itself is none. What follows from several samples together and from none of
    them alone is not known here. The distance of a set is that of its nearest sample.

    Args:
        task: Of stimuli that are trained on alone.
        members: (sets, stimuli).
    """
    assert not isinstance(task.stimuli, Sets)
    width = len(str(len(members) - 1))
    sets = Sets(task.stimuli, members, np.array([f"set {number:0{width}d}" for number in range(len(members))]))
    shape = len(members), len(task.probes)
    relation = np.empty(shape, dtype=task.relation.dtype)
    foils = {name: np.full(shape, -1) for name in task.foils}
    held = np.logical_or.reduce([np.zeros(task.relation.shape, bool), *(index >= 0 for index in task.foils.values())])
    place = 2 * np.select([task.relation == name for name in RELATIONS], range(len(RELATIONS))) - held
    columns = np.arange(shape[1])
    for number, one in enumerate(members):
        rows = np.flatnonzero(one)
        first = rows[place[rows].argmin(axis=0)]
        relation[number] = task.relation[first, columns]
        says = np.append(np.isin(relation[number], RELATED), False)
        for name, index in task.foils.items():
            foil = index[first, columns]
            foils[name][number] = np.where(says[foil], -1, foil)
    distances = {name: sets.nearest(distance) for name, distance in task.distances.items()}
    return replace(task, stimuli=sets, relation=relation, distances=distances, foils=foils)


def spelled(members: Members) -> np.ndarray:
    """Each set as a text that has for each sample a 1 where it is in the set, else a 0."""
    return np.array(["".join(row) for row in np.where(members, "1", "0")])


def label_of(labels: np.ndarray) -> str:
    """The first labels of a set, and how many more there are."""
    more = len(labels) - NAMED
    return " + ".join([*map(str, labels[:NAMED]), *([f"{more} more"] if more > 0 else [])])


def draw_sets(stimuli: int, *, count: int, size: int | None = None, share: float = 0.5, seed: int = 0) -> Members:
    """Different sets of stimuli, each as likely as any other of its size.

    Args:
        stimuli: How many there are to draw from.
        count: Number of sets.
        size: Of each; None for ``share``.
        share: Of the stimuli that are in a set, rounded to a whole number of at least one.
        seed: Of the draw.

    Returns:
        (count, stimuli), true where a stimulus is in a set; for ``measure_influence(..., sets=...)``.

    Raises:
        ConfigError: There are not so many stimuli, or so many different sets.

    Examples:
        >>> sets = draw_sets(6, count=4, size=2)
        >>> sets.shape, sets.sum(axis=1).tolist()
        ((4, 6), [2, 2, 2, 2])
    """
    return drawn_sets(stimuli, count=count, size=size, share=share, random=np.random.default_rng(seed))


def drawn_sets(
    stimuli: int, *, count: int, size: int | None, share: float, random: np.random.Generator, group: str = ""
) -> Members:
    """As `draw_sets`, with a generator, and with the group of options that errors name."""
    if not 0 < share <= 1:
        raise rule_error(f"{group}share", "be above 0 and at most 1", share, "Try 0.5.")
    each = max(1, round(share * stimuli)) if size is None else size
    if not 1 <= each <= stimuli:
        raise rule_error(f"{group}size", f"be from 1 to the {stimuli} stimuli that there are", each)
    possible = comb(stimuli, each)
    if not 1 <= count <= possible:
        rule = f"be from 1 to the {possible} different sets of {each} of {stimuli} stimuli"
        raise rule_error(f"{group}count", rule, count, "Try fewer.")
    drawn: dict[bytes, np.ndarray] = {}
    while len(drawn) < count:
        one = np.zeros(stimuli, dtype=bool)
        one[random.permutation(stimuli)[:each]] = True
        drawn.setdefault(one.tobytes(), one)
    return np.stack(list(drawn.values()))
