"""The first-order prediction of influence: what the gradients at the base model say, with no update run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import jvp

from eif_lab.influence.batch import Batch
from eif_lab.influence.engines.engine import EVERY, Engine, Prepared, Refused, rest_of, towards_target
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.backward import backward
from eif_lab.influence.per_sample.clipping import clip_factors, times_each, total
from eif_lab.influence.per_sample.factors import Factors, by_matrices, pairwise_inner
from eif_lab.influence.per_sample.layout import Layout
from eif_lab.influence.per_sample.trial import Layouts
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.memory import Chunks, peak_bytes
from eif_lab.influence.setup import Setup
from eif_lab.influence.update import Update
from eif_lab.models.base import Loss
from eif_lab.readouts.readout import Readout

LARGEST = 128
"""Samples at once at most, so that a long measurement shows its progress."""


@dataclass
class FirstOrder(Engine):
    r"""The neural-tangent-kernel view: :math:`I_{ij} \approx -r \langle \nabla s_j, \nabla l_i \rangle`.

    Of several steps, with momentum, weight decay and clipping, it is the change that SGD would make if the gradient
    stayed what it is at the base model. Not exact; `agreement` says how far from it.

    Source: Jacot, Gabriel, Hongler, arXiv 1806.07572; one checkpoint of TracIn, Pruthi et al., arXiv 2002.08484.
    """

    name: ClassVar[str] = "first_order"
    exact: ClassVar[bool] = False
    stores_weights: ClassVar[bool] = False
    optimizers: ClassVar[tuple[str, ...]] = ("sgd",)

    def prepared(self, setup: Setup) -> Prepared:
        """The layout of one step.

        Raises:
            Refused: The optimizer is not SGD, whose response to a constant gradient it follows; a readout has no
                gradient; steps are on other samples than each other; or a stimulus's own gradient cannot be had.
        """
        problem = setup.problem
        if problem.update.optimizer not in self.optimizers:
            raise Refused(self.name, f"its update is sgd's, not {problem.update.optimizer}'s")
        flat = [name for name, readout in problem.readouts.items() if readout.is_count]
        if flat:
            raise Refused(self.name, f"{', '.join(flat)} has no gradient")
        if len(problem.batches[0]) < problem.members.shape[1]:
            raise Refused(self.name, "its gradient is of all samples at once, not of update.batch_size of them")
        one_step = replace(problem, update=replace(problem.update, steps=1, epochs=None))
        layouts = setup.layouts if problem.steps == 1 else Layouts(one_step, setup.layouts.channels_last)
        try:
            layout = layouts.find(factored=True)
        except Disagreement as error:
            raise Refused(self.name, str(error)) from None
        layouts.gradients.known.clear()
        return Prediction(self, setup, layout)


class Prediction(Prepared):
    """Inner products of gradients at the base.

    Args:
        engine: The engine.
        setup: What is predicted.
        layout: How gradients are held.
    """

    def __init__(self, engine: Engine, setup: Setup, layout: Layout) -> None:
        super().__init__(engine, setup)
        self.layout = layout
        self.chunks = Chunks(samples_at_once(setup.problem, layout), "stimuli")
        self.stimuli_at_once = self.chunks.size

    def influence(self, update: Update, known: Sequence[Tensor] = (), rows: slice = EVERY) -> Iterator[Tensor]:
        """The prediction itself: a small one would be lost in the difference of two readings."""
        problem = replace(self.setup.problem.of_stimuli(rows), update=update)
        after_all: Tensor | float = 0.0
        if problem.everything is not None:
            after_all = self.predicted(replace(problem, members=problem.everything[None], reads=None))[0]
        rest = rest_of(problem, known)
        for change in self.chunks.over(len(rest.members), lambda place: self.predicted(rest.of_stimuli(place))):
            less = change if problem.everything is None else after_all - change
            yield less * towards_target(problem, change)

    def predicted(self, problem: Problem) -> Tensor:
        """The prediction for the stimuli: (stimuli, steps read, probes, readouts), NaN where none is asked for."""
        passes, change = self.setup.passes, self.predicted_rows(problem, problem.members)
        if problem.reads is not None:
            change = change.masked_fill(~problem.reads.to(change.device)[:, None, :, None], torch.nan)
        if passes.candidates is None:
            return change
        base = passes.base_rows.to(change.dtype).expand_as(change).contiguous()
        return jvp(passes.probe_readings, (base,), (change,))[1]

    def predicted_rows(self, problem: Problem, members: Tensor) -> Tensor:
        """The prediction of what is read of each row of the probes: (stimuli, steps read, rows, columns)."""
        layout, update = self.layout, problem.update
        states = steps_response(update, problem.steps)[0 if problem.trajectory else -1 :]
        of_stimuli = gradients(problem, layout, problem.samples.take(members))
        clip = clip_factors(update, of_stimuli)
        blocks = []
        for start in range(0, len(problem.probes), len(members)):
            probes = problem.probes.take(slice(start, start + len(members))).map(lambda tensor: tensor[:, None])
            columns = []
            for readout in self.setup.passes.columns:
                of_probes = gradients(replace(problem, loss=summed_readout(readout)), layout, probes.map(torch.clone))
                products = times_each(clip, inner_products(of_stimuli, of_probes))
                shrunk = inner_products_with_base(problem, of_probes) if update.weight_decay else products.new_zeros(())
                columns.append(torch.stack([weight * products + shrink * shrunk for shrink, weight in states], dim=1))
            blocks.append(torch.stack(columns, dim=-1))
        return torch.cat(blocks, dim=2)


def steps_response(update: Update, steps: int) -> list[tuple[float, float]]:
    """The total change after ``1, 2, ... steps`` steps if the gradient never changes.

    Returns:
        For each number of steps (shrink, weight): the parameters are then ``(1 + shrink) * base + weight * gradient``.
    """
    rate, momentum, decay = update.learning_rate, update.momentum, update.weight_decay
    assert rate is not None
    shrink = pull = weight = velocity = 0.0
    states = []
    for _ in range(steps):
        pull, velocity = momentum * pull + decay * (1 + shrink), momentum * velocity + decay * weight + 1
        shrink, weight = shrink - rate * pull, weight - rate * velocity
        states.append((shrink, weight))
    return states


def summed_readout(readout: Readout) -> Loss:
    """The readout as something to take a gradient of."""
    return lambda output, target: readout(output, target).sum()


PerSampleGradients = dict[str, list[Factors] | Tensor]
"""By parameter, factors or (samples, *shape)."""


def gradients(problem: Problem, layout: Layout, batch: Batch) -> PerSampleGradients:
    """Each sample's gradient of ``problem.loss`` at the base model."""
    return backward(problem, layout, layout.base_parameters(problem, len(batch)), batch).by_parameter


def inner_products(a: PerSampleGradients, b: PerSampleGradients) -> Tensor:
    """``<a_i, b_j>`` over all parameters: (samples of a, samples of b)."""
    parts = []
    for name in a.keys() & b.keys():
        one, other = a[name], b[name]
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            parts.append(one.flatten(1) @ other.flatten(1).T)
        else:
            parts += [pairwise_inner(p, q) for p in one for q in other]
    return total(parts)


def inner_products_with_base(problem: Problem, gradients: PerSampleGradients) -> Tensor:
    """``<a_j, base>``, which shrinking the base's parameters goes by: (samples,)."""
    parts = []
    for name, gradient in gradients.items():
        base = problem.trained[name].detach()
        if isinstance(gradient, Tensor):
            parts.append((gradient * base).flatten(1).sum(1))
        else:
            parts += [factors.along(base) for factors in gradient]
    return total(parts)


def samples_at_once(problem: Problem, layout: Layout) -> int:
    """How many gradients of stimuli, and as many of probes, the budget holds with the Gram matrices between them."""
    batch = problem.samples.take(problem.members[:1])
    one = peak_bytes(lambda: gradients(problem, layout, batch), batch.device)
    every = gradients(problem, layout, batch).values()
    factors = [one for several in every if not isinstance(several, Tensor) for one in several]
    matrices = sum(math.prod(one.shape) * one.right.element_size() for one in factors if by_matrices(one, one))
    gram = 3 * max((one.right.shape[1] ** 2 * one.right.element_size() for one in factors), default=0)
    size = LARGEST
    while size > 1 and 2 * size * (one + matrices) + size**2 * gram > problem.memory_budget * GIB:
        size //= 2
    return size
