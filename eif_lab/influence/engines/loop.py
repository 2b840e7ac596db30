"""The plain loop: one stimulus after the other, in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eif_lab.influence.per_sample.alone import update_alone
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.resources.memory import Chunks

AT_ONCE = 8
"""Stimuli whose readings are handed on together."""


@dataclass
class Loop(Engine):
    """Step, read, put everything back: exact for any module that ``backward`` goes through.

    It is what `auto` takes where stimuli cannot go through a model together. A model whose calls change its own
    buffers or attributes begins from the caller's state at each stimulus, and so does the reading before.
    """

    def before(self, problem: Problem) -> Tensor:
        """As after an update."""
        try:
            return problem.settled(rows_read(as_it_comes(problem)))
        finally:
            problem.restore()

    def chunks(self, problem: Problem) -> Chunks:
        """A few, so that a long measurement is heard of while it runs."""
        return Chunks(AT_ONCE, "stimuli")

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Some stimuli, one by one."""
        problem = as_it_comes(problem)
        problem.passes  # noqa: B018 - found out before anything moves
        optimizer = problem.update.make_optimizer(problem.trained.values())

        def some(place: slice) -> Tensor:
            members = problem.members[place]
            every = [update_alone(problem, optimizer, rows, lambda: rows_read(problem)) for rows in members]
            return problem.settled(torch.stack(every))

        yield from self.chunks(problem).over(len(problem.members), some)


def as_it_comes(problem: Problem) -> Problem:
    """The problem with all its probes in one plain pass, where a call of the model changes it."""
    return replace(problem, plainly=True, one_pass=True) if problem.together and not problem.plainly else problem


def rows_read(problem: Problem) -> Tensor:
    """What is read of each row under the model as it is: (rows, columns)."""
    return problem.over_rows(lambda place: problem.read_some(problem.model, *problem.probes.take(place)))
