"""The plain loop: one stimulus after the other, in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.influence.engines.engine import Engine, Prepared, ReadPlainly
from eif_lab.influence.per_sample.alone import update_alone
from eif_lab.influence.per_sample.layout import inseparable
from eif_lab.influence.problem import Problem
from eif_lab.influence.resources.memory import Chunks
from eif_lab.influence.setup import Setup

AT_ONCE = 8
"""Stimuli whose readings are handed on together."""


@dataclass
class Loop(Engine):
    """Step, read, put everything back: exact for any module that ``backward`` goes through.

    It is what `auto` takes where stimuli cannot go through a model together. A model whose calls change its own
    buffers or attributes begins from the caller's state at each stimulus, and so does the reading before.
    """

    name: ClassVar[str] = "loop"
    preference: ClassVar[int | None] = 9

    def prepared(self, setup: Setup) -> Prepared:
        """All probes are read in one plain pass where a call of the model changes it."""
        if inseparable(setup.problem):
            setup = replace(setup, passes=setup.passes.plain(one_pass=True))
        return PreparedLoop(self, setup)


class PreparedLoop(ReadPlainly):
    """One stimulus after the other, on the model itself."""

    stimuli_at_once = AT_ONCE

    def readings(self, problem: Problem) -> Iterator[Tensor]:
        """Readings after the update on each stimulus, one by one."""
        passes, optimizer = self.setup.passes, problem.update.make_optimizer(problem.trained.values())

        def some(place: slice) -> Tensor:
            part = problem.of_stimuli(place)
            every = [
                update_alone(part, optimizer, rows, partial(passes.read_plainly, part.model, part.rows_of(i)))
                for i, rows in enumerate(part.members)
            ]
            return passes.probe_readings(torch.stack(every))

        yield from Chunks(AT_ONCE, "stimuli").over(len(problem.members), some)
