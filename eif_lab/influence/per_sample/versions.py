"""Many versions of a model in one forward pass: each stimulus goes through its own.

A batch holds the rows of stimulus 0, then those of stimulus 1, and so on. The modules that own what is trained compute
with each stimulus's own parameters; everything else is computed as always, for all rows at once. Linear layers,
embeddings and convolutions do so by batched matrix products (a convolution of its unfolded input), any other module by
``torch.func.vmap`` over itself. Which axis of a tensor is the stimuli's is known from `axes`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from eif_lab.influence.per_sample.axes import Call, Calls, Disagreement, joined, split, spread
from eif_lab.influence.per_sample.factors import Pair, rows_of
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
class Stack:
    """How stimuli go through one module together.

    Attributes:
        count: How many there are.
        size: Rows of each.
        calls: What is known of the module's calls.
        record: What is told of each pass through a layer whose weight is a `Change`.
    """

    count: int
    size: int
    calls: Calls
    record: Record | None = None

    def place(self, *leaves: Any) -> Call | None:
        """What is known of the next call, given these; None where there is one stimulus, and nothing to be known."""
        return None if self.count == 1 else self.calls.next(leaves)

    def parts(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What a layer is given, by stimulus, and how what it gives is put together again.

        Returns:
            (stimuli, *the shape for one), and a function of such a tensor whose axes are the same but for the last.
        """
        if self.count == 1:
            return x[None], lambda y: y[0]
        call = self.place(x)
        assert call is not None
        [axis] = call.given_axes
        if axis is None:
            return x.expand(self.count, *x.shape), lambda y: spread(y, self.size)
        return split(x, axis, self.count), lambda y: joined(y, axis)


@dataclass(frozen=True)
class Site:
    """A module that computes with trained parameters.

    Attributes:
        module: The module.
        own: Its trained parameters: name in the module to name in the model.
        forward: (site, versions, stack) to the forward that computes with each stimulus's own.
        channels_last: Whether images may come out with the channels last.
    """

    module: Any
    own: Mapping[str, str]
    forward: Callable[..., Callable[..., Any]] = field(repr=False)
    channels_last: bool = False

    @property
    def weight(self) -> str | None:
        """The model's name of the matrix that may be a `Change`; None where there is none."""
        return self.own.get("weight") if self.forward in (linear, embedding) else None


def find_sites(model: nn.Module, trained: Mapping[str, nn.Parameter], channels_last: bool) -> list[Site]:
    """The smallest modules that together own all that is trained."""
    names = {id(p): name for name, p in trained.items()}
    sites: list[Site] = []
    seen: set[int] = set()

    def owned(module: nn.Module, recurse: bool) -> dict[str, str]:
        parameters = module.named_parameters(recurse=recurse, remove_duplicate=False)
        return {local: names[id(p)] for local, p in parameters if id(p) in names}

    def used_by(module: nn.Module) -> bool:
        """Whether it computes with parameters that its children hold for it."""
        held = (nn.ParameterList, nn.ParameterDict)
        return is_parametrized(module) or any(isinstance(c, held) and owned(c, True) for c in module.children())

    def visit(module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        own, rule, every = owned(module, recurse=False), batched_rule(module), owned(module, recurse=True)
        if own and rule is not None and len(own) == len(every):
            sites.append(Site(module, own, rule, channels_last))
        elif own or (every and used_by(module)):
            sites.append(Site(module, every, vectorised))
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
    if "forward" in vars(module) or not {name for name, _ in module.named_parameters()} <= {"weight", "bias"}:
        return None
    if forward is nn.Linear.forward:
        return linear
    if isinstance(module, nn.Embedding) and forward is nn.Embedding.forward:
        plain = module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
        return embedding if plain else None
    if isinstance(module, nn.Conv2d) and forward is nn.Conv2d.forward:
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return convolution if plain and not module.weight.is_complex() else None
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
    sites: Sequence[Site],
    versions: Mapping[str, Version],
    *,
    count: int = 1,
    size: int = 1,
    calls: Sequence[Sequence[Call]] | None = None,
    record: Record | None = None,
) -> Iterator[None]:
    """Within this, each site that has a version computes with it.

    Args:
        sites: The modules.
        versions: By name.
        count: Of how many stimuli; a batch holds their rows in turn.
        size: Rows of each.
        calls: Of each site what is known of its calls; with one stimulus nothing need be.
        record: Called with each pass through a layer whose weight is a `Change`.
    """
    modules: list[tuple[Any, Any]] = []
    stack = ExitStack()
    try:
        for site, known in zip(sites, calls or [()] * len(sites)):
            own = {local: versions[name] for local, name in site.own.items() if name in versions}
            if own and not modules:
                stack.enter_context(as_written())
            if own:
                site_forward = site.forward(site, own, Stack(count, size, Calls(known, count), record))
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
def as_written() -> Iterator[None]:
    """Within this, torch's attention computes by its layers' own forwards, and not by a fast path past them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def linear(site: Site, own: Mapping[str, Version], stack: Stack) -> Callable[..., Tensor]:
    """``x W_i^T + b_i``."""
    module, weight, bias = site.module, own.get("weight", Change()), tensors(own).get("bias")

    def forward(input: Tensor) -> Tensor:
        parts, together = stack.parts(input)
        rows = parts.reshape(stack.count, -1, parts.shape[-1])
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
        if stack.record is not None and "weight" in own and isinstance(weight, Change):
            y = stack.record(site.own["weight"], rows, y)
        return together(y.view(*parts.shape[:-1], y.shape[-1]))

    return forward


def embedding(site: Site, own: Mapping[str, Version], stack: Stack) -> Callable[..., Tensor]:
    """Rows of ``W_i``; what stands at the padding index is not trained."""
    module, weight = site.module, own["weight"]

    def forward(input: Tensor) -> Tensor:
        parts, together = stack.parts(input)
        flat = parts.reshape(stack.count, -1)
        if isinstance(weight, Tensor):
            y = weight[torch.arange(stack.count, device=flat.device)[:, None], flat]
        else:
            y = scaled(F.embedding(flat, module.weight), weight.scale)
            for pair in weight.pairs:
                y = y + rows_of(pair, flat)
        if stack.record is not None and isinstance(weight, Change):
            y = stack.record(site.own["weight"], flat, y)
        y = unpadded(y, flat, module.padding_idx)
        return together(y.view(*parts.shape, y.shape[-1]))

    return forward


def unpadded(y: Tensor, ids: Tensor, padding_idx: int | None) -> Tensor:
    """Rows of an embedding with no gradient where padding stands."""
    return y if padding_idx is None else torch.where((ids == padding_idx)[..., None], y.detach(), y)


def convolution(site: Site, own: Mapping[str, Version], stack: Stack) -> Callable[..., Tensor]:
    """``W_i`` times the unfolded input: a convolution whose weights differ per sample is slow."""
    module, given, count = site.module, tensors(own), stack.count
    weight, bias = given.get("weight"), given.get("bias")

    def forward(input: Tensor) -> Tensor:
        x, call = input, stack.place(input)
        if x.ndim != 4 or (call is not None and call.given_axes[0] != 0):
            raise Disagreement(f"a convolution is given {tuple(x.shape)} for {count} stimuli, not a row for each")
        if weight is None:
            y = F.conv2d(x, module.weight, None, module.stride, module.padding, module.dilation)
            own_bias = given["bias"]  # or it would not be a site
            return (y.reshape(count, -1, *y.shape[1:]) + own_bias[:, None, :, None, None]).flatten(0, 1)
        patches = Patches.apply(x, module.kernel_size, module.dilation, module.padding, module.stride)
        rows = patches.reshape(count, -1, patches.shape[-1])
        matrix = weight.permute(0, 3, 4, 2, 1).flatten(1, 3)
        added = module.bias if bias is None else bias[:, None]
        y = torch.bmm(rows, matrix) if added is None else torch.baddbmm(added, rows, matrix)
        y = y.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)
        return y if site.channels_last else y.contiguous()

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


class Embeddings(TorchFunctionMode):
    """Within this, looking up an embedding is right under ``vmap``.

    torch's batching rule leaves out the gradient at the padding index for the first of the batch alone.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look up without a padding index, and take the gradient away here."""
        if func is not F.embedding:
            return func(*args, **(kwargs or {}))
        names = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
        given = dict(zip(names, args)) | dict(kwargs or {})
        if given.get("max_norm") is not None or given.get("scale_grad_by_freq") or given.get("sparse"):
            raise NotImplementedError("an embedding with max_norm, scale_grad_by_freq or sparse")
        ids, weight, padding_idx = given["input"], given["weight"], given.get("padding_idx")
        if padding_idx is not None and padding_idx < 0:
            padding_idx += weight.shape[0]
        return unpadded(func(ids, weight), ids, padding_idx)


def vectorised(site: Site, own: Mapping[str, Version], stack: Stack) -> Callable[..., Any]:
    """Any module, by ``vmap`` over its parameters and every tensor that it is given an axis of stimuli of."""
    module = copy.copy(site.module)
    for hooks in HOOKS:  # the module itself calls them, once for all
        module.__dict__[hooks] = type(getattr(module, hooks))()
    versions, count = tensors(own), stack.count
    narrow = any(v.dtype != site.module.get_parameter(local).dtype for local, v in versions.items())

    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = pytree.tree_flatten((args, kwargs))
        call = stack.place(*leaves)
        axes = (None,) * len(leaves) if call is None else call.given_axes
        parts = [x if axis is None else split(x, axis, count) for x, axis in zip(leaves, axes)]
        form: list[Any] = []  # the leaves of what it gives, and their structure, the same for all

        def one(parameters: dict[str, Tensor], *given: Any) -> tuple[Tensor, ...]:
            positional, named = pytree.tree_unflatten(list(given), structure)
            with Embeddings():
                result = functional_call(module, parameters, positional, named)
            form[:] = pytree.tree_flatten(result)
            return tuple(leaf for leaf in form[0] if isinstance(leaf, Tensor))

        if call is None:
            every = iter(one({name: v[0] for name, v in versions.items()}, *leaves))
        else:
            in_axes = (0, *(None if axis is None else 0 for axis in axes))
            every = iter(vmap(one, in_dims=in_axes)(versions, *parts))
        like = next((leaf.dtype for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)
        gave, gave_structure = form
        gave_axes = (None,) * len(gave) if call is None else call.gave_axes
        if len(gave) != len(gave_axes):
            raise Disagreement("a layer gives more for several stimuli than for one")

        def together(leaf: Any, axis: int | None) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            own_part = next(every)
            if call is not None:
                own_part = spread(own_part, stack.size) if axis is None else joined(own_part, axis)
            return own_part.to(like) if narrow and like is not None and own_part.is_floating_point() else own_part

        return pytree.tree_unflatten([together(*one) for one in zip(gave, gave_axes)], gave_structure)

    return forward


HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_hooks",
    "_backward_pre_hooks",
)


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
