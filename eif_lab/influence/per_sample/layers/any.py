"""Any module at all: ``torch.func.vmap`` over the module itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from eif_lab.influence.per_sample.axes import Disagreement, join, split, spread
from eif_lab.influence.per_sample.layers.embedding import without_padding_gradient
from eif_lab.influence.per_sample.layers.layer import Forward, LayerRule, Parameters, Site, Stack, tensors


def vmapped_forward(site: Site, parameters: Parameters, stack: Stack) -> Forward:
    """The forward by ``vmap`` over the parameters and each input that has an axis of stimuli."""
    module = copy.copy(site.module)
    for hooks in HOOKS:  # the module itself calls them, once for all
        module.__dict__[hooks] = type(getattr(module, hooks))()
    copies, count = tensors(parameters), stack.count
    narrow = any(v.dtype != site.module.get_parameter(local).dtype for local, v in copies.items())

    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = pytree.tree_flatten((args, kwargs))
        call = stack.next_call(*leaves)
        axes = (None,) * len(leaves) if call is None else call.input_axes
        parts = [x if axis is None else split(x, axis, count) for x, axis in zip(leaves, axes)]
        form: list[Any] = []  # the leaves of the output, and their structure, the same for all

        def one(parameters: dict[str, Tensor], *inputs: Any) -> tuple[Tensor, ...]:
            positional, named = pytree.tree_unflatten(list(inputs), structure)
            with Embeddings():
                result = functional_call(module, parameters, positional, named)
            form[:] = pytree.tree_flatten(result)
            return tuple(leaf for leaf in form[0] if isinstance(leaf, Tensor))

        if call is None:
            every = iter(one({name: v[0] for name, v in copies.items()}, *leaves))
        else:
            in_axes = (0, *(None if axis is None else 0 for axis in axes))
            every = iter(vmap(one, in_dims=in_axes)(copies, *parts))
        like = next((leaf.dtype for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)
        outputs, output_structure = form
        output_axes = (None,) * len(outputs) if call is None else call.output_axes
        if len(outputs) != len(output_axes):
            raise Disagreement("a layer has more outputs for several stimuli than for one")

        def together(leaf: Any, axis: int | None) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            part = next(every)
            if call is not None:
                part = spread(part, stack.size) if axis is None else join(part, axis)
            return part.to(like) if narrow and like is not None and part.is_floating_point() else part

        return pytree.tree_unflatten([together(*one) for one in zip(outputs, output_axes)], output_structure)

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
        arguments = dict(zip(names, args)) | dict(kwargs or {})
        if arguments.get("max_norm") is not None or arguments.get("scale_grad_by_freq") or arguments.get("sparse"):
            raise NotImplementedError("an embedding with max_norm, scale_grad_by_freq or sparse")
        ids, weight, padding_idx = arguments["input"], arguments["weight"], arguments.get("padding_idx")
        if padding_idx is not None and padding_idx < 0:
            padding_idx += weight.shape[0]
        return without_padding_gradient(func(ids, weight), ids, padding_idx)


ANY = LayerRule(lambda module: True, vmapped_forward)
"""For modules that no other rule is for; it is not registered, so that it never goes before another one."""
