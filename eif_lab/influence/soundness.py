"""Whether model, loss, data and readouts are such that influence can be measured; if not, one line says so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_leaves

from eif_lab.errors import ConfigError, must_be, rule_error
from eif_lab.influence.batch import Batch, call_model
from eif_lab.influence.per_sample.alone import one_line
from eif_lab.influence.per_sample.layout import inseparable
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.arrangement import SharedPrefixes
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.precision import coarsest_unit
from eif_lab.readouts.classes import IGNORED, classes_last, log_prob
from eif_lab.readouts.readout import Readout

FEW = 4
"""Rows of probes that the model is tried on."""

COMPARED = 8
"""Rows of probes, drawn at random, that are read by themselves and among all: the first may be ones that none moves."""

OFTEN = 8
"""Times that a model which draws random numbers is called again."""

MOST_TRIED = 16
"""Number of stimuli among which one is searched whose loss depends on the trained parameters."""


def must_be_callable(loss: Any) -> None:
    """Refuse a loss that is no function."""
    if not callable(loss):
        hint = "Try torch.nn.functional.cross_entropy."
        raise rule_error("loss", "be a function (output, target)", type(loss).__name__, hint)


def must_hold_numbers(model: Any) -> None:
    """Refuse a model without parameters, or whose parameters are shapes alone."""
    must_be("model", model, nn.Module, "a torch.nn.Module", "Try an instance." if isinstance(model, type) else "")
    parameters = dict(model.named_parameters())
    if not parameters:
        raise rule_error("model", "have parameters", f"none in {type(model).__name__}")
    for name, parameter in parameters.items():
        if isinstance(parameter, UninitializedParameter):
            hint = "Try calling the model on a batch first."
            raise rule_error("model", "have its lazy parameters initialised", name, hint)
        if parameter.is_inference():
            hint = "Try making the model outside of it."
            raise rule_error("model", "be made outside torch.inference_mode()", name, hint)
        if parameter.is_meta:
            hint = "Try model.to_empty(device=...) and loading its weights."
            raise rule_error("model", "have numbers in its parameters", f"{name} on the meta device", hint)


def must_be_sound(problem: Problem) -> None:
    """Try the model on a few probes and its loss on a stimulus.

    Raises:
        ConfigError: Something is not what it should be.
    """
    few, base = slice(min(FEW, len(problem.probes))), problem.base
    try:
        batch = problem.probes.take(few)
        with torch.no_grad():
            random = torch.get_rng_state()
            output = output_of(problem.model, batch, "probes")
            draws = not torch.equal(random, torch.get_rng_state())
            base.note_leaks()
            for _ in range(OFTEN if draws else 1):
                base.restore()
                must_be_the_same(output, output_of(problem.model, problem.probes.take(few), "probes"))
        for name, readout in problem.readouts.items():
            must_be_readable(problem.probes, name, readout, output, problem.probes.take(few).targets, field="probes")
        if any(one.reads_classes for one in problem.readouts.values()):
            must_be_last(problem, output, problem.probes.take(few).targets)
        base.restore()
        must_be_a_loss(problem)
    finally:
        base.restore()


def must_be_the_same(output: Tensor, again: Tensor) -> None:
    """Refuse a model that draws what it gives."""
    slack = 1e-3 * float(output.abs().nan_to_num(0, 0, 0).max()) if output.numel() else 0.0
    if output.shape != again.shape or not torch.allclose(output, again, rtol=0, atol=slack, equal_nan=True):
        hint = "Try a model whose dropout is off in eval mode."
        raise rule_error("model", "give the same output for the same inputs", "another one each time", hint)


def output_of(model: nn.Module, batch: Batch, field: str) -> Tensor:
    """The model's output, which is a tensor with a row for each."""
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in tree_leaves(batch.inputs))
    with one_line(f"model on {field} of shape {shapes}"):
        output = call_model(model, batch.inputs)
    if not isinstance(output, Tensor):
        hint = "Try a module whose forward returns the logits alone."
        raise ConfigError(f"model must return one tensor, got {type(output).__name__}. {hint}")
    if output.ndim == 0 or len(output) != len(batch):
        raise rule_error("model", f"return a row for each of {len(batch)} inputs", f"shape {tuple(output.shape)}")
    return output


def must_be_readable(
    probes: Batch, name: str, readout: Readout, output: Tensor, targets: Tensor, *, field: str
) -> None:
    """Refuse what a readout cannot read.

    Args:
        probes: All of them.
        name: The readout's.
        readout: Of the output and the targets.
        output: Of a few probes.
        targets: Of these.
        field: What errors call the probes.
    """
    if readout.reads_classes:
        must_have_classes(probes, name, output, targets, field)
        return
    with one_line(f"readout {name}"):
        read = readout(output.clone(), targets)
    rule = f"give one number for each of {len(output)} probes"
    if not isinstance(read, Tensor):
        raise rule_error("readout", rule, f"{type(read).__name__} from {name}")
    if read.shape != (len(output),) or read.is_complex():
        raise rule_error("readout", rule, f"{read.dtype} of shape {tuple(read.shape)} from {name}")


OWN_READOUT = "Try a function (output, target) as readout."


def must_have_classes(probes: Batch, name: str, output: Tensor, targets: Tensor, field: str) -> None:
    """Refuse outputs that are no scores of classes, or targets that are no classes."""
    shapes = f"outputs of shape {tuple(output.shape)} and targets of shape {tuple(targets.shape)}"
    moved = classes_last(output, targets)
    if moved is None:
        rule = f"have a class as target for each place of the output with readout={name}"
        raise ConfigError(f"{field} must {rule}, got {shapes}. {OWN_READOUT}")
    classes = moved.shape[-1]
    if classes < 2 or moved.is_complex():
        raise ConfigError(f"model must return a score for each of two classes or more, got {shapes}. {OWN_READOUT}")
    must_be_classes(probes.targets, classes, field)


def must_be_classes(targets: Tensor, classes: int, field: str) -> None:
    """Refuse targets that are none of the model's classes."""
    known = targets[targets != IGNORED]
    if len(known) and not (int(known.min()) >= 0 and int(known.max()) < classes):
        wrong = known[(known < 0) | (known >= classes)][0]
        raise rule_error(field, f"have targets from 0 to {classes - 1}, the model's classes", int(wrong))


def must_be_last(problem: Problem, output: Tensor, targets: Tensor) -> None:
    """Refuse (n, classes, positions) where it looks like (n, positions, classes), and the loss says what it is."""
    if output.ndim != 3 or output.shape[1] != output.shape[2]:
        return
    try:
        loss = float(problem.loss(output.clone(), targets.clone()))
    except Exception:
        return
    scored = (targets != IGNORED).sum()
    last, second = (-float(log_prob(one, targets).sum() / scored) for one in (output, output.movedim(1, -1)))
    if abs(loss - second) < 1e-4 * abs(second) and abs(loss - last) > 1e-3 * abs(last):
        rule = "return (rows, positions, classes), which the loss takes for (rows, classes, positions)"
        raise rule_error("model", rule, f"shape {tuple(output.shape)}", OWN_READOUT)


def must_be_a_loss(problem: Problem) -> None:
    """Refuse a loss that is not one number, or depends on nothing that is trained."""
    for rows in problem.first_rows[:MOST_TRIED]:
        batch = problem.samples.take(rows)
        with torch.enable_grad():
            output = output_of(problem.model, batch, "stimuli")
            with one_line("loss on a stimulus"):
                loss = problem.loss(output, batch.targets)
        if not isinstance(loss, Tensor):
            raise rule_error("loss", "return one number, a mean over the batch", type(loss).__name__)
        if loss.numel() != 1 or loss.ndim or not loss.is_floating_point():
            received = f"{loss.dtype} of shape {tuple(loss.shape)}"
            raise rule_error("loss", "return one number, a mean over the batch", received, 'Try reduction="mean".')
        if loss.requires_grad:
            return
    raise rule_error("loss", "depend on a parameter that is trained", "none", "Try another method.")


def depends_on_others(problem: Problem, passes: Passes) -> bool:
    """Whether a probe's output depends on those beside it, so that a pass over some of them says something else."""
    if len(problem.probes) <= FEW or isinstance(passes.arrangement, SharedPrefixes):
        return False
    draw = torch.Generator().manual_seed(0)
    few = torch.randperm(len(problem.probes), generator=draw)[:COMPARED].sort().values.to(problem.members.device)
    try:
        alone = torch.cat([passes.read_pass(problem.model, *problem.probes.take(rows)) for rows in few.split(FEW)])
        among = passes.read_plainly(problem.model) if inseparable(problem) else passes.base_rows
    finally:
        problem.base.restore()
    slack = coarsest_unit(problem) ** 0.5
    return not torch.allclose(alone, among[few], rtol=slack, atol=slack, equal_nan=True)
