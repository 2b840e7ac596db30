"""Exact fine-tuning by SGD with no copy of any weight matrix and no weight gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.influence.engines.sgd import clipping, each
from eif_lab.influence.engines.versioned import Versioned
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.factors import Pair, joined
from eif_lab.influence.per_sample.gradients import Gradients, Layout, arranged, hoped_for
from eif_lab.influence.per_sample.versions import Change, Version
from eif_lab.influence.problem import Problem


@dataclass
class Factored(Versioned):
    """Weights of linear layers and embeddings change by what went into their gradient: (output gradient, input) pairs.

    SGD is linear in the gradients, so that after any number of steps a parameter is ``a * base + sum_k c_k g_k`` with
    coefficients that momentum, weight decay and clipping decide; only those are stepped. Everything else that is
    trained (convolutions, norms, biases, and whatever is smaller than its pairs would be) is a copy per stimulus.
    """

    stores_weights: ClassVar[bool] = False
    pairs: ClassVar[bool] = True

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
        layout = hoped_for(problem, pairs=True)
        paired = layout is not None and layout.paired
        nothing = "" if paired else "no weight is larger than the pairs that would change it"
        return nothing or super().gains_nothing(problem)

    def note(self, problem: Problem) -> str:
        """What it copies after all."""
        layout = arranged(problem, pairs=True)
        if isinstance(layout, str) or not layout.copied:
            return ""
        copied = sum(problem.trained[name].numel() for name in layout.copied)
        every = sum(p.numel() for p in problem.trained.values())
        return f"{copied} of {every} parameters are copied per stimulus, such as {layout.copied[0]}"

    def copies(self, problem: Problem) -> int:
        """As it is, moved, its velocity and its gradient."""
        return 4

    def start(self, problem: Problem, layout: Layout, count: int) -> Movement:
        """Where SGD begins."""
        return Movement(problem, layout, count)


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
    their coefficients follow the same recursion. Parameters without a gradient stay, as ``torch.optim`` leaves them:
    those that the first step doesn't name.
    """

    problem: Problem
    layout: Layout
    count: int
    scale: float = 1.0
    pull: float = 0.0
    taken: list[Taken] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    moved: dict[str, Tensor] = field(default_factory=dict)
    speed: dict[str, Tensor] = field(default_factory=dict)

    def versions(self) -> dict[str, Version]:
        """The parameters as they are now."""
        trained, versions = self.problem.trained, dict[str, Version]()
        for name in self.layout.paired:
            parts = [pair.scaled(t.factor * t.weight) for t in self.taken for pair in t.pairs.get(name, ())]
            versions[name] = Change(self.scale_of(name), joined(parts))
        for name in self.layout.copied:
            base = trained[name].detach().to(torch.promote_types(trained[name].dtype, torch.float32))
            own = (base * self.scale_of(name)).expand(self.count, *base.shape)
            versions[name] = own + self.moved[name] if name in self.moved else own.clone()
        return versions

    def scale_of(self, name: str) -> float:
        """What is left of the base's parameter."""
        return self.scale if name in self.named else 1.0

    def step(self, gradients: Gradients) -> None:
        """One step of SGD."""
        update, (pairs, copies) = self.problem.update, gradients
        rate, momentum, decay = update.learning_rate, update.momentum, update.weight_decay
        assert rate is not None
        named = {*pairs, *copies}
        if self.taken and named != self.named:
            raise Disagreement("other parameters have a gradient in one step than in another")
        self.named = named
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
