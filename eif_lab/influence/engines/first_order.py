"""The first-order prediction of influence: what the gradients at the base model say, with no update run."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import jvp

from eif_lab.influence.batch import Batch
from eif_lab.influence.engines.sgd import Gradients, clipping, each, response
from eif_lab.influence.per_sample.factors import Pair, by_matrices, crossed
from eif_lab.influence.per_sample.gradients import GIB, Layout, arranged, backward, unmoved
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.resources.memory import Chunks, peak_bytes
from eif_lab.models.base import Loss
from eif_lab.readouts.readout import Readout

LARGEST = 128
"""Samples at once at most, so that a long measurement is heard of while it runs."""

NOT_DIFFERENTIABLE = ("rank", "correct")


@dataclass
class FirstOrder(Engine):
    r"""The neural-tangent-kernel view: :math:`I_{ij} \approx -r \langle \nabla s_j, \nabla l_i \rangle`.

    Of several steps, with momentum, weight decay and clipping, it is the change that SGD would make if the gradient
    stayed what it is at the base model. Not exact; `agreement` says how far from it.

    Source: Jacot, Gabriel, Hongler, arXiv 1806.07572; one checkpoint of TracIn, Pruthi et al., arXiv 2002.08484.
    """

    exact: ClassVar[bool] = False
    stores_weights: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What it is called in configs and results."""
        return "first_order"

    def refuses(self, problem: Problem) -> str:
        """It follows SGD's response to a constant gradient, and needs readouts that have one."""
        if problem.update.optimizer != "sgd":
            return f"its update is sgd's, not {problem.update.optimizer}'s"
        flat = [name for name in problem.readouts if name in NOT_DIFFERENTIABLE]
        if flat:
            return f"{', '.join(flat)} has no gradient"
        layout = arranged(one_step(problem), pairs=True)
        return layout if isinstance(layout, str) else ""

    def chunks(self, problem: Problem) -> Chunks:
        """As many stimuli at once as the memory budget holds."""
        layout = arranged(one_step(problem), pairs=True)
        assert isinstance(layout, Layout)
        return Chunks(samples_at_once(problem, layout), "stimuli")

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Influence itself, not readings: (stimuli, steps read, probes, readouts)."""
        layout = arranged(one_step(problem), pairs=True)
        assert isinstance(layout, Layout)
        problem.alone.clear()
        states = response(problem.update) if problem.trajectory else response(problem.update)[-1:]
        yield from self.chunks(problem).over(
            len(problem.members), lambda place: predicted(problem, layout, states, problem.members[place])
        )


def predicted(problem: Problem, layout: Layout, states: list[tuple[float, float]], members: Tensor) -> Tensor:
    """The prediction for some stimuli on all probes: (stimuli, steps read, probes, readouts)."""
    change = predicted_rows(problem, layout, states, members)
    if problem.choices is None:
        return change
    base = problem.base_rows.to(change.dtype).expand_as(change).contiguous()
    return jvp(problem.settled, (base,), (change,))[1]


def predicted_rows(problem: Problem, layout: Layout, states: list[tuple[float, float]], members: Tensor) -> Tensor:
    """The prediction of what is read of each row of the probes: (stimuli, steps read, rows, columns)."""
    taught = gradients(problem, layout, problem.samples.take(members))
    factor = clipping(problem.update, taught)
    blocks = []
    for start in range(0, len(problem.probes), len(members)):
        probes = problem.probes.take(slice(start, start + len(members))).map(lambda tensor: tensor[:, None])
        columns = []
        for readout in problem.columns:
            asked = replace(problem, loss=summed(readout))
            read = gradients(asked, layout, probes.map(torch.clone))
            products = each(factor, inner_products(taught, read))
            shrunk = along(problem, read) if problem.update.weight_decay else products.new_zeros(())
            columns.append(torch.stack([weight * products + shrink * shrunk for shrink, weight in states], dim=1))
        blocks.append(torch.stack(columns, dim=-1))
    return torch.cat(blocks, dim=2)


def one_step(problem: Problem) -> Problem:
    """The problem with the one gradient that is looked at here."""
    return replace(problem, update=replace(problem.update, steps=1))


def summed(readout: Readout) -> Loss:
    """The readout as something to take a gradient of."""
    return lambda output, target: readout(output, target).sum()


def gradients(problem: Problem, layout: Layout, batch: Batch) -> dict[str, list[Pair] | Tensor]:
    """Each sample's gradient of ``problem.loss`` at the base model, by parameter."""
    pairs, copies = backward(problem, layout, unmoved(problem, layout, len(batch)), batch)
    return {**pairs, **copies}


def inner_products(a: Gradients, b: Gradients) -> Tensor:
    """``<a_i, b_j>`` over all parameters: (samples of a, samples of b)."""
    parts = []
    for name in a.keys() & b.keys():
        one, other = a[name], b[name]
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            parts.append(one.flatten(1) @ other.flatten(1).T)
        else:
            parts += [crossed(p, q) for p in one for q in other]
    return total(parts)


def along(problem: Problem, gradients: Gradients) -> Tensor:
    """``<a_j, base>``, which shrinking the base's parameters goes by: (samples,)."""
    parts = []
    for name, own in gradients.items():
        base = problem.trained[name].detach()
        if isinstance(own, Tensor):
            parts.append((own * base).flatten(1).sum(1))
        else:
            parts += [pair.along(base) for pair in own]
    return total(parts)


def total(parts: list[Tensor]) -> Tensor:
    """Their sum, in at least float32."""
    precise = functools.reduce(torch.promote_types, (part.dtype for part in parts), torch.float32)
    return torch.stack([part.to(precise) for part in parts]).sum(0)


def samples_at_once(problem: Problem, layout: Layout) -> int:
    """How many gradients of stimuli, and as many of probes, the budget holds with the Gram matrices between them."""
    batch = problem.samples.take(problem.members[:1])
    one = peak_bytes(lambda: gradients(problem, layout, batch), batch.device)
    pairs = [pair for own in gradients(problem, layout, batch).values() if not isinstance(own, Tensor) for pair in own]
    matrices = sum(math.prod(pair.shape) * pair.right.element_size() for pair in pairs if by_matrices(pair, pair))
    gram = 3 * max((pair.right.shape[1] ** 2 * pair.right.element_size() for pair in pairs), default=0)
    size = LARGEST
    while size > 1 and 2 * size * (one + matrices) + size**2 * gram > problem.memory_budget * GIB:
        size //= 2
    return size
