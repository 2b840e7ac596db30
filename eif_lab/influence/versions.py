"""Many versions of a model in one forward pass: each stimulus goes through its own.

A batch holds the rows of stimulus 0, then those of stimulus 1, and so on. The modules that own what is trained compute
with each stimulus's own parameters; everything else is computed as always, for all rows at once. Linear layers,
embeddings and convolutions do so by batched matrix products (a convolution of its unfolded input), any other module by
``torch.func.vmap`` over itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from eif_lab.influence.pairs import Pair, rows_of
from eif_lab.models.base import Loss


@dataclass(frozen=True)
class Change:
    """A matrix of each stimulus, as ``scale`` times the base's and what is added to it; it is never formed."""

    scale: float = 1.0
    pairs: Sequence[Pair] = ()

    def only(self, index: int) -> Change:
        """One stimulus's."""
        return Change(self.scale, [pair.only(index) for pair in self.pairs])

    @property
    def rank(self) -> int:
        """How many outer products it is a sum of."""
        return sum(pair.right.shape[1] for pair in self.pairs)


Version = Tensor | Change
"""A parameter of each of several stimuli: (stimuli, *shape), or a `Change` of it."""

Sides = tuple[int, int]
"""Of height and width."""

Record = Callable[[str, Tensor, Tensor], Tensor]
"""Given each pass through a layer whose weight is a `Change`: its weight's name, (stimuli, rows, in) or (stimuli, ids),
and the output, which it hands back."""


@dataclass(frozen=True)
class Site:
    """A module that computes with trained parameters.

    Attributes:
        module: The module.
        own: Its trained parameters: name in the module to name in the model.
        forward: (site, count, versions, record) to the forward that computes with each stimulus's own.
    """

    module: Any
    own: Mapping[str, str]
    forward: Callable[..., Callable[..., Any]] = field(repr=False)

    @property
    def weight(self) -> str | None:
        """The model's name of the matrix that may be a `Change`; None where there is none."""
        return self.own.get("weight") if self.forward in (linear, embedding) else None


def find_sites(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> list[Site]:
    """The smallest modules that together own all that is trained."""
    names = {id(p): name for name, p in trained.items()}
    sites: list[Site] = []
    seen: set[int] = set()

    def owned(module: nn.Module, recurse: bool) -> dict[str, str]:
        parameters = module.named_parameters(recurse=recurse, remove_duplicate=False)
        return {local: names[id(p)] for local, p in parameters if id(p) in names}

    def visit(module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        own, rule = owned(module, recurse=False), batched_rule(module)
        inside = [c for c in module.children() if isinstance(c, nn.ParameterList | nn.ParameterDict) and owned(c, True)]
        if own and rule is not None:
            sites.append(Site(module, own, rule))
        elif own or inside:
            sites.append(Site(module, owned(module, recurse=True), vectorised))
        else:
            for child in module.children():
                visit(child)

    visit(model)
    return sites


def whole(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> list[Site]:
    """The model as one site: for those whose parameters are used outside the modules that own them."""
    return [Site(model, {name: name for name in trained}, vectorised)]


def batched_rule(module: nn.Module) -> Callable[..., Callable[..., Any]] | None:
    """How a layer computes with a weight per stimulus by batched products; None where that is not known."""
    forward = type(module).forward
    if forward is nn.Linear.forward:
        return linear
    if isinstance(module, nn.Embedding) and forward is nn.Embedding.forward:
        plain = module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
        return embedding if plain else None
    if isinstance(module, nn.Conv2d) and forward is nn.Conv2d.forward:
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return convolution if plain else None
    return None


@torch.no_grad()
def count_rows(call: Callable[[], Any], modules: Mapping[int, str]) -> dict[str, int]:
    """How many rows a call sends through each of the modules.

    Args:
        call: Runs the model.
        modules: A name for each, by ``id``; counts of one name add up.
    """
    rows: dict[str, int] = dict.fromkeys(modules.values(), 0)

    def count(module: nn.Module, _: Any, output: Any) -> None:
        if id(module) in modules and isinstance(output, Tensor):
            width = output.shape[1] if isinstance(module, nn.Conv2d) else output.shape[-1]
            rows[modules[id(module)]] += output.numel() // width

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        call()
    finally:
        handle.remove()
    return rows


@contextmanager
def installed(
    sites: Sequence[Site], count: int, versions: Mapping[str, Version], record: Record | None = None
) -> Iterator[None]:
    """Within this, each site that has a version computes with it; batches hold ``count`` stimuli's rows in turn."""
    modules = []
    try:
        for site in sites:
            own = {local: versions[name] for local, name in site.own.items() if name in versions}
            if own:
                site_forward = site.forward(site, count, own, record)
                modules.append((site.module, site.module.__dict__.get("forward")))
                site.module.__dict__["forward"] = site_forward
        yield
    finally:
        for module, before in modules:
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before


def linear(site: Site, count: int, own: Mapping[str, Version], record: Record | None) -> Callable[..., Tensor]:
    """``x W_i^T + b_i``."""
    module, weight, bias = site.module, own.get("weight", Change()), tensors(own).get("bias")

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(count, -1, x.shape[-1])
        plain_bias = None if bias is not None else module.bias
        if isinstance(weight, Tensor):
            y = torch.bmm(rows, weight.mT)
            y = y if plain_bias is None else y + plain_bias
        elif not weight.pairs and weight.scale == 1:
            y = F.linear(rows, module.weight, plain_bias)
        else:
            y = scaled(F.linear(rows, module.weight), weight.scale)
            for pair in weight.pairs:
                y = y + pair.times(rows)
            y = y if plain_bias is None else y + plain_bias
        if bias is not None:
            y = (y + bias[:, None]).to(y.dtype)
        if record is not None and "weight" in own and isinstance(weight, Change):
            y = record(site.own["weight"], rows, y)
        return y.view(*x.shape[:-1], -1)

    return forward


def embedding(site: Site, count: int, own: Mapping[str, Version], record: Record | None) -> Callable[..., Tensor]:
    """Rows of ``W_i``; what stands at the padding index is not trained."""
    module, weight = site.module, own["weight"]

    def forward(ids: Tensor) -> Tensor:
        flat = ids.reshape(count, -1)
        if isinstance(weight, Tensor):
            y = weight[torch.arange(count, device=ids.device)[:, None], flat]
        else:
            y = scaled(F.embedding(flat, module.weight), weight.scale)
            for pair in weight.pairs:
                y = y + rows_of(pair, flat)
        if record is not None and isinstance(weight, Change):
            y = record(site.own["weight"], flat, y)
        if module.padding_idx is not None:
            y = torch.where((flat == module.padding_idx)[..., None], y.detach(), y)
        return y.view(*ids.shape, -1)

    return forward


def convolution(site: Site, count: int, own: Mapping[str, Version], _: Record | None) -> Callable[..., Tensor]:
    """``W_i`` times the unfolded input: a convolution whose weights differ per sample is slow."""
    module, given = site.module, tensors(own)
    weight, bias = given.get("weight"), given.get("bias")

    def forward(x: Tensor) -> Tensor:
        if weight is None:
            y = F.conv2d(x, module.weight, None, module.stride, module.padding, module.dilation)
            own_bias = given["bias"]  # or it would not be a site
            return (y.view(count, -1, *y.shape[1:]) + own_bias[:, None, :, None, None]).flatten(0, 1)
        patches = Patches.apply(x, module.kernel_size, module.dilation, module.padding, module.stride)
        rows = patches.view(count, -1, patches.shape[-1])
        matrix = weight.permute(0, 3, 4, 2, 1).flatten(1, 3)
        added = module.bias if bias is None else bias[:, None]
        y = torch.bmm(rows, matrix) if added is None else torch.baddbmm(added, rows, matrix)
        return y.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)

    return forward


class Patches(torch.autograd.Function):
    """``torch.nn.functional.unfold`` with the channels last, by strided copies: on a CPU in a fraction of its time."""

    @staticmethod
    def forward(x: Tensor, kernel: Sides, dilation: Sides, padding: Sides, stride: Sides) -> Tensor:
        """(n, channels, height, width) to (n, places down, places across, kernel * channels)."""
        padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        padded = padded.contiguous(memory_format=torch.channels_last)
        n, channels, *sides = padded.shape
        places = [(size - d * (k - 1) - 1) // s + 1 for size, k, d, s in zip(sides, kernel, dilation, stride)]
        batch, channel, down, across = padded.stride()
        steps = (down * stride[0], across * stride[1], down * dilation[0], across * dilation[1])
        return padded.as_strided((n, *places, *kernel, channels), (batch, *steps, channel)).flatten(3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the shapes alone."""
        x, *ctx.options = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients at the patches, added up where they overlap."""
        (n, channels, height, width), (kernel, dilation, padding, stride) = ctx.shape, ctx.options
        parts = gradient.unflatten(3, (*kernel, channels))
        padded = gradient.new_zeros(n, height + 2 * padding[0], width + 2 * padding[1], channels)
        for i, j in product(*map(range, kernel)):
            down = slice(i * dilation[0], i * dilation[0] + stride[0] * (parts.shape[1] - 1) + 1, stride[0])
            across = slice(j * dilation[1], j * dilation[1] + stride[1] * (parts.shape[2] - 1) + 1, stride[1])
            padded[:, down, across] += parts[:, :, :, i, j]
        inside = padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        return inside.permute(0, 3, 1, 2), None, None, None, None


def vectorised(site: Site, count: int, own: Mapping[str, Version], _: Record | None) -> Callable[..., Any]:
    """Any module, by ``vmap`` over its parameters and every tensor that it is given."""
    module = copy.copy(site.module)
    module.__dict__.pop("forward", None)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):
        module.__dict__[hooks] = type(getattr(module, hooks))()
    versions = tensors(own)
    narrow = any(v.dtype != site.module.get_parameter(local).dtype for local, v in versions.items())

    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = pytree.tree_flatten((args, kwargs))
        split = [isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] % count == 0 for leaf in leaves]
        parts = [leaf.reshape(count, -1, *leaf.shape[1:]) if s else leaf for leaf, s in zip(leaves, split)]

        def one(parameters: dict[str, Tensor], *given: Any) -> Any:
            positional, named = pytree.tree_unflatten(list(given), structure)
            return functional_call(module, parameters, positional, named)

        result = vmap(one, in_dims=(0, *(0 if s else None for s in split)))(versions, *parts)
        like = next((leaf.dtype for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)

        def joined(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            flat = leaf.flatten(0, 1) if leaf.ndim > 1 else leaf
            return flat.to(like) if narrow and like is not None else flat

        return pytree.tree_map(joined, result)

    return forward


def tensors(own: Mapping[str, Version]) -> dict[str, Tensor]:
    """Those versions that are copies."""
    return {name: version for name, version in own.items() if isinstance(version, Tensor)}


def scaled(y: Tensor, scale: float) -> Tensor:
    """``scale * y``, without a pass over it where that is nothing."""
    return y if scale == 1 else y * scale


def losses(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over stimuli of each one's loss: its gradient by a stimulus's parameters is that stimulus's own.

    Args:
        loss: (output, targets) to a mean.
        outputs: (stimuli * rows, ...).
        targets: (stimuli, rows, ...).
    """
    own = outputs.reshape(len(targets), -1, *outputs.shape[1:])
    return torch.stack([loss(output, target) for output, target in zip(own, targets)]).sum()
