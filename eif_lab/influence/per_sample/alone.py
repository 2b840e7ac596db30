"""The gradient and the update of a stimulus alone, by ``backward`` and ``torch.optim``: the definition of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch, call_model
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.memory import out_of_memory

Gradient = Mapping[str, Tensor | None]
"""By parameter; None where the loss doesn't depend on it, so that an optimizer leaves it alone."""

LOOSE = {64: (1e-5, 1e-7), 32: (1e-3, 1e-5), 16: (0.1, 1e-3)}
"""By bits of precision how far two ways to compute a gradient may be apart: of its own norm, and of the largest one's.
A gradient that is zero in truth is rounding noise, of the size of the others' rounding."""

KINKED = 50
"""How many times as far apart they may be of a single stimulus: where rounding pushes an activation over the kink of a
ReLU, a gradient jumps."""


def backward_alone(problem: Problem, batch: Batch) -> None:
    """``loss.backward()`` on some rows; a loss that depends on nothing that is trained leaves no gradient.

    Raises:
        ConfigError: The model or the loss raises an exception.
    """
    trained = [parameter for parameter in problem.trained.values() if parameter.requires_grad]
    everything = batch.map(torch.clone)

    def loss_of(rows: Batch) -> Tensor:
        return problem.loss(call_model(problem.model, rows.inputs), rows.targets)

    with torch.enable_grad(), one_line("the model or its loss on these stimuli"):
        loss = loss_of(batch)
        if not loss.requires_grad:
            return
        try:
            loss.backward(inputs=trained)  # nothing else that needs a gradient may gain one
        except RuntimeError as error:
            if "heckpoint" not in str(error):
                raise
            for parameter in trained:
                parameter.grad = None  # of the attempt
            loss_of(everything).backward()


LONGEST_REASON = 140
"""Characters."""


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Within this, an exception of the user's own code becomes one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ConfigError) or out_of_memory(error):
            raise
        raise ConfigError(f"{what} must work, got {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The message of an exception, shortened."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."


def gradient_alone(problem: Problem, batch: Batch, names: Sequence[str] | None = None) -> dict[str, Tensor | None]:
    """The gradient of the loss on some rows by the trained parameters, or some of them, as ``backward`` leaves it."""
    trained = problem.trained
    chosen = list(trained if names is None else names)
    left_out = [parameter for name, parameter in trained.items() if name not in set(chosen)]
    for parameter in left_out:
        parameter.requires_grad_(False)
    try:
        backward_alone(problem, batch)
        return {name: trained[name].grad for name in chosen}
    finally:
        for parameter in left_out:
            parameter.requires_grad_(True)
        for parameter in trained.values():
            parameter.grad = None
        problem.base.restore()


class BaseGradients:
    """`gradient_alone` of stimuli at the base, by `some_trained`; those of the first few stay.

    Attributes:
        problem: What is measured.
        known: Gradients by the stimulus's rows.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.known: dict[tuple[int, ...], Gradient] = {}

    def of(self, rows: Tensor) -> Gradient:
        """The gradient of one stimulus, whose first step is on these rows."""
        key = tuple(rows.tolist())
        if key in self.known:
            return self.known[key]
        gradient = gradient_alone(self.problem, self.problem.samples.take(rows), some_trained(self.problem))
        if len(self.known) < MOST_KEPT:
            self.known[key] = gradient
        return gradient

    def whole(self, rows: Tensor) -> Gradient:
        """The gradient by all trained parameters."""
        known = self.known.get(tuple(rows.tolist()), {})
        if known.keys() == self.problem.trained.keys():
            return known
        return gradient_alone(self.problem, self.problem.samples.take(rows))


MOST_KEPT = 2
"""Gradients."""


def update_alone(problem: Problem, optimizer: Optimizer, rows: Tensor, read: Callable[[], Tensor]) -> Tensor:
    """Train on some samples in place, step by step with ``torch.optim``, and put everything back.

    Args:
        problem: What is measured.
        optimizer: Over what is trained; its memory is emptied here.
        rows: Of the samples, which are gone through in the recipe's batches.
        read: Called after each step that is read.

    Returns:
        (steps read, ...), the readings.
    """
    trained, clip = list(problem.trained.values()), problem.update.gradient_clip
    problem.base.copy_numbers(trained)
    readings = []
    try:
        for step, places in enumerate(problem.batches, 1):
            for parameter in trained:
                parameter.grad = None
            backward_alone(problem, problem.samples.take(rows[places]))
            with one_line("update"):
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(trained, clip)
                optimizer.step()
            if problem.trajectory or step == problem.steps:
                readings.append(read())
    finally:
        optimizer.state.clear()
        for parameter in trained:
            parameter.grad = None
        problem.base.restore()
    return torch.stack(readings)


def some_trained(problem: Problem) -> list[str]:
    """Names spread over the model whose gradients take no more than an eighth of the budget; at least one."""
    names, room = list(problem.trained), problem.memory_budget * GIB / 8
    step = 1
    while step < len(names) and sum(problem.trained[name].nbytes for name in names[::step]) > room:
        step += 1
    return names[::step]


@contextmanager
def parameters_set_to(problem: Problem, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this, parameters have these values, in place, so that whatever holds them sees them."""
    before = {name: problem.trained[name].detach().clone() for name in values}
    try:
        write_parameters(problem, values)
        yield
    finally:
        write_parameters(problem, before)


@torch.no_grad()
def write_parameters(problem: Problem, values: Mapping[str, Tensor]) -> None:
    """Give parameters these values in place."""
    for name, value in values.items():
        problem.trained[name].data.copy_(value)


def disagreement(among: Mapping[str, Tensor], alone: Gradient, *, strict: bool = False, kinked: bool = False) -> str:
    """Where a stimulus's gradient among others differs from the one that it has alone; empty where it does not.

    Args:
        among: Among others; what its loss doesn't depend on is missing.
        alone: Of the parameters that are looked at.
        strict: A gradient of zero is another thing than none.
        kinked: It may be as far off as a kink explains.
    """
    norms = {name: float(norm(gradient)) for name, gradient in alone.items() if gradient is not None}
    largest = max(norms.values(), default=0.0)
    if not math.isfinite(largest):
        return ""  # this stimulus diverges in any engine
    for name, gradient in alone.items():
        if gradient is None or name not in among:
            present = among.get(name) if gradient is None else gradient
            if present is not None and (strict or bool(norm(present) > 0)):
                return f"{name} has a gradient {'among others' if gradient is None else 'alone'} only"
            continue
        bits = min(torch.finfo(gradient.dtype).bits, torch.finfo(among[name].dtype).bits)
        share, share_of_largest = (KINKED * one if kinked and bits == 32 else one for one in LOOSE[max(16, bits)])
        plain = gradient.to_dense() if gradient.is_sparse else gradient
        off = float(norm(among[name].to(plain) - plain))
        if not off <= share * norms[name] + share_of_largest * largest:
            return f"the gradient of {name} is another among others than alone"
    return ""


def norm(gradient: Tensor) -> Tensor:
    """The norm of all numbers in a gradient, at least in float32."""
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return torch.linalg.vector_norm(dense, dtype=torch.promote_types(dense.dtype, torch.float32))
