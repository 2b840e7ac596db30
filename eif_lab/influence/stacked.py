"""Many independent copies of what is trained, updated at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eif_lab.influence.cost import worth_compiling
from eif_lab.influence.gradients import Layout, arranged, backward, unmoved
from eif_lab.influence.memory import Chunks
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.reading import Reader


@dataclass
class Stacked(Engine):
    """One copy of what is trained per stimulus, for any optimizer.

    ``torch.optim`` steps elementwise, which makes a step on stacked parameters one step on each.
    """

    def refuses(self, problem: Problem) -> str:
        """Where a stimulus's own gradient cannot be had, or is not autograd's."""
        layout = arranged(problem, pairs=False)
        return layout if isinstance(layout, str) else ""

    def compiles(self, problem: Problem) -> bool:
        """Where it is asked for, or the job is long enough."""
        return worth_compiling(self, problem)

    def chunks(self, problem: Problem) -> Chunks:
        """As many stimuli at once as the memory budget holds."""
        layout = arranged(problem, pairs=False)
        assert isinstance(layout, Layout)
        states = {"sgd": 1 if problem.update.momentum else 0, "adam": 2, "adamw": 2}[problem.update.optimizer]
        return layout.chunks(problem, copies=3 + states)

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Chunk by chunk."""
        layout = arranged(problem, pairs=False)
        assert isinstance(layout, Layout)
        reader = Reader(problem, layout.sites)
        yield from self.chunks(problem).over(
            len(problem.members), lambda place: update_and_read(problem, layout, reader, problem.members[place])
        )


def update_and_read(problem: Problem, layout: Layout, reader: Reader, members: Tensor) -> Tensor:
    """Readings after updating one copy per row of ``members``: (stimuli, steps read, probes, readouts)."""
    batch = problem.samples.take(members)
    stacked = {name: v.clone() for name, v in unmoved(problem, layout, len(members)).items() if isinstance(v, Tensor)}
    optimizer = problem.update.make_optimizer(stacked.values())
    readings = []
    for step in range(1, problem.update.steps + 1):
        _, gradients = backward(problem, layout, stacked, *batch)
        if problem.update.gradient_clip is not None:
            gradients = clip_each(gradients, problem.update.gradient_clip)
        for name, parameter in stacked.items():
            parameter.grad = gradients[name]
        optimizer.step()
        if problem.trajectory or step == problem.update.steps:
            readings.append(torch.stack([reader.read(stacked, i) for i in range(len(members))]))
    return torch.stack(readings, dim=1)


def clip_each(gradients: dict[str, Tensor], largest: float) -> dict[str, Tensor]:
    """Scale each stimulus's gradient to a norm of at most ``largest``, as ``torch.nn.utils.clip_grad_norm_`` does."""
    squares = sum(g.flatten(1).square().sum(1) for g in gradients.values())
    scale = (largest / (torch.as_tensor(squares).sqrt() + 1e-6)).clamp(max=1)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)) for name, g in gradients.items()}
