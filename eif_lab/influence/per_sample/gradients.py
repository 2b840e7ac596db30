"""Each stimulus's own gradient, all in one backward pass, and the layout under which it is right."""

from __future__ import annotations

import logging
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from eif_lab.influence.batch import Batch, called
from eif_lab.influence.per_sample.alone import Gradient, base_gradient, disagreement, first_line, norm
from eif_lab.influence.per_sample.axes import Call, Disagreement, calls_of
from eif_lab.influence.per_sample.factors import Outer, Pair, Rows, joined
from eif_lab.influence.per_sample.versions import (
    Change,
    Site,
    Version,
    as_written,
    find_sites,
    installed,
    losses,
    whole,
)
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.memory import Chunks, out_of_memory, peak_bytes

log = logging.getLogger(__name__)

LARGEST_CHUNK = 32
"""Stimuli at once at most, so that a long measurement is heard of while it runs."""

MOST_LOOKED_AT = 16
"""Stimuli that are looked at for two whose gradients say something."""

FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What a model raises that stimuli cannot go through together."""


@dataclass(frozen=True)
class Layout:
    """How each stimulus's parameters are held.

    Attributes:
        sites: The modules that compute with them.
        paired: Weights kept as pairs.
        copied: Parameters kept as a copy per stimulus.
        work: Bytes that a stimulus takes in a backward pass.
        noted: Bytes of the pairs that it leaves.
        calls: What is known of each site's calls, by the shapes of one stimulus's inputs.
    """

    sites: Sequence[Site]
    paired: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    work: int = 0
    noted: int = 0
    calls: dict[tuple[Any, ...], list[list[Call]]] = field(default_factory=dict)

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

    def calls_for(self, problem: Problem, batch: Batch) -> list[list[Call]]:
        """What is known of each site's calls with stimuli of these shapes, found out now where nothing is.

        Args:
            problem: What is asked.
            batch: (stimuli, size, ...).
        """
        key = tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves(batch.inputs))
        if key not in self.calls:
            first = batch.take(slice(1)).map(lambda tensor: tensor[0])

            def run(times: int) -> None:
                several = first.map(lambda tensor: torch.cat([tensor] * times))
                called(problem.model, several.inputs)

            with as_written():
                self.calls[key] = calls_of([site.module for site in self.sites], run)
        return self.calls[key]


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
    if reason := problem.together:
        return reason
    found: Layout | str = ""
    for kind in ("layers", "whole"):
        found = attempted(problem, kind, pairs)
        if isinstance(found, Layout):
            break
    return found


def hoped_for(problem: Problem, pairs: bool) -> Layout | None:
    """The layout by layers, before any trial; None where there is none."""
    if problem.together:
        return None
    try:
        return planned(problem, "layers", pairs)
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return None
    finally:
        problem.state.restore()


def planned(problem: Problem, kind: str, pairs: bool) -> Layout:
    """A layout that was not tried: by ``layers``, or with the ``whole`` model as one."""
    model, trained = problem.model, problem.trained
    if kind not in problem.layouts:  # one for all engines, with what is known of its calls
        by_layer = kind == "layers"
        sites = find_sites(model, trained, problem.likes_channels_last) if by_layer else whole(model, trained)
        problem.layouts[kind] = Layout(sites)
    layout = problem.layouts[kind]
    paired = worth_pairing(problem, layout) if pairs else ()
    return replace(layout, paired=paired, copied=tuple(name for name in trained if name not in paired))


def attempted(problem: Problem, kind: str, pairs: bool) -> Layout | str:
    """The layout if it holds on trial; else why it does not."""
    key: tuple[Any, ...] = (kind, ())
    try:
        layout = planned(problem, kind, pairs)
        key = kind, layout.paired
        if key not in problem.layouts:
            problem.layouts[key] = on_trial(problem, layout)
    except FAILURES as error:
        if out_of_memory(error):
            raise
        told = first_line(error)
        known = isinstance(error, Disagreement)
        problem.layouts[key] = told if known else f"torch.func cannot vectorise this model ({told})"
    finally:
        problem.state.restore()  # such as tensors of a vmap that did not come to its end
    return problem.layouts[key]


def worth_pairing(problem: Problem, layout: Layout) -> tuple[str, ...]:
    """Weights whose pairs are smaller than themselves, over all steps; in low precision all, to lose no update."""
    sites = layout.sites
    weights = [site.weight for site in sites]
    elsewhere = {name for site in sites if site.weight is None for name in site.own.values()}
    elsewhere |= {name for site in sites for local, name in site.own.items() if local != "weight"}
    rows: dict[str, int] = defaultdict(int)
    for site, calls in zip(sites, layout.calls_for(problem, problem.samples.take(problem.members[:1]))):
        if site.weight is not None:
            rows[site.weight] += sum(math.prod(call.gave[0][:-1]) for call in calls if call.gave[0] is not None)

    def smaller(name: str) -> bool:
        weight = problem.trained[name]
        size = rows[name] * problem.update.steps * sum(weight.shape)
        return size < weight.numel() or torch.finfo(weight.dtype).bits < 32

    return tuple(
        name
        for name in problem.trained
        if name in weights and name not in elsewhere and smaller(name) and not problem.trained[name].is_complex()
    )


Gradients = tuple[dict[str, list[Pair]], dict[str, Tensor]]
"""Pairs by weight, and of what is copied (stimuli, *shape) each. What no stimulus's loss depends on is in neither."""


def backward(problem: Problem, layout: Layout, versions: Mapping[str, Version], batch: Batch) -> Gradients:
    """The gradient of each stimulus's loss by its own parameters.

    Args:
        problem: What is asked.
        layout: How parameters are held.
        versions: The parameters, of as many stimuli as there are rows of ``batch``.
        batch: (stimuli, size, ...); a model or loss may change it.

    Raises:
        Disagreement: Stimuli go otherwise through the model together than one alone.
    """
    count, size = batch.targets.shape[:2]
    pairs: dict[str, list[Pair]] = defaultdict(list)
    copies = {name: v.detach().requires_grad_() for name, v in versions.items() if isinstance(v, Tensor)}
    start = torch.zeros((), device=batch.device, requires_grad=True)

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

    calls = layout.calls_for(problem, batch) if count > 1 else None
    site_versions = {**versions, **copies}
    with (
        torch.enable_grad(),
        frozen(problem),
        installed(layout.sites, site_versions, count=count, size=size, calls=calls, record=record),
        warnings.catch_warnings(),
    ):
        # where an operator has no batching rule it is looped over: slower, and right
        warnings.filterwarnings("ignore", message="There is a performance drop")
        outputs = called(problem.model, batch.map(lambda tensor: tensor.flatten(0, 1)).inputs)
        total = losses(problem.loss, outputs, batch.targets)
        asked = [*copies.values(), start]
        gradients: Sequence[Tensor | None] = [None] * len(asked)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, asked, allow_unused=True)
    found = {name: gradient for name, gradient in zip(copies, gradients) if gradient is not None}
    return {name: joined(own) for name, own in pairs.items()}, found


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


def own_gradient(gradients: Gradients, index: int) -> dict[str, Tensor]:
    """One stimulus's gradient as it would be alone."""
    pairs, copies = gradients
    dense = {name: total([pair.only(index).dense()[0] for pair in own]) for name, own in pairs.items()}
    return {**dense, **{name: own[index] for name, own in copies.items()}}


def total(parts: Sequence[Tensor]) -> Tensor:
    """Their sum."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)


def on_trial(problem: Problem, layout: Layout) -> Layout:
    """The layout with what a stimulus takes, where the gradient of two is what each has alone.

    Raises:
        Disagreement: It is not.
    """
    rows, alone = zip(*telling(problem))
    members = torch.stack(rows)
    found: list[Gradients] = []

    def together() -> None:
        found.append(backward(problem, layout, unmoved(problem, layout, len(members)), problem.samples.take(members)))

    work = peak_bytes(together, members.device)
    gradients = found.pop()
    noted = sum(pair.nbytes for own in gradients[0].values() for pair in own)
    jury = Jury(problem)
    for index, gradient in enumerate(alone):
        if gradient:
            jury.hear(own_gradient(gradients, index), gradient)
    return replace(layout, work=work // len(members), noted=noted // len(members))


class Jury:
    """Whether gradients among others are those alone; a single one may be off as far as a kink explains."""

    def __init__(self, problem: Problem) -> None:
        self.strict = problem.update.moves_without_gradient
        self.off = 0

    def hear(self, own: Mapping[str, Tensor], alone: Gradient) -> bool:
        """Look at one stimulus's.

        Returns:
            Whether they are the same.

        Raises:
            Disagreement: They are not.
        """
        reason = disagreement(own, alone, strict=self.strict)
        self.off += bool(reason)
        if reason and (self.off > 1 or disagreement(own, alone, strict=self.strict, kinked=True)):
            raise Disagreement(reason)
        return not reason


def telling(problem: Problem) -> list[tuple[Tensor, Gradient]]:
    """The rows of two stimuli with the gradients that they have alone, of the first few that say something."""
    if problem.members.is_meta:
        return [(rows, {}) for rows in problem.members[:2]]
    said, silent = list[tuple[Tensor, Gradient]](), list[tuple[Tensor, Gradient]]()
    for rows in problem.members[:: math.ceil(len(problem.members) / MOST_LOOKED_AT)]:
        gradient = base_gradient(problem, rows)
        (said if says_something(gradient) else silent).append((rows, gradient))
        if len(said) == 2:
            break
        del silent[2:]
    return (said + silent)[:2]


def says_something(gradient: Gradient) -> bool:
    """Whether a gradient is finite, and not zero."""
    norms = [float(norm(one)) for one in gradient.values() if one is not None]
    return any(norms) and all(map(math.isfinite, norms))
