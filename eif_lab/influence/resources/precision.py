"""Whether the precision that is computed in holds what an update changes; where it does not, the job is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eif_lab.errors import ConfigError, rule_error
from eif_lab.influence.per_sample.alone import BaseGradients, Gradient, gradient_alone, parameters_set_to
from eif_lab.influence.per_sample.clipping import clip_factors, times_each
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.update import Update
from eif_lab.readouts.classes import at_least_float32
from eif_lab.readouts.readout import Readout

LARGEST_LOSS = 0.1
"""The share of an update that may be lost. The influence's relative error is about as large, or smaller (measured:
docs/decisions.md)."""

MOST_TRIED = 32
"""Stimuli that are looked at before it is said that none of their updates is held."""

MOST_ELEMENTS = 2**14
"""Elements of a parameter that are looked at; optimizers are elementwise, so that a sample tells."""

READING_UNITS = 8
"""Rounding units of a reading, which sums over classes and positions, that are noise: pure noise reached 3 of them."""


class LostToRounding(ConfigError):
    """The learning rate is so small that the result would be rounding noise, or zero."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Within this, CUDA computes convolutions of float32 in float32; afterwards as before.

    By default it rounds what goes into them to 10 bits (TF32), in which 1 + 3e-4 is 1 and a small update vanishes.
    """
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    cudnn.allow_tf32 = False  # the older of two ways to say so, which torch holds against the newer one
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.allow_tf32 = before[0] == "tf32"
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def must_be_precise(problem: Problem) -> None:
    """Refuse parameters in which a step would not show.

    Raises:
        ConfigError: A trained parameter has less than float32's precision.
    """
    for name, parameter in problem.trained.items():
        if torch.finfo(parameter.dtype).bits < 32:
            rule = "train parameters of at least float32, in which a small update does not vanish"
            raise rule_error("method", rule, f"{name} in {parameter.dtype}", "Try float32, or method=lora.")


def must_hold_update(problem: Problem, gradients: BaseGradients) -> None:
    """Refuse a learning rate at which the trained parameters would round away what it changes.

    For engines that store updated parameters. A rate of zero changes nothing, and is fine.

    Args:
        problem: What is measured.
        gradients: Of stimuli at the base, some of which may be known.

    Raises:
        LostToRounding: More than `LARGEST_LOSS` of the first step is lost.
    """
    share = lost_share(problem, gradients) if problem.update.learning_rate else 0.0
    if share > LARGEST_LOSS:
        precisions = sorted({str(p.dtype).removeprefix("torch.") for p in problem.trained.values()})
        rule = f"be large enough for {' and '.join(precisions)} to hold what it changes"
        raise refusal(problem, f"{rule} ({share:.0%} of the updates would be lost to rounding)")


def lost_share(problem: Problem, gradients: BaseGradients) -> float:
    r"""The share of the first step that the parameters' own precision loses.

    .. math:: \sqrt{\sum_i \|\Delta_i - \hat\Delta_i\|^2 / \sum_i \|\Delta_i\|^2}

    over stimuli, with the exact step :math:`\Delta` and the stored one :math:`\hat\Delta`. The sum is over stimuli
    because their gradients differ by orders of magnitude in a model that is sure of most of them: an update that is
    lost matters by its size beside the others'. Stimuli spread over all are looked at until the share is small enough,
    most often one. Those whose step is zero or not finite say nothing about the rate.
    """
    lost = moved = 0.0
    for rows in stimuli_to_try(problem):
        errors, steps = (sum(one) for one in zip(*first_step(problem, gradients.whole(rows))))
        if math.isfinite(errors + steps):
            lost, moved = lost + errors, moved + steps
        if moved and lost <= LARGEST_LOSS**2 * moved:
            break
    return math.sqrt(lost / moved) if moved else 0.0


def stimuli_to_try(problem: Problem) -> Iterator[Tensor]:
    """First batches of the stimuli that are looked at: at most `MOST_TRIED`, the first and others evenly behind it."""
    yield from problem.first_rows[:: math.ceil(len(problem.members) / MOST_TRIED)]


def first_step(problem: Problem, gradients: Gradient) -> Iterator[tuple[float, float]]:
    """For each parameter the squared norms of what storing the first step loses, and of that step.

    Both per learning rate, so that neither vanishes with it.
    """
    rate = problem.update.learning_rate
    assert rate
    known = {name: gradient.to_dense()[None] for name, gradient in gradients.items() if gradient is not None}
    factor = clip_factors(problem.update, known)
    for name, whole in known.items():
        parameter = problem.trained[name].detach()
        stride = max(1, math.ceil(parameter.numel() / MOST_ELEMENTS))
        values, gradient = parameter.flatten()[::stride], times_each(factor, whole).flatten()[::stride]
        exact = step_per_rate(problem.update, values, gradient)
        stored = values.clone()
        stored.grad = gradient
        problem.update.make_optimizer([stored]).step()
        step = (in_float64(stored) - in_float64(values)) / rate
        yield stride * (step - exact).abs().square().sum().item(), stride * exact.abs().square().sum().item()


def step_per_rate(update: Update, parameter: Tensor, gradient: Tensor) -> Tensor:
    """The first step divided by the learning rate, in float64: for every optimizer they are proportional.

    It starts from zero, where nothing is rounded off against the parameter; weight decay, which needs the parameter,
    is put into the gradient (L2) or added to the step (AdamW's).
    """
    parameter, gradient = in_float64(parameter), in_float64(gradient)
    decay = update.weight_decay * parameter if update.weight_decay else 0.0
    decoupled = update.stepping.decoupled
    step = torch.zeros_like(parameter)
    step.grad = gradient if decoupled else gradient + decay
    replace(update, learning_rate=1.0, weight_decay=0.0).make_optimizer([step]).step()
    return step - decay if decoupled else step


def in_float64(tensor: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none (MPS)."""
    here = tensor.cpu() if tensor.device.type == "mps" else tensor
    return here.to(torch.promote_types(here.dtype, torch.float64))


def must_be_resolved(problem: Problem, passes: Passes, before: Tensor, moves: Tensor) -> None:
    """Refuse an array in which no readout moved by more than rounding moves it.

    The largest influence is compared with `resolution`, readout by readout; one entry above it suffices. So rows of
    zeros (stimuli that the model is sure of), probes that do not move and readouts that do not show what another one
    shows are all fine; what is refused is an array of which every number could be noise. Readouts that count are not
    looked at. Nor is an array of zeros refused where no larger step would move the readings.

    Args:
        problem: What was measured.
        passes: How its probes were read.
        before: (..., probes, readouts), the readings that influence is the distance from.
        moves: (readouts,), by how much each was moved at most (`largest_moves`).

    Raises:
        LostToRounding: All of it is below the resolution.
    """
    coarsest = coarsest_unit(problem)
    largest: dict[str, tuple[float, float]] = {}
    for index, (name, readout) in enumerate(problem.readouts.items()):
        readings, moved = at_least_float32(before[..., index]).flatten(), float(moves[index])
        if readout.among is not None and problem.candidates is not None:
            # a difference is rounded as what it is the difference of
            readings = torch.cat(
                [readings, at_least_float32(problem.candidates.scores(passes.base_rows[:, 0])).flatten()]
            )
        readings = readings[readings.isfinite()]
        if moved >= 0 and not counts(readout, readings):
            largest[name] = moved, resolution(readout, readings, coarsest)
    if largest and all(moved <= least for moved, least in largest.values()) and would_move(problem, passes):
        name, (moved, least) = next(iter(largest.items()))
        rule = f"be large enough to move {name} by more than rounding does, {least:.1g}"
        raise refusal(problem, f"{rule} (it moved by {moved:.1g} at most)")


def largest_moves(influence: Tensor) -> Tensor:
    """The size of the largest finite influence on each readout, (readouts,); -1 where none is finite.

    Args:
        influence: (..., readouts).
    """
    sizes = influence.abs().masked_fill(~influence.isfinite(), -1)
    return sizes.flatten(0, -2).amax(0)


def coarsest_unit(problem: Problem) -> float:
    """The rounding unit of the model's coarsest parameters."""
    parameters = problem.model.parameters()
    return max(torch.finfo(p.dtype).eps for p in parameters if p.is_floating_point() or p.is_complex())


def counts(readout: Readout, readings: Tensor) -> bool:
    """Whether it reads counts; of one that does not say, whether its readings are whole numbers."""
    return bool((readings == readings.round()).all()) if readout.is_count is None else readout.is_count


def resolution(readout: Readout, readings: Tensor, coarsest: float) -> float:
    """The largest change of a readout that can be rounding alone.

    A reading's magnitude times `READING_UNITS` units of its own precision, which is at least float32; or times one unit
    of the model's, where that is more: a bfloat16 model computes its sums in float32 and rounds what comes out once, to
    half a unit.

    Args:
        readout: One that does not count.
        readings: (n,), before the update; finite.
        coarsest: The rounding unit of the model's coarsest parameters; one coarser than bfloat16's is not computed in.
    """
    size = readout.magnitude(readings)
    units = max(READING_UNITS * torch.finfo(size.dtype).eps, min(coarsest, torch.finfo(torch.bfloat16).eps))
    return units * float(size.max()) if len(size) else 0.0


MAGNIFIED = 0.01
"""How far, of its own size, a parameter is moved to see whether a larger step would move the readings."""


def would_move(problem: Problem, passes: Passes) -> bool:
    """Whether a larger step moves a readout, for any of the stimuli that are tried.

    Readings that no step moves are exact: those of words that no stimulus has, or of a loss that is at its least.
    """
    if not (step_of := [one for rows in stimuli_to_try(problem) if (one := after_large_step(problem, rows))]):
        return False
    before = passes.read_plainly(problem.model)
    for values in step_of:
        with parameters_set_to(problem, values):
            if not torch.equal(passes.read_plainly(problem.model), before):
                return True
    return False


def after_large_step(problem: Problem, rows: Tensor) -> dict[str, Tensor]:
    """Trained parameters after a first step of a size that any precision holds; empty where the step is zero."""
    gradients = gradient_alone(problem, problem.samples.take(rows))
    known = [(name, problem.trained[name].detach(), g.to_dense()) for name, g in gradients.items() if g is not None]
    steps = {name: step_per_rate(problem.update, parameter, gradient) for name, parameter, gradient in known}
    largest = max((float(step.abs().max()) for step in steps.values()), default=0.0)
    if not largest or not math.isfinite(largest):
        return {}
    size = max(float(parameter.abs().max()) for _, parameter, _ in known) or 1.0
    return {
        name: (in_float64(parameter) + steps[name] * (MAGNIFIED * size / largest)).to(parameter)
        for name, parameter, _ in known
    }


def refusal(problem: Problem, rule: str) -> LostToRounding:
    """The one line that says so."""
    rate = problem.update.learning_rate
    return LostToRounding(str(rule_error("update.learning_rate", rule, rate, "Try a larger rate, or a float64 model.")))
