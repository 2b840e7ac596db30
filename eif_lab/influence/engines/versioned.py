"""What engines share that update many stimuli at once: chunk by chunk, and in each of them one stimulus done alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from eif_lab.influence.per_sample.alone import first_line
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.gradients import FAILURES, Gradients, Layout, arranged, backward, hoped_for
from eif_lab.influence.per_sample.recheck import Recheck
from eif_lab.influence.per_sample.versions import Version
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.reading.cost import worth_compiling, worth_copying
from eif_lab.influence.reading.merging import Reader
from eif_lab.influence.resources.memory import Chunks, out_of_memory


@runtime_checkable
class Moving(Protocol):
    """The parameters of several stimuli on their way."""

    def versions(self) -> Mapping[str, Version]:
        """As they are now."""

    def step(self, gradients: Gradients) -> None:
        """One step of the optimizer."""


@dataclass
class Versioned(Engine):
    """Stimuli go through the model together, each with its own version of what is trained.

    Attributes:
        pairs: Whether weights are kept as pairs where that is smaller than a copy.
    """

    pairs: ClassVar[bool] = False

    def copies(self, problem: Problem) -> int:
        """How often what is copied is held: as it is, and what the optimizer keeps of it."""
        raise NotImplementedError

    def start(self, problem: Problem, layout: Layout, count: int) -> Moving:
        """The base's parameters, for each of ``count`` stimuli."""
        raise NotImplementedError

    def refuses(self, problem: Problem) -> str:
        """Where a stimulus's own gradient cannot be had, or is not autograd's."""
        layout = arranged(problem, self.pairs)
        return layout if isinstance(layout, str) else ""

    def gains_nothing(self, problem: Problem) -> str:
        """Where a loop in place is faster."""
        layout = hoped_for(problem, self.pairs)
        if layout is None or worth_copying(problem, layout.copied):
            return ""
        return "its copies of large layers take longer than a loop in place"

    def compiles(self, problem: Problem) -> bool:
        """Where it is asked for, or the job is long enough."""
        return worth_compiling(self, problem)

    def layout(self, problem: Problem) -> Layout:
        """How parameters are held, for a problem that is not refused.

        Raises:
            Disagreement: It must be refused after all: other members than those that were tried.
        """
        layout = arranged(problem, self.pairs)
        if isinstance(layout, str):
            raise Disagreement(layout)
        return layout

    def chunks(self, problem: Problem) -> Chunks:
        """As many stimuli at once as the memory budget holds."""
        return self.layout(problem).chunks(problem, self.copies(problem))

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Chunk by chunk."""
        layout = self.layout(problem)
        problem.alone.clear()
        reader = Reader(problem, layout.sites)

        def chunk(place: slice) -> Tensor:
            members = problem.members[place]
            try:
                return self.update_and_read(problem, layout, reader, members)
            except FAILURES as error:
                if out_of_memory(error) or isinstance(error, Disagreement):
                    raise
                raise Disagreement(f"torch.func cannot vectorise this model ({first_line(error)})") from error

        yield from self.chunks(problem).over(len(problem.members), chunk)

    def update_and_read(self, problem: Problem, layout: Layout, reader: Reader, members: Tensor) -> Tensor:
        """Readings after updating one version per row of ``members``: (stimuli, steps read, probes, readouts)."""
        moving, recheck = self.start(problem, layout, len(members)), Recheck(problem, members)
        versions, readings = moving.versions(), list[Tensor]()
        for step in range(1, problem.update.steps + 1):
            gradients = backward(problem, layout, versions, problem.samples.take(members))
            if step == recheck.step:
                recheck.gradient(versions, gradients)
            moving.step(gradients)
            del gradients
            versions = moving.versions()
            if problem.trajectory or step == problem.update.steps:
                readings.append(torch.stack([reader.read_rows(versions, i) for i in range(len(members))]))
        recheck.readings(versions, readings[-1])
        return problem.settled(torch.stack(readings, dim=1))
