"""Each stimulus's own gradient, all in one backward pass, and the trial that it is right."""

from __future__ import annotations

import logging
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eif_lab.influence.memory import Chunks, out_of_memory, peak_bytes
from eif_lab.influence.pairs import Outer, Pair, Rows, joined
from eif_lab.influence.problem import GIB, Batch, Problem
from eif_lab.influence.versions import Change, Site, Version, count_rows, find_sites, installed, losses, whole

log = logging.getLogger(__name__)

LARGEST_CHUNK = 32
"""Stimuli at once at most, so that a long measurement is heard of while it runs."""


@dataclass(frozen=True)
class Layout:
    """How each stimulus's parameters are held.

    Attributes:
        sites: The modules that compute with them.
        paired: Weights kept as pairs.
        copied: Parameters kept as a copy per stimulus.
        work: Bytes that a stimulus takes in a backward pass.
        noted: Bytes of the pairs that it leaves.
    """

    sites: Sequence[Site]
    paired: tuple[str, ...]
    copied: tuple[str, ...]
    work: int = 0
    noted: int = 0

    def chunks(self, problem: Problem, copies: int) -> Chunks:
        """How many stimuli go at once: as many as the budget holds beside a pass over probes.

        Args:
            problem: What is asked.
            copies: How often what is copied is held: as it is, and what the optimizer keeps of it.
        """
        kept = 2 * problem.update.steps * self.noted
        held = copies * sum(problem.trained[name].nbytes for name in self.copied)
        room = problem.memory_budget * GIB - problem.pass_bytes - sum(problem.trained[n].nbytes for n in self.paired)
        return Chunks(max(1, min(LARGEST_CHUNK, int(room / (self.work + kept + held)))), "stimuli")


def arranged(problem: Problem, pairs: bool) -> Layout | str:
    """The layout under which each stimulus's gradient is right; or why there is none. Found out once per problem.

    Args:
        problem: What is asked.
        pairs: Keep weights as pairs where that is smaller than a copy.
    """
    if pairs not in problem.layouts:
        problem.layouts[pairs] = tried(problem, pairs)
    return problem.layouts[pairs]


def tried(problem: Problem, pairs: bool) -> Layout | str:
    """As `arranged`, found out now."""
    trained, reason = problem.trained, ""
    for sites in (find_sites(problem.model, trained), whole(problem.model, trained)):
        try:
            paired = worth_pairing(problem, sites) if pairs else ()
            layout = Layout(sites, paired, tuple(name for name in trained if name not in paired))
            layout, reason = on_trial(problem, layout)
        except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError, AttributeError) as error:
            if out_of_memory(error):
                raise
            reason = f"torch.func cannot vectorise this model ({str(error).strip().splitlines()[0]})"
        if not reason:
            return layout
    return reason


def worth_pairing(problem: Problem, sites: Sequence[Site]) -> tuple[str, ...]:
    """Weights whose pairs are smaller than themselves, over all steps; in low precision all, to lose no update."""
    weights = [site.weight for site in sites]
    elsewhere = {name for site in sites if site.weight is None for name in site.own.values()}
    elsewhere |= {name for site in sites for local, name in site.own.items() if local != "weight"}
    batch = problem.samples.take(problem.members[0])
    rows = count_rows(lambda: problem.model(batch.inputs), {id(s.module): s.weight for s in sites if s.weight})

    def smaller(name: str) -> bool:
        weight = problem.trained[name]
        size = rows.get(name, 0) * problem.update.steps * sum(weight.shape)
        return size < weight.numel() or torch.finfo(weight.dtype).bits < 32

    return tuple(name for name in problem.trained if name in weights and name not in elsewhere and smaller(name))


def backward(
    problem: Problem, layout: Layout, versions: Mapping[str, Version], inputs: Tensor, targets: Tensor
) -> tuple[dict[str, list[Pair]], dict[str, Tensor]]:
    """The gradient of each stimulus's loss by its own parameters.

    Args:
        problem: What is asked.
        layout: How parameters are held.
        versions: The parameters, of as many stimuli as there are rows of ``inputs``.
        inputs, targets: (stimuli, size, ...).

    Returns:
        Pairs by weight, and gradients of what is copied, (stimuli, *shape) each.
    """
    count = len(inputs)
    pairs: dict[str, list[Pair]] = defaultdict(list)
    copies = {name: v.detach().requires_grad_() for name, v in versions.items() if isinstance(v, Tensor)}
    start = torch.zeros((), device=inputs.device, requires_grad=True)

    def record(name: str, rows: Tensor, y: Tensor) -> Tensor:
        rows = rows.detach()
        y = y if y.requires_grad else y + start.to(y.dtype)

        def keep(gradient: Tensor) -> None:
            if rows.is_floating_point():
                pairs[name].append(Outer(rows, gradient))
            else:
                pairs[name].append(Rows(gradient, rows, problem.trained[name].shape[0]))

        # a hook sees the gradient of the output as it is here, also where something changes it in place afterwards
        y.register_hook(keep)
        return y

    with torch.enable_grad(), frozen(problem), installed(layout.sites, count, {**versions, **copies}, record):
        outputs = problem.model(inputs.flatten(0, 1))
        total = losses(problem.loss, outputs, targets)
        asked = [*copies.values(), start]
        with warnings.catch_warnings():  # where an operator has no batching rule it is looped over: slower, and right
            warnings.filterwarnings("ignore", message="There is a performance drop")
            gradients = torch.autograd.grad(total, asked, allow_unused=True)
    zeros = (torch.zeros_like(v) if g is None else g for v, g in zip(copies.values(), gradients))
    return {name: joined(own) for name, own in pairs.items()}, dict(zip(copies, zeros))


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


def unmoved(problem: Problem, layout: Layout, count: int) -> dict[str, Version]:
    """The base's parameters, for each of ``count`` stimuli."""
    versions: dict[str, Version] = {name: Change() for name in layout.paired}
    for name in layout.copied:
        base = problem.trained[name].detach()
        versions[name] = base.to(torch.promote_types(base.dtype, torch.float32)).expand(count, *base.shape)
    return versions


def on_trial(problem: Problem, layout: Layout) -> tuple[Layout, str]:
    """The layout with what a stimulus takes, and where the first two's gradient is wrong; empty where it is not."""
    members = problem.members[:2]
    batch, found = problem.samples.take(members), list[Any]()

    def together() -> None:
        found.append(backward(problem, layout, unmoved(problem, layout, len(members)), *batch))

    work = peak_bytes(together, batch.inputs.device)
    pairs, copies = found.pop()
    noted = sum(pair.nbytes for own in pairs.values() for pair in own)
    known = replace(layout, work=work // len(members), noted=noted // len(members))
    return known, "" if batch.inputs.is_meta else disagreement(problem, batch, pairs, copies)


def disagreement(
    problem: Problem, batch: Batch, pairs: Mapping[str, Sequence[Pair]], copies: Mapping[str, Tensor]
) -> str:
    """Where the gradient of some stimuli differs from autograd's plain one; empty where it does not.

    Of a model whose gradient would not fit the budget, some parameters are looked at.
    """
    looked_at = some(problem.trained, problem.memory_budget * GIB / 8)
    for row, (inputs, targets) in enumerate(zip(*batch)):
        with torch.enable_grad():
            loss = problem.loss(problem.model(inputs), targets)
            plain = torch.autograd.grad(loss, [problem.trained[name] for name in looked_at], allow_unused=True)
        expected = [torch.zeros_like(problem.trained[n]) if g is None else g for n, g in zip(looked_at, plain)]
        largest = max(float(g.abs().max()) for g in expected)
        if not math.isfinite(largest):
            continue  # this stimulus diverges in any engine
        loose = 1e-2 if all(torch.finfo(g.dtype).bits >= 32 for g in expected) else 0.1
        for name, gradient in zip(looked_at, expected):
            own = copies[name][row] if name in copies else sum(p.only(row).dense()[0] for p in pairs.get(name, ()))
            # a gradient that is zero in truth is rounding noise, of the size of the others' rounding
            slack = 0.1 * loose * float(gradient.abs().max()) + 1e-4 * loose * largest
            if not torch.allclose(torch.as_tensor(own).to(gradient), gradient, rtol=loose, atol=slack):
                return f"torch.func gives another gradient of {name} than autograd"
    return ""


def some(trained: Mapping[str, Tensor], size: float) -> list[str]:
    """Names spread over the model whose gradients take no more than ``size`` bytes; at least one."""
    names = list(trained)
    step = 1
    while step < len(names) and sum(trained[name].nbytes for name in names[::step]) > size:
        step += 1
    return names[::step]
