"""Where the sub-layers of a language model end, from the calls that it makes while it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from eif_lab.methods.method import is_layer


@dataclass
class Call:
    """A module's call while a language model reads.

    Attributes:
        name: The module's name.
        module: The module.
        width: Of its output, of a tuple the first element's; None where that is no tensor of vectors.
    """

    name: str
    module: nn.Module
    width: int | None


def sublayer_ends(model: nn.Module) -> dict[str, int | None]:
    """The modules that end a language model's sub-layers, from its recorded calls, with the residual stream's width.

    A layer of the model is what stands in a list of modules. Within it, each child is a sub-layer (and so is what
    stands in the layer itself): its last linear layer as wide as the layer's output ends it. A mixture of experts is
    followed as a whole.

    Args:
        model: The model; one that holds no transformers model, or cannot be called on token ids, has no such modules.
    """
    calls = record_calls(model)
    listed = [call for call in calls if call.width and is_list_item(model, call.name)]
    outermost = [call for call in listed if not any(call.name.startswith(f"{other.name}.") for other in listed)]
    ends: dict[str, int | None] = {}
    for layer in outermost:
        last: dict[str, str] = {}
        for call in calls:
            child, dot, _ = call.name.removeprefix(f"{layer.name}.").partition(".")
            whole = f"{layer.name}.{child}"
            if not call.name.startswith(f"{layer.name}.") or call.width != layer.width:
                continue
            if call.name == whole and has_experts(call.module):
                last[child] = whole
            elif is_layer(call.module):
                last[child if dot else ""] = call.name
        ends |= dict.fromkeys(last.values(), layer.width)
    return ends


def record_calls(model: nn.Module) -> list[Call]:
    """The calls of modules, in the order in which they end, while a language model reads three tokens; else []."""
    from transformers import PreTrainedModel

    if not any(isinstance(module, PreTrainedModel) for module in model.modules()):
        return []
    calls: list[Call] = []

    def note(name: str, module: nn.Module, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        rows = isinstance(first, Tensor) and first.ndim > 1
        calls.append(Call(name, module, first.shape[-1] if rows else None))

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            model(torch.arange(1, 4, device=next(model.parameters()).device)[None])
    except Exception:  # whatever a model raises that reads something else
        return []
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def is_list_item(model: nn.Module, name: str) -> bool:
    """Whether a module stands in a list of modules."""
    return isinstance(model.get_submodule(name.rpartition(".")[0]), nn.ModuleList)


def has_experts(module: nn.Module) -> bool:
    """Whether a module chooses among experts, be they modules in a list or slices of a parameter."""
    return any(isinstance(one, nn.ModuleList) for one in module.modules()) or any(
        parameter.ndim == 3
        for owner in module.modules()
        if not isinstance(owner, _ConvNd)
        for parameter in owner.parameters(recurse=False)
    )
