"""Many stimuli in one forward pass, each with parameters of its own.

A batch holds the rows of stimulus 0, then those of stimulus 1, and so on. The modules that own what is trained compute
with each stimulus's parameters (`layers`); everything else is computed as always, for all rows at once. Which axis of a
tensor is the stimuli's is known from `axes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from eif_lab.influence.per_sample.axes import Call, Calls
from eif_lab.influence.per_sample.layers.any import ANY
from eif_lab.influence.per_sample.layers.layer import Parameters, Record, Site, Stack, rule_of


def find_sites(model: nn.Module, trained: Mapping[str, nn.Parameter], channels_last: bool) -> list[Site]:
    """The smallest modules that together own all trained parameters."""
    names = {id(p): name for name, p in trained.items()}
    sites: list[Site] = []
    seen: set[int] = set()

    def owned(module: nn.Module, recurse: bool) -> dict[str, str]:
        parameters = module.named_parameters(recurse=recurse, remove_duplicate=False)
        return {local: names[id(p)] for local, p in parameters if id(p) in names}

    def used_by(module: nn.Module) -> bool:
        """Whether it computes with parameters that its children hold for it."""
        lists = (nn.ParameterList, nn.ParameterDict)
        return is_parametrized(module) or any(isinstance(c, lists) and owned(c, True) for c in module.children())

    def visit(module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        direct, rule, every = owned(module, recurse=False), rule_of(module), owned(module, recurse=True)
        if direct and rule is not None and len(direct) == len(every):
            sites.append(Site(module, direct, rule, channels_last))
        elif direct or (every and used_by(module)):
            sites.append(Site(module, every, ANY))
        else:
            for child in module.children():
                visit(child)

    visit(model)
    return sites


def one_site(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> list[Site]:
    """The model as one site: for those whose parameters are used outside the modules that own them."""
    return [Site(model, {name: name for name in trained}, ANY)]


@contextmanager
def with_stimulus_parameters(
    sites: Sequence[Site],
    parameters: Parameters,
    *,
    count: int = 1,
    size: int = 1,
    calls: Sequence[Sequence[Call]] | None = None,
    record: Record | None = None,
) -> Iterator[None]:
    """Within this, each site that has parameters of stimuli computes with them.

    Args:
        sites: The modules.
        parameters: By their names in the model.
        count: Of how many stimuli; a batch holds their rows in turn.
        size: Rows of each.
        calls: Of each site what is known of its calls; with one stimulus nothing need be.
        record: Called with each pass through a layer whose weight is a `FactoredWeight`.
    """
    modules: list[tuple[Any, Any]] = []
    stack = ExitStack()
    try:
        for site, known in zip(sites, calls or [()] * len(sites)):
            local = {one: parameters[name] for one, name in site.names.items() if name in parameters}
            if local and not modules:
                stack.enter_context(without_fast_attention())
            if local:
                site_forward = site.rule.forward(site, local, Stack(count, size, Calls(known, count), record))
                modules.append((site.module, site.module.__dict__.get("forward")))
                site.module.__dict__["forward"] = site_forward
        yield
    finally:
        stack.close()
        for module, before in modules:
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before


@contextmanager
def without_fast_attention() -> Iterator[None]:
    """Within this, torch's attention computes by its layers' own forwards, and not by a fast path past them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
