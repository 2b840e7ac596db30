"""Exact fine-tuning by SGD with no copy of any weight matrix and no weight gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.influence.cost import worth_compiling
from eif_lab.influence.gradients import Layout, arranged, backward
from eif_lab.influence.memory import Chunks
from eif_lab.influence.pairs import Pair, joined
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.reading import Reader
from eif_lab.influence.sgd import clipping, each
from eif_lab.influence.update import Update
from eif_lab.influence.versions import Change, Version


@dataclass
class LowRank(Engine):
    """Weights of linear layers and embeddings change by what went into their gradient: (output gradient, input) pairs.

    SGD is linear in the gradients, so that after any number of steps a parameter is ``a * base + sum_k c_k g_k`` with
    coefficients that momentum, weight decay and clipping decide; only those are stepped. Everything else that is
    trained (convolutions, norms, biases, and whatever is smaller than its pairs would be) is a copy per stimulus.
    """

    stores_weights: ClassVar[bool] = False

    def refuses(self, problem: Problem) -> str:
        """It steps by SGD alone, and keeps in low precision only what it need not copy."""
        if problem.update.optimizer != "sgd":
            return f"it steps by sgd alone, not {problem.update.optimizer}"
        layout = arranged(problem, pairs=True)
        if isinstance(layout, str):
            return layout
        for name in layout.copied:
            parameter = problem.trained[name]
            if torch.finfo(parameter.dtype).bits < 32 and parameter.ndim > 1:
                return f"a copy of {name} in {parameter.dtype} would lose its update"
        return ""

    def gains_nothing(self, problem: Problem) -> str:
        """Where all that is trained is smaller than its pairs."""
        layout = arranged(problem, pairs=True)
        paired = isinstance(layout, Layout) and layout.paired
        return "" if paired else "no weight is larger than the pairs that would change it"

    def note(self, problem: Problem) -> str:
        """What it copies after all."""
        layout = arranged(problem, pairs=True)
        if isinstance(layout, str) or not layout.copied:
            return ""
        copied = sum(problem.trained[name].numel() for name in layout.copied)
        every = sum(p.numel() for p in problem.trained.values())
        return f"{copied} of {every} parameters are copied per stimulus, such as {layout.copied[0]}"

    def compiles(self, problem: Problem) -> bool:
        """Where it is asked for, or the job is long enough."""
        return worth_compiling(self, problem)

    def chunks(self, problem: Problem) -> Chunks:
        """As many stimuli at once as the memory budget holds."""
        layout = arranged(problem, pairs=True)
        assert isinstance(layout, Layout)
        return layout.chunks(problem, copies=4)

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Chunk by chunk."""
        layout = arranged(problem, pairs=True)
        assert isinstance(layout, Layout)
        reader = Reader(problem, layout.sites)
        yield from self.chunks(problem).over(
            len(problem.members), lambda place: update_and_read(problem, layout, reader, problem.members[place])
        )


def update_and_read(problem: Problem, layout: Layout, reader: Reader, members: Tensor) -> Tensor:
    """Readings after updating one version per row of ``members``: (stimuli, steps read, probes, readouts)."""
    batch = problem.samples.take(members)
    movement = Movement(problem, layout, len(members))
    readings = []
    for step in range(1, problem.update.steps + 1):
        movement.step(problem.update, *backward(problem, layout, movement.versions(), *batch))
        if problem.trajectory or step == problem.update.steps:
            versions = movement.versions()
            readings.append(torch.stack([reader.read(versions, i) for i in range(len(members))]))
    return torch.stack(readings, dim=1)


@dataclass
class Taken:
    """One step's gradient in pairs, and how much of it is in the parameters (``weight``) and in the velocity."""

    pairs: dict[str, list[Pair]]
    factor: Tensor | float
    weight: float = 0.0
    speed: float = 1.0


@dataclass
class Movement:
    """Where SGD has taken each stimulus's parameters: ``scale * base + sum_k weight_k * gradient_k``.

    With learning rate ``r``, momentum ``m``, weight decay ``d`` and clipped gradients ``g_k``, torch's SGD is
    ``v_k = m v_{k-1} + g_k + d p_{k-1}`` and ``p_k = p_{k-1} - r v_k``. Both are sums over base and gradients, so that
    their coefficients follow the same recursion.
    """

    problem: Problem
    layout: Layout
    count: int
    scale: float = 1.0
    pull: float = 0.0
    taken: list[Taken] = field(default_factory=list)
    moved: dict[str, Tensor] = field(default_factory=dict)
    speed: dict[str, Tensor] = field(default_factory=dict)

    def versions(self) -> dict[str, Version]:
        """The parameters as they are now."""
        trained, versions = self.problem.trained, dict[str, Version]()
        for name in self.layout.paired:
            parts = [pair.scaled(t.factor * t.weight) for t in self.taken for pair in t.pairs.get(name, ())]
            versions[name] = Change(self.scale, joined(parts))
        for name in self.layout.copied:
            base = trained[name].detach().to(torch.promote_types(trained[name].dtype, torch.float32))
            own = (base * self.scale).expand(self.count, *base.shape)
            versions[name] = own + self.moved[name] if name in self.moved else own.clone()
        return versions

    def step(self, update: Update, pairs: dict[str, list[Pair]], copies: dict[str, Tensor]) -> None:
        """One step of SGD."""
        rate, momentum, decay = update.learning_rate, update.momentum, update.weight_decay
        assert rate is not None
        factor = clipping(update, {**pairs, **copies})
        self.pull = momentum * self.pull + decay * self.scale
        for taken in self.taken:
            taken.speed = momentum * taken.speed + decay * taken.weight
        self.taken.append(Taken(pairs, factor))
        for name, gradient in copies.items():
            own = each(factor, gradient)
            if name in self.moved:
                own = own + momentum * self.speed[name] + decay * self.moved[name]
            self.speed[name] = own
            self.moved[name] = self.moved.get(name, 0) - rate * own
        self.scale -= rate * self.pull
        for taken in self.taken:
            taken.weight -= rate * taken.speed
