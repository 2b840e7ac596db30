"""Exact fine-tuning by SGD with no copy of any weight matrix and no weight gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.influence.engines.batched import Batched
from eif_lab.influence.engines.engine import Prepared, Refused
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.backward import Gradients
from eif_lab.influence.per_sample.clipping import clip_factors, times_each
from eif_lab.influence.per_sample.factors import Factors, merge_parts
from eif_lab.influence.per_sample.layers.layer import FactoredWeight, Parameter
from eif_lab.influence.per_sample.layout import Layout
from eif_lab.influence.problem import Problem
from eif_lab.influence.setup import Setup


@dataclass
class Factored(Batched):
    """Weights of linear layers and embeddings change by the factors of their gradient: (output gradient, input).

    SGD is linear in the gradients, so that after any number of steps a parameter is ``a * base + sum_k c_k g_k`` with
    coefficients that momentum, weight decay and clipping decide; only those are stepped. Everything else that is
    trained (convolutions, norms, biases, and whatever is smaller than its factors would be) is a copy per stimulus.
    """

    name: ClassVar[str] = "factored"
    preference: ClassVar[int | None] = 1
    stores_weights: ClassVar[bool] = False
    optimizers: ClassVar[tuple[str, ...]] = ("sgd",)
    factors: ClassVar[bool] = True

    def prepared(self, setup: Setup) -> Prepared:
        """The layout, for SGD.

        Raises:
            Refused: The optimizer is another, or a stimulus's own gradient cannot be had.
        """
        if setup.problem.update.optimizer not in self.optimizers:
            raise Refused(self.name, f"it steps by sgd alone, not {setup.problem.update.optimizer}")
        return super().prepared(setup)

    def must_hold(self, problem: Problem, layout: Layout) -> None:
        """Refuse copies in low precision, which would lose the update."""
        for name in layout.copied:
            parameter = problem.trained[name]
            if torch.finfo(parameter.dtype).bits < 32 and parameter.ndim > 1:
                raise Refused(self.name, f"a copy of {name} in {parameter.dtype} would lose its update")

    def gains_nothing(self, setup: Setup) -> str:
        """The reason where all trained parameters are smaller than their factors."""
        layout = setup.layouts.plan(self.factors)
        if layout is None or not layout.factored:
            return "no weight is larger than the factors that would change it"
        return super().gains_nothing(setup)

    def note(self, problem: Problem, layout: Layout) -> str:
        """The parameters that it copies nevertheless."""
        if not layout.copied:
            return ""
        copied = sum(problem.trained[name].numel() for name in layout.copied)
        every = sum(p.numel() for p in problem.trained.values())
        return f"{copied} of {every} parameters are copied per stimulus, such as {layout.copied[0]}"

    def copies(self, problem: Problem) -> int:
        """Each parameter is held with its change, its velocity and its gradient."""
        return 4

    def start(self, problem: Problem, layout: Layout, count: int) -> Coefficients:
        """The coefficients before the first step."""
        return Coefficients(problem, layout, count)


@dataclass
class Step:
    """One step's gradient in factors, and how much of it is in the parameters (``weight``) and in the velocity."""

    factors: dict[str, list[Factors]]
    clip: Tensor | float
    weight: float = 0.0
    velocity: float = 1.0


@dataclass
class Coefficients:
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
    steps: list[Step] = field(default_factory=list)
    with_gradient: set[str] = field(default_factory=set)
    changes: dict[str, Tensor] = field(default_factory=dict)
    velocities: dict[str, Tensor] = field(default_factory=dict)

    def parameters(self) -> dict[str, Parameter]:
        """The parameters as they are now."""
        trained, parameters = self.problem.trained, dict[str, Parameter]()
        for name in self.layout.factored:
            parts = [part.scaled(s.clip * s.weight) for s in self.steps for part in s.factors.get(name, ())]
            parameters[name] = FactoredWeight(self.scale_of(name), merge_parts(parts))
        for name in self.layout.copied:
            base = trained[name].detach().to(torch.promote_types(trained[name].dtype, torch.float32))
            scaled = (base * self.scale_of(name)).expand(self.count, *base.shape)
            parameters[name] = scaled + self.changes[name] if name in self.changes else scaled.clone()
        return parameters

    def scale_of(self, name: str) -> float:
        """The coefficient of the base's parameter."""
        return self.scale if name in self.with_gradient else 1.0

    def step(self, gradients: Gradients) -> None:
        """One step of SGD."""
        update = self.problem.update
        rate, momentum, decay = update.learning_rate, update.momentum, update.weight_decay
        assert rate is not None
        names = {*gradients.factors, *gradients.copies}
        if self.steps and names != self.with_gradient:
            raise Disagreement("other parameters have a gradient in one step than in another")
        self.with_gradient = names
        clip = clip_factors(update, gradients.by_parameter)
        self.pull = momentum * self.pull + decay * self.scale
        for step in self.steps:
            step.velocity = momentum * step.velocity + decay * step.weight
        self.steps.append(Step(gradients.factors, clip))
        for name, gradient in gradients.copies.items():
            velocity = times_each(clip, gradient)
            if name in self.changes:
                velocity = velocity + momentum * self.velocities[name] + decay * self.changes[name]
            self.velocities[name] = velocity
            self.changes[name] = self.changes.get(name, 0) - rate * velocity
        self.scale -= rate * self.pull
        for step in self.steps:
            step.weight -= rate * step.velocity
