"""Each stimulus's own gradient, all in one backward pass."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from eif_lab.influence.batch import Batch, call_model
from eif_lab.influence.per_sample.factors import Factors, Outer, Rows, merge_parts
from eif_lab.influence.per_sample.layers.layer import Parameters, tensors
from eif_lab.influence.per_sample.layout import Layout
from eif_lab.influence.per_sample.sites import with_stimulus_parameters
from eif_lab.influence.problem import Problem
from eif_lab.models.base import Loss


@dataclass(frozen=True)
class Gradients:
    """The gradient of each of several stimuli; what no stimulus's loss depends on is in neither part.

    Attributes:
        factors: By weight.
        copies: (stimuli, *shape), by parameter.
    """

    factors: dict[str, list[Factors]]
    copies: dict[str, Tensor]

    @property
    def by_parameter(self) -> dict[str, list[Factors] | Tensor]:
        """The gradients of all parameters, copied and factored."""
        return {**self.factors, **self.copies}

    @property
    def factor_bytes(self) -> int:
        """Memory of the factors."""
        return sum(one.nbytes for several in self.factors.values() for one in several)

    def of(self, index: int) -> dict[str, Tensor]:
        """One stimulus's gradient as it would be alone."""
        dense = {name: sum_of([one.only(index).dense()[0] for one in own]) for name, own in self.factors.items()}
        return {**dense, **{name: several[index] for name, several in self.copies.items()}}


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of the changes."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)


def backward(problem: Problem, layout: Layout, parameters: Parameters, batch: Batch) -> Gradients:
    """The gradient of each stimulus's loss by its own parameters.

    Args:
        problem: What is measured.
        layout: How parameters are held.
        parameters: Of as many stimuli as there are rows of ``batch``.
        batch: (stimuli, size, ...); a model or loss may change it.

    Raises:
        Disagreement: Stimuli go otherwise through the model together than one alone.
    """
    count, size = batch.targets.shape[:2]
    factors: dict[str, list[Factors]] = defaultdict(list)
    copies = {name: one.detach().requires_grad_() for name, one in tensors(parameters).items()}
    start = torch.zeros((), device=batch.device, requires_grad=True)

    def record(name: str, rows: Tensor, y: Tensor) -> Tensor:
        rows = rows.detach()
        y = y if y.requires_grad else y + start.to(y.dtype)

        def note(gradient: Tensor) -> None:
            if rows.is_floating_point():
                factors[name].append(Outer(rows, gradient))
            else:
                factors[name].append(Rows(gradient, rows, problem.trained[name].shape[0]))

        # a hook sees the gradient of the output as it is here, also where something changes it in place afterwards
        y.register_hook(note)
        return y

    calls = layout.calls_for(problem, batch) if count > 1 else None
    with (
        torch.enable_grad(),
        frozen(problem),
        with_stimulus_parameters(
            layout.sites, {**parameters, **copies}, count=count, size=size, calls=calls, record=record
        ),
        warnings.catch_warnings(),
    ):
        # where an operator has no batching rule it is looped over: slower, and right
        warnings.filterwarnings("ignore", message="There is a performance drop")
        outputs = call_model(problem.model, batch.map(lambda tensor: tensor.flatten(0, 1)).inputs)
        loss = sum_of_losses(problem.loss, outputs, batch.targets)
        variables = [*copies.values(), start]
        gradients: Sequence[Tensor | None] = [None] * len(variables)
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, variables, allow_unused=True)
    dense = {name: gradient for name, gradient in zip(copies, gradients) if gradient is not None}
    return Gradients({name: merge_parts(several) for name, several in factors.items()}, dense)


@contextmanager
def frozen(problem: Problem) -> Iterator[None]:
    """Within this, none of the model's own parameters requires a gradient, so that no weight gradient is formed."""
    trained = list(problem.trained.values())
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def sum_of_losses(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over stimuli of each one's loss: its gradient by a stimulus's parameters is that stimulus's own.

    Args:
        loss: (output, target) to a mean.
        outputs: (stimuli * rows, ...).
        targets: (stimuli, rows, ...).
    """
    by_stimulus = outputs.reshape(len(targets), -1, *outputs.shape[1:])
    return torch.stack([loss(output, target) for output, target in zip(by_stimulus, targets)]).sum()
