"""How each stimulus's parameters are held: as a copy, or as factors of its change."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from eif_lab.influence.batch import Batch, call_model
from eif_lab.influence.per_sample.axes import Call, calls_of
from eif_lab.influence.per_sample.layers.layer import FactoredWeight, Parameter, Site
from eif_lab.influence.per_sample.sites import without_fast_attention
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.memory import Chunks

LARGEST_CHUNK = 32
"""Stimuli at once at most, so that a long measurement shows its progress."""


@dataclass(frozen=True)
class Layout:
    """How each stimulus's parameters are held.

    Attributes:
        sites: The modules that compute with them.
        factored: Weights whose change is held as factors.
        copied: Parameters held as a copy per stimulus.
        work: Bytes that a stimulus takes in a backward pass.
        factor_bytes: Bytes of the factors that it leaves.
        calls: What is known of each site's calls, by the shapes of one stimulus's inputs.
    """

    sites: Sequence[Site]
    factored: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    work: int = 0
    factor_bytes: int = 0
    calls: dict[tuple[Any, ...], list[list[Call]]] = field(default_factory=dict)

    def chunks(self, problem: Problem, copies: int, pass_bytes: int) -> Chunks:
        """How many stimuli go at once: as many as the budget holds beside a pass over probes.

        Args:
            problem: What is measured.
            copies: How often a copied parameter is held: itself, and the optimizer's memory of it.
            pass_bytes: What a pass over probes takes.
        """
        room = problem.memory_budget * GIB - pass_bytes - self.merged_bytes(problem)
        return Chunks(max(1, min(LARGEST_CHUNK, int(room / self.stimulus_bytes(problem, copies)))), "stimuli")

    def stimulus_bytes(self, problem: Problem, copies: int) -> int:
        """What each stimulus of a chunk takes."""
        factors = 2 * problem.steps * self.factor_bytes
        return self.work + factors + copies * sum(problem.trained[name].nbytes for name in self.copied)

    def merged_bytes(self, problem: Problem) -> int:
        """What the weights take into which one stimulus's factors are put."""
        return sum(problem.trained[name].nbytes for name in self.factored)

    def calls_for(self, problem: Problem, batch: Batch) -> list[list[Call]]:
        """The axes of each site's calls with stimuli of these shapes; they are found by a trial at the first request.

        Args:
            problem: What is measured.
            batch: (stimuli, size, ...).
        """
        key = tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves(batch.inputs))
        if key not in self.calls:
            first = batch.take(slice(1)).map(lambda tensor: tensor[0])

            def run(times: int) -> None:
                several = first.map(lambda tensor: torch.cat([tensor] * times))
                call_model(problem.model, several.inputs)

            with without_fast_attention():
                self.calls[key] = calls_of([site.module for site in self.sites], run)
        return self.calls[key]

    def base_parameters(self, problem: Problem, count: int) -> dict[str, Parameter]:
        """The base's parameters, for each of ``count`` stimuli."""
        parameters: dict[str, Parameter] = {name: FactoredWeight() for name in self.factored}
        for name in self.copied:
            base = problem.trained[name].detach()
            precise = base.to(torch.promote_types(base.dtype, torch.float32))
            parameters[name] = precise.expand(count, *base.shape)
        return parameters


def worth_factoring(problem: Problem, layout: Layout) -> tuple[str, ...]:
    """Weights whose factors are smaller than themselves, over all steps; in low precision all, to lose no update."""
    sites = layout.sites
    weights = [site.weight for site in sites]
    elsewhere = {name for site in sites if site.weight is None for name in site.names.values()}
    elsewhere |= {name for site in sites for local, name in site.names.items() if local != "weight"}
    rows: dict[str, int] = defaultdict(int)
    for site, calls in zip(sites, layout.calls_for(problem, problem.samples.take(problem.first_rows[:1]))):
        if site.weight is not None:
            rows[site.weight] += sum(math.prod(call.outputs[0][:-1]) for call in calls if call.outputs[0] is not None)

    times = sum(map(len, problem.batches)) / len(problem.batches[0])  # steps, of which some have fewer rows

    def smaller(name: str) -> bool:
        weight = problem.trained[name]
        size = rows[name] * times * sum(weight.shape)
        return size < weight.numel() or torch.finfo(weight.dtype).bits < 32

    return tuple(
        name
        for name in problem.trained
        if name in weights and name not in elsewhere and smaller(name) and not problem.trained[name].is_complex()
    )


def inseparable(problem: Problem) -> str:
    """Why stimuli cannot go through the model together, whatever the layout; empty where they may."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in problem.model.modules()):
        return "a scripted or traced module cannot be taken apart"
    if problem.base.leaks is None:
        with torch.no_grad():
            call_model(problem.model, problem.samples.take(problem.first_rows[0]).inputs)
        problem.base.note_leaks()
    return f"a call of the model changes its {problem.base.leaks}" if problem.base.leaks else ""
