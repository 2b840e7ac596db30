"""Reading every probe under one stimulus's version of the model, at close to the cost of a plain forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from eif_lab.influence.per_sample.versions import Change, Site, Version, count_rows, installed
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.cost import cheaper_merged
from eif_lab.methods.peft import lora_layers


class Reader:
    """Plain kernels with one stimulus's weights; what changes a weight is merged into it or kept beside it.

    Args:
        problem: What is asked.
        sites: The modules that compute with what is trained.
    """

    def __init__(self, problem: Problem, sites: Sequence[Site]) -> None:
        self.problem = problem
        self.sites = [site for site in sites if site.weight is not None]
        self.weights = {name: p.detach() for name, p in problem.model.named_parameters(remove_duplicate=False)}
        lora = lora_layers(problem.model)
        modules = {id(site.module): site.weight for site in self.sites if site.weight is not None}
        modules |= {id(one.base): one.weight for one in lora}
        self.rows = rows_through(problem, modules) if modules else {}
        self.lora = [one for one in lora if self.merges(one.weight, one.rank)]
        self.memory: dict[str, Tensor] = {}

    @torch.no_grad()
    def read_rows(self, versions: Mapping[str, Version], index: int) -> Tensor:
        """What is read of each row under the version of the stimulus at ``index``: (rows, columns)."""
        plain: dict[str, Tensor] = {}
        beside: dict[str, Version] = {}
        for name, version in versions.items():
            if isinstance(version, Tensor):
                plain[name] = version[index].to(self.weights[name].dtype)
            elif self.merges(name, version.rank):
                plain[name] = self.merged(name, version, index)
            else:
                beside[name] = version.only(index)
        with ExitStack() as stack:
            for one in self.lora:
                down, up = (plain.pop(name) if name in plain else self.weights[name] for name in (one.down, one.up))
                plain[one.weight] = one.merged(self.weights[one.weight], down, up, self.room(one.weight))
                stack.enter_context(one.bypassed())
            stack.enter_context(installed(self.sites, beside))
            return self.problem.read_rows(plain)

    def merges(self, name: str, rank: int) -> bool:
        """Whether a change of this rank is put into its weight; never in low precision, where it would be lost."""
        weight = self.weights[name]
        if not weight.is_floating_point() or torch.finfo(weight.dtype).bits < 32:
            return False
        return self.problem.compiled or cheaper_merged(weight.flatten(1).shape, rank, self.rows.get(name, 0))

    def merged(self, name: str, change: Change, index: int) -> Tensor:
        """The weight with the change in it."""
        out = torch.mul(self.weights[name], change.scale, out=self.room(name))
        for pair in change.pairs:
            pair.add_to(out, index)
        return out

    def room(self, name: str) -> Tensor:
        """Memory for a merged weight, which the next stimulus takes over."""
        if name not in self.memory:
            self.memory[name] = torch.empty_like(self.weights[name])
        return self.memory[name]


def rows_through(problem: Problem, modules: Mapping[int, str]) -> dict[str, float]:
    """How many rows all probes send through each of the modules, as the first pass has it, or its first probe."""
    every = len(problem.probes)
    first = slice(min(problem.passes.size, every))
    if isinstance(problem.arranged(first)[0], Tensor):  # no prefixes are shared: all probes are alike
        first = slice(1)
    rows = count_rows(lambda: problem.read_some(problem.model, *problem.arranged(first)), modules)
    return {name: count * every / first.stop for name, count in rows.items()}
