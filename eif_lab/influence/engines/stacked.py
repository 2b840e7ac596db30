"""Many independent copies of what is trained, updated at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eif_lab.influence.engines.versioned import Versioned
from eif_lab.influence.per_sample.gradients import Gradients, Layout, unmoved
from eif_lab.influence.per_sample.versions import Version
from eif_lab.influence.problem import Problem
from eif_lab.influence.update import Update


@dataclass
class Stacked(Versioned):
    """One copy of what is trained per stimulus, for any optimizer.

    ``torch.optim`` steps elementwise, which makes a step on stacked parameters one step on each.
    """

    def copies(self, problem: Problem) -> int:
        """With what the optimizer keeps."""
        return 3 + {"sgd": 1 if problem.update.momentum else 0, "adam": 2, "adamw": 2}[problem.update.optimizer]

    def start(self, problem: Problem, layout: Layout, count: int) -> Copies:
        """A copy for each."""
        return Copies(problem.update, unmoved(problem, layout, count))


class Copies:
    """A copy of each parameter per stimulus, with one optimizer for all.

    Args:
        update: The recipe.
        base: (stimuli, *shape) each.
    """

    def __init__(self, update: Update, base: Mapping[str, Version]) -> None:
        self.update = update
        self.stacked = {name: one.clone() for name, one in base.items() if isinstance(one, Tensor)}
        self.optimizer = update.make_optimizer(self.stacked.values())

    def versions(self) -> Mapping[str, Version]:
        """The copies themselves."""
        return self.stacked

    def step(self, gradients: Gradients) -> None:
        """One step of ``torch.optim``, which leaves alone what has no gradient."""
        own = gradients[1]
        if self.update.gradient_clip is not None:
            own = clip_each(own, self.update.gradient_clip)
        for name, parameter in self.stacked.items():
            parameter.grad = own.get(name)
        self.optimizer.step()
        self.optimizer.zero_grad()


def clip_each(gradients: dict[str, Tensor], largest: float) -> dict[str, Tensor]:
    """Scale each stimulus's gradient to a norm of at most ``largest``, as ``torch.nn.utils.clip_grad_norm_`` does."""
    if not gradients:
        return gradients
    squares = sum(g.flatten(1).abs().square().sum(1) for g in gradients.values())
    scale = (largest / (torch.as_tensor(squares).sqrt() + 1e-6)).clamp(max=1)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)) for name, g in gradients.items()}
