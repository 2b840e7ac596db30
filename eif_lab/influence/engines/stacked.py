"""Many independent copies of the trained parameters, updated at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eif_lab.influence.engines.batched import Batched
from eif_lab.influence.per_sample.backward import Gradients
from eif_lab.influence.per_sample.clipping import clip_factors, times_each
from eif_lab.influence.per_sample.layers.layer import Parameters, tensors
from eif_lab.influence.per_sample.layout import Layout
from eif_lab.influence.problem import Problem
from eif_lab.influence.update import Update


@dataclass
class Stacked(Batched):
    """One copy of the trained parameters per stimulus, for any optimizer.

    ``torch.optim`` steps elementwise, which makes a step on stacked parameters one step on each.
    """

    name: ClassVar[str] = "stacked"
    preference: ClassVar[int | None] = 2

    def copies(self, problem: Problem) -> int:
        """Each parameter is held with its gradient and the optimizer's state."""
        return 3 + problem.update.stepping.remembers(problem.update)

    def start(self, problem: Problem, layout: Layout, count: int) -> Copies:
        """A copy of the base's parameters for each stimulus."""
        return Copies(problem.update, layout.base_parameters(problem, count))


class Copies:
    """A copy of each parameter per stimulus, with one optimizer for all.

    Args:
        update: The recipe.
        base: (stimuli, *shape) each.
    """

    def __init__(self, update: Update, base: Parameters) -> None:
        self.update = update
        self.stacked = {name: one.clone() for name, one in tensors(base).items()}
        self.optimizer = update.make_optimizer(self.stacked.values())

    def parameters(self) -> Parameters:
        """The copies of each parameter."""
        return self.stacked

    def step(self, gradients: Gradients) -> None:
        """One step of ``torch.optim``, which leaves alone what has no gradient."""
        clipped = gradients.copies
        if self.update.gradient_clip is not None:
            factor = clip_factors(self.update, clipped)
            clipped = {name: times_each(factor, gradient) for name, gradient in clipped.items()}
        for name, parameter in self.stacked.items():
            parameter.grad = clipped.get(name)
        self.optimizer.step()
        self.optimizer.zero_grad()
