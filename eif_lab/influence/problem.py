"""The subject of a measurement: which model is updated how, on which stimuli, watched by which probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from jaxtyping import Bool, Int
from torch import Tensor, nn

from eif_lab.influence.batch import Batch
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import Update
from eif_lab.models.base import Loss
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import Readout

GIB = 2**30

ROWS_OF_A_PASS = 4
"""Rows of probes that take as long as beginning a pass: weights are loaded anew, and what texts share is computed again
(docs/decisions.md)."""


@dataclass(frozen=True)
class Problem:
    """One influence measurement. It is data alone: what engines find out about it is in the objects that they prepare.

    Attributes:
        base: The model before any update, in eval mode; exactly its parameters that require a gradient are trained.
        loss: (output, target) to a mean loss.
        samples: What can be trained on.
        members: (stimuli, size), rows of ``samples``: what each update trains on, in the batches of the recipe.
        probes: What is watched, row by row: probes, or with ``candidates`` the candidate answers of probes.
        readouts: By name.
        update: The recipe.
        trajectory: Read after every step, not only after the last.
        memory_budget: GiB that may be taken beside the model and the data.
        candidates: Which rows are candidates of the same probe; None where each row is a probe of its own.
        everything: (samples,), the batch whose update the others are held to, each of which leaves a sample out; None
            where they are held to the base.
        reads: (stimuli, rows), on the CPU: which rows each stimulus is read on; None where it is all of them.
    """

    base: Snapshot
    loss: Loss
    samples: Batch
    members: Int[Tensor, "stimuli size"]
    probes: Batch
    readouts: Mapping[str, Readout]
    update: Update
    trajectory: bool = False
    memory_budget: float = 2.0
    candidates: Candidates | None = None
    everything: Int[Tensor, " samples"] | None = None
    reads: Bool[Tensor, "stimuli rows"] | None = None

    @property
    def model(self) -> nn.Module:
        """The model before any update."""
        return self.base.model

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that move, by name."""
        return self.base.trained

    @property
    def steps(self) -> int:
        """How many the update has."""
        return len(self.batches)

    @property
    def batches(self) -> tuple[Int[Tensor, " rows"], ...]:
        """For each step the places, among a stimulus's samples, of those that it is on."""
        return self.update.batches(self.members.shape[1])

    def rows_at(self, step: int) -> Int[Tensor, "stimuli rows"]:
        """The rows of ``samples`` that each stimulus's update is on at a step, from 1 on."""
        return self.members[:, self.batches[step - 1]]

    @property
    def first_rows(self) -> Int[Tensor, "stimuli rows"]:
        """Those of the first step, than which none has more."""
        return self.rows_at(1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(steps read, probes, readouts) of each stimulus's influence."""
        probes = len(self.probes) if self.candidates is None else len(self.candidates)
        return self.steps if self.trajectory else 1, probes, len(self.readouts)

    @property
    def runs(self) -> tuple[slice, ...]:
        """Rows that are read together or not at all: all, or as `runs_of` has them."""
        return (slice(0, len(self.probes)),) if self.reads is None else runs_of(self.reads)

    @property
    def pairs(self) -> int:
        """How many (stimulus, row) are read."""
        return len(self.members) * len(self.probes) if self.reads is None else int(self.reads.sum())

    @property
    def rows_read(self) -> int:
        """How many rows go through the model after an update, over all stimuli."""
        return self.pairs if self.reads is None else rows_read(self.reads)

    @property
    def rows_each(self) -> float:
        """How many of them a stimulus has, on average."""
        return self.rows_read / len(self.members)

    def of_stimuli(self, place: slice) -> Problem:
        """The measurement of some of the stimuli."""
        reads = None if self.reads is None else self.reads[place]
        return replace(self, members=self.members[place], reads=reads)

    def rows_of(self, index: int) -> Bool[Tensor, " rows"] | None:
        """Which rows a stimulus is read on; None for all."""
        return None if self.reads is None else self.reads[index]

    def first(self, stimuli: int, rows: int) -> Problem:
        """The same measurement of the first stimuli and rows of probes alone, each read on all of these."""
        return replace(self, members=self.members[:stimuli], probes=self.probes.take(slice(rows)), reads=None)


def runs_of(reads: Bool[Tensor, "stimuli rows"]) -> tuple[slice, ...]:
    """Rows that follow on and are read together, without others, by whoever reads one of them.

    They are rows that the same stimuli are read on, and rows beside those, where reading a few too many takes less than
    beginning a pass of their own.
    """
    starts = 1 + (reads[:, 1:] != reads[:, :-1]).any(0).nonzero().flatten()
    ends = [0, *starts.tolist(), reads.shape[1]]
    readers, runs = reads[:, 0], [slice(0, ends[1])]
    for start, end in pairwise(ends[1:]):
        last, own = runs[-1], reads[:, start]
        too_many = (own & ~readers).sum() * (last.stop - last.start) + (readers & ~own).sum() * (end - start)
        if too_many <= ROWS_OF_A_PASS * (own & readers).sum():
            readers, runs[-1] = readers | own, slice(last.start, end)
        else:
            readers = own
            runs.append(slice(start, end))
    return tuple(runs)


def rows_read(reads: Bool[Tensor, "stimuli rows"]) -> int:
    """How many rows go through the model where stimuli are read on these, those that are too many among them."""
    return sum(int(reads[:, run].any(1).sum()) * (run.stop - run.start) for run in runs_of(reads))
