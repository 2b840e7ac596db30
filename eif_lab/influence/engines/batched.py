"""Engines that update many stimuli at once, chunk by chunk, and repeat one stimulus of each chunk alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from eif_lab.influence.engines.engine import Engine, Prepared, PreparedUpdate, Refused
from eif_lab.influence.per_sample.alone import first_line
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.backward import Gradients, backward
from eif_lab.influence.per_sample.layers.layer import Parameters
from eif_lab.influence.per_sample.layout import Layout
from eif_lab.influence.per_sample.recheck import Recheck
from eif_lab.influence.per_sample.trial import FAILURES
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.reading.cost import worth_compiling, worth_copying
from eif_lab.influence.reading.merging import StimulusReader
from eif_lab.influence.resources.memory import out_of_memory
from eif_lab.influence.setup import Setup


@runtime_checkable
class Trajectory(Protocol):
    """The parameters of several stimuli while they are updated."""

    def parameters(self) -> Parameters:
        """The parameters as they are now."""

    def step(self, gradients: Gradients) -> None:
        """One step of the optimizer."""


@dataclass
class Batched(Engine):
    """Stimuli go through the model together, each with parameters of its own.

    Attributes:
        factors: Whether changes of weights are held as factors where those are smaller than a copy.
    """

    factors: ClassVar[bool] = False

    def copies(self, problem: Problem) -> int:
        """How often a copied parameter is held: itself, its gradient, and the optimizer's memory of it."""
        raise NotImplementedError

    def start(self, problem: Problem, layout: Layout, count: int) -> Trajectory:
        """The base's parameters, for each of ``count`` stimuli."""
        raise NotImplementedError

    def gains_nothing(self, setup: Setup) -> str:
        """Where a loop in place is faster."""
        layout = setup.layouts.plan(self.factors)
        if layout is None or worth_copying(setup.problem, layout.copied):
            return ""
        return "its copies of large layers take longer than a loop in place"

    def prepared(self, setup: Setup) -> Prepared:
        """The layout, tried, and the passes, compiled where that pays.

        Raises:
            Refused: A stimulus's own gradient cannot be had, or is not autograd's.
        """
        try:
            layout = setup.layouts.find(self.factors)
        except Disagreement as error:
            raise Refused(self.name, str(error)) from None
        self.must_hold(setup.problem, layout)
        if worth_compiling(self.compile, setup.problem, setup.passes):
            setup = replace(setup, passes=setup.passes.compiled())
        return PreparedChunks(self, setup, layout)

    def must_hold(self, problem: Problem, layout: Layout) -> None:
        """Refuse a layout that would lose the update."""

    def note(self, problem: Problem, layout: Layout) -> str:
        """A note for the user on how it computes this problem; empty where there is none."""
        return ""


class PreparedChunks(PreparedUpdate):
    """Chunks of stimuli that go through the model together.

    Args:
        engine: Which holds their parameters.
        setup: What is measured.
        layout: How the parameters are held.
    """

    def __init__(self, engine: Batched, setup: Setup, layout: Layout) -> None:
        super().__init__(engine, setup)
        self.batched, self.layout = engine, layout
        problem = setup.problem
        self.reader = StimulusReader(setup.passes, layout.sites, setup.rows_each)
        self.chunks = layout.chunks(problem, engine.copies(problem), setup.passes.pass_bytes)
        self.stimuli_at_once = self.chunks.size
        self.note = engine.note(problem, layout)

    def planned_bytes(self) -> int:
        """A chunk, a pass over probes, and one stimulus done again alone: its weights, the base's, and a gradient."""
        problem = self.setup.problem
        count = min(self.chunks.size, len(problem.members))
        chunk = count * self.layout.stimulus_bytes(problem, self.batched.copies(problem))
        alone = 3 * sum(parameter.nbytes for parameter in problem.trained.values())
        again = alone if alone < problem.memory_budget * GIB else 0
        return chunk + self.layout.merged_bytes(problem) + self.setup.passes.pass_bytes + again

    def readings(self, problem: Problem) -> Iterator[Tensor]:
        """Readings after the updates, chunk by chunk."""

        def chunk(place: slice) -> Tensor:
            try:
                return self.update_and_read(problem.of_stimuli(place))
            except FAILURES as error:
                if out_of_memory(error) or isinstance(error, Disagreement):
                    raise
                raise Disagreement(f"torch.func cannot vectorise this model ({first_line(error)})") from error

        yield from self.chunks.over(len(problem.members), chunk)

    def update_and_read(self, problem: Problem) -> Tensor:
        """Readings after an update on each of the stimuli: (stimuli, steps read, probes, readouts)."""
        passes, count = self.setup.passes, len(problem.members)
        trajectory = self.batched.start(problem, self.layout, count)
        recheck = Recheck(problem, passes) if self.rechecks else None
        parameters, readings = trajectory.parameters(), list[Tensor]()
        for step in range(1, problem.steps + 1):
            gradients = backward(problem, self.layout, parameters, problem.samples.take(problem.rows_at(step)))
            if recheck and step == recheck.step:
                recheck.gradient(parameters, gradients)
            trajectory.step(gradients)
            del gradients
            parameters = trajectory.parameters()
            if problem.trajectory or step == problem.steps:
                each = [self.reader.read_rows(parameters, i, problem.rows_of(i)) for i in range(count)]
                readings.append(torch.stack(each))
        if recheck:
            recheck.readings(parameters, readings[-1])
        return passes.probe_readings(torch.stack(readings, dim=1))
