"""Many independent copies of what is trained, updated at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from eif_lab.influence.problem import Engine, Problem

LARGEST_CHUNK = 32


@dataclass
class Stacked(Engine):
    """Updates are vectorised over stimuli with ``torch.func``; probe passes run stimulus by stimulus.

    A convolution or product whose weights differ per sample is slow, but the same one with plain weights is not: so
    only the small updates are stacked, and the large probe passes use each stimulus's own weights as plain ones.
    ``torch.optim`` steps elementwise, which makes a step on stacked parameters one step on each.
    """

    def refuses(self, problem: Problem) -> str:
        """Tries the first stimulus's gradient, vectorised, against the plain one: some modules' autograd functions
        cannot be vectorised, and one that goes silently wrong must not pass.
        """
        batch = problem.samples.take(problem.members[0])
        with torch.enable_grad():
            plain = torch.autograd.grad(
                problem.loss(problem.model(batch.inputs), batch.targets),
                list(problem.trained.values()),
                allow_unused=True,
            )
        stacked, frozen = stack(problem, 1)
        try:
            vectorised = stacked_gradient(problem, frozen)(stacked, batch.inputs[None], batch.targets[None])
        except (RuntimeError, NotImplementedError, ValueError) as error:
            return f"torch.func cannot vectorise this model ({str(error).strip().splitlines()[0]})"
        expected = [torch.zeros_like(p) if g is None else g for p, g in zip(problem.trained.values(), plain)]
        largest = max(float(g.abs().max()) for g in expected)
        if not math.isfinite(largest):
            return ""  # this stimulus diverges in any engine
        for name, gradient in zip(problem.trained, expected):
            # a gradient that is zero in truth is rounding noise, of the size of the others' rounding
            slack = 1e-3 * float(gradient.abs().max()) + 1e-6 * largest
            if not torch.allclose(vectorised[name][0], gradient, rtol=1e-2, atol=slack):
                return f"torch.func gives another gradient of {name} than autograd"
        return ""

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """As many stimuli per chunk as the memory budget holds."""
        for members in problem.members.split(self.chunk(problem)):
            yield update_and_read(problem, members)

    def chunk(self, problem: Problem) -> int:
        """How many stimuli fit: parameters, gradients, two moments and one temporary of each.

        No more than `LARGEST_CHUNK`, so that a long measurement is heard of while it runs.
        """
        per_stimulus = 5 * sum(p.numel() * p.element_size() for p in problem.trained.values())
        return max(1, min(LARGEST_CHUNK, int(self.memory_budget * 2**30 / max(1, per_stimulus))))


def update_and_read(problem: Problem, members: Tensor) -> Tensor:
    """Readings after updating one copy per row of ``members``: (stimuli, steps read, probes, readouts)."""
    stacked, frozen = stack(problem, len(members))
    inputs, targets = problem.samples.take(members)
    gradient = stacked_gradient(problem, frozen)
    optimizer = problem.update.make_optimizer(stacked.values())
    readings = []
    for step in range(1, problem.update.steps + 1):
        gradients = gradient(stacked, inputs, targets)
        if problem.update.gradient_clip is not None:
            gradients = clip_each(gradients, problem.update.gradient_clip)
        for name, parameter in stacked.items():
            parameter.grad = gradients[name]
        optimizer.step()
        if problem.trajectory or step == problem.update.steps:
            readings.append(torch.stack([read_one(problem, stacked, frozen, i) for i in range(len(members))]))
    return torch.stack(readings, dim=1)


def stack(problem: Problem, copies: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """``copies`` copies of what is trained, along a new first dimension, and what all copies share."""
    trained = problem.trained
    stacked = {name: p.detach().expand(copies, *p.shape).clone() for name, p in trained.items()}
    frozen = {name: p.detach() for name, p in problem.model.named_parameters() if name not in trained}
    return stacked, frozen | dict(problem.model.named_buffers())


def stacked_gradient(problem: Problem, frozen: dict[str, Tensor]) -> Callable[..., dict[str, Tensor]]:
    """(stacked parameters, inputs, targets), each with a row per stimulus, to the stacked gradients of the loss."""

    def loss(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return problem.loss(functional_call(problem.model, (parameters, frozen), (inputs,)), targets)

    gradient = vmap(grad(loss))

    def quiet(*stacks: Any) -> dict[str, Tensor]:
        with warnings.catch_warnings():  # where an operator has no batching rule it is looped over: slower, and right
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return gradient(*stacks)

    return quiet


def read_one(problem: Problem, stacked: dict[str, Tensor], frozen: dict[str, Tensor], index: int) -> Tensor:
    """Readings with the copy at ``index``: (probes, readouts)."""
    own = {name: p[index] for name, p in stacked.items()}
    return problem.read(lambda inputs: functional_call(problem.model, (own, frozen), (inputs,)))


def clip_each(gradients: dict[str, Tensor], largest: float) -> dict[str, Tensor]:
    """Scale each stimulus's gradient to a norm of at most ``largest``, as ``torch.nn.utils.clip_grad_norm_`` does."""
    squares = sum(g.flatten(1).square().sum(1) for g in gradients.values())
    scale = (largest / (torch.as_tensor(squares).sqrt() + 1e-6)).clamp(max=1)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)) for name, g in gradients.items()}
