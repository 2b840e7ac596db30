"""Reading every probe under one stimulus's parameters, at close to the cost of a plain forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property

import torch
from jaxtyping import Shaped
from torch import Tensor

from eif_lab.influence.per_sample.layers.layer import FactoredWeight, Parameters, Site
from eif_lab.influence.per_sample.sites import with_stimulus_parameters
from eif_lab.influence.reading.cost import cheaper_merged
from eif_lab.influence.reading.passes import Passes, Wanted
from eif_lab.methods.mergeable import Mergeable, mergeable_layers


class StimulusReader:
    """Plain kernels with one stimulus's weights; a change of a weight is merged into it or kept beside it.

    Args:
        passes: How the probes go through the model.
        sites: The modules that compute with what is trained.
        each: How many rows a stimulus is read on.
    """

    def __init__(self, passes: Passes, sites: Sequence[Site], each: float) -> None:
        self.passes = passes
        self.sites = [site for site in sites if site.weight is not None]
        self.weights = {name: p.detach() for name, p in passes.base.model.named_parameters(remove_duplicate=False)}
        self.each = each
        self.buffers: dict[str, Tensor] = {}

    @cached_property
    def rows(self) -> Mapping[str, float]:
        """How many rows a stimulus's probes send through the module of each weight, by the reading of the base."""
        modules = {id(site.module): site.weight for site in self.sites if site.weight is not None}
        modules |= {id(one.base): one.weight for one in mergeable_layers(self.passes.base.model)}
        rows: dict[str, float] = defaultdict(float)
        for module, name in modules.items():
            rows[name] += self.passes.rows_through.get(module, 0) * self.each / len(self.passes.probes)
        return rows

    @cached_property
    def mergeable(self) -> list[Mergeable]:
        """The layers of a method that are merged into the weights that they stand beside."""
        return [one for one in mergeable_layers(self.passes.base.model) if self.merges(one.weight, one.rank)]

    @torch.no_grad()
    def read_rows(self, parameters: Parameters, index: int, wanted: Wanted = None) -> Shaped[Tensor, "rows columns"]:
        """What is read of each row that is wanted under the parameters of the stimulus at ``index``."""
        plain: dict[str, Tensor] = {}
        beside: dict[str, FactoredWeight] = {}
        for name, parameter in parameters.items():
            if isinstance(parameter, Tensor):
                plain[name] = parameter[index].to(self.weights[name].dtype)
            elif self.merges(name, parameter.rank):
                plain[name] = self.merged(name, parameter, index)
            else:
                beside[name] = parameter.only(index)
        with ExitStack() as stack:
            for one in self.mergeable:
                down, up = (plain.pop(name) if name in plain else self.weights[name] for name in (one.down, one.up))
                plain[one.weight] = one.merged(self.weights[one.weight], down, up, self.buffer(one.weight))
                stack.enter_context(one.bypassed())
            stack.enter_context(with_stimulus_parameters(self.sites, beside))
            return self.passes.read_rows(plain, wanted)

    def merges(self, name: str, rank: int) -> bool:
        """Whether a change of this rank is put into its weight; never in low precision, where it would be lost."""
        weight = self.weights[name]
        if not weight.is_floating_point() or torch.finfo(weight.dtype).bits < 32:
            return False
        compiled = self.passes.kernels is not None
        return compiled or cheaper_merged(weight.flatten(1).shape, rank, self.rows[name])

    def merged(self, name: str, change: FactoredWeight, index: int) -> Tensor:
        """The weight with the change in it."""
        out = torch.mul(self.weights[name], change.scale, out=self.buffer(name))
        for one in change.factors:
            one.add_to(out, index)
        return out

    def buffer(self, name: str) -> Tensor:
        """Memory for a merged weight, which the next stimulus takes over."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty_like(self.weights[name])
        return self.buffers[name]
