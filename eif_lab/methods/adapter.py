"""The residual bottleneck adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from eif_lab.errors import rule_error
from eif_lab.methods.method import Method, is_layer, layers, matching, seeded
from eif_lab.options import option

ENDS = (
    *("o_proj", "out_proj", "c_proj", "down_proj", "fc2", "fc_out", "wo", "w2"),
    *("dense_4h_to_h", "attention.dense", "self_attn.dense", "self_attention.dense", "output.dense"),
)
"""Names by which the layers that end attention and MLP go in decoders that cannot be watched."""


class Bottleneck(nn.Module):
    """``x + up(gelu(down(x)))``, with ``up`` zero at the start; computed in the precision of its own weights.

    Args:
        name: Of the module that it follows.
        down: From the full width to the bottleneck.
        up: Back again; zeroed here.
    """

    def __init__(self, name: str, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.name, self.down, self.up = name, down, up
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Any) -> Tensor:
        """The input with what the bottleneck adds to it.

        Raises:
            ConfigError: What it follows gives something else.
        """
        weight = next(self.down.parameters())
        axis = -1 if isinstance(self.down, nn.Linear) else 1 - weight.ndim
        if not isinstance(x, Tensor) or x.ndim < -axis or x.shape[axis] != weight.shape[1]:
            got = f"{self.name} ({tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__})"
            rule = f"name modules that give a tensor as wide as their last layer ({weight.shape[1]})"
            raise rule_error("method.target_modules", rule, got, "Try that layer itself.")
        return x + self.up(F.gelu(self.down(x.to(weight.dtype)))).to(x.dtype)


class Adapted(nn.Sequential):
    """A module and the adapter behind it, called and asked for attributes like the module alone."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module gives, adapted; of a tuple its first."""
        module, adapter = self
        output = module(*inputs, **options)
        return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.isdigit() or "0" not in self._modules:
                raise
            return getattr(self[0], name)


@dataclass
class Adapter(Method):
    """A residual bottleneck after each sub-layer, the identity at the start (Houlsby et al., 2019).

    After attention and MLP of each layer of a language model, before they are added to the residual stream; as a 1 x 1
    convolution after each block of the CNN.

    Attributes:
        bottleneck: Its width.
        target_modules: Names, or last parts of names, of the modules that an adapter follows; None for a language
            model's sub-layers or the CNN's blocks. A module that holds a convolution gets a 1 x 1 convolution of its
            output channels, one that holds a linear layer a linear bottleneck.
    """

    bottleneck: int = option(8, at_least=1, hint="Try 8.")
    target_modules: list[str] | None = None

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put an adapter behind each target, freeze the rest."""
        targets = self._targets(model)
        adapters = {name: self._adapter(name, model.get_submodule(name), width) for name, width in targets.items()}
        model.requires_grad_(False)
        with seeded(seed):
            drawn = {name: make() for name, make in adapters.items()}
        for name in reversed(drawn):  # what stands within another first, since names lead through what is unchanged
            model.set_submodule(name, Adapted(model.get_submodule(name), drawn[name]))
        return model

    def _targets(self, model: nn.Module) -> dict[str, int | None]:
        """What adapters follow, and how wide its output is where that is known."""
        names = [name for name, _ in model.named_modules() if name]
        if self.target_modules is not None:
            chosen = dict.fromkeys(matching(names, self.target_modules))
        else:
            chosen = sublayer_ends(model) or dict.fromkeys(
                n for n in matching(names, ENDS) if is_layer(model.get_submodule(n))
            )
            blocks = getattr(model, "blocks", None)
            if not chosen and isinstance(blocks, nn.ModuleList | nn.Sequential):
                chosen = dict.fromkeys(f"blocks.{name}" for name, _ in blocks.named_children())
        if not chosen:
            able = list(dict.fromkeys(name.rpartition(".")[2] for name in layers(model)))
            raise rule_error(
                "method.target_modules",
                f"name the modules of {type(model).__name__} that an adapter follows",
                self.target_modules,
                f"Try {able[:4]}." if able else "Try method=full.",
            )
        return chosen

    def _adapter(self, name: str, target: nn.Module, width: int | None) -> Callable[[], Bottleneck]:
        """What makes the adapter that follows a module, of the width of its last layer unless another is known."""
        layer = held_layer(target)
        if layer is None and width is None:
            rule = "name modules that are called and hold a linear layer or a convolution"
            within = [one for one, module in target.named_modules() if one and held_layer(module) is not None]
            hint = f"Try {[f'{name}.{one}' for one in within[:2]]}." if within else ""
            raise rule_error("method.target_modules", rule, name, hint)
        weight = layer.weight if layer is not None else next(target.parameters())
        place: dict[str, Any] = {
            "device": weight.device,
            "dtype": torch.promote_types(weight.dtype, torch.float32),
        }
        if width is None and isinstance(layer, _ConvNd):
            kind: Callable[..., nn.Module] = partial(CONVOLUTIONS[len(layer.kernel_size)], kernel_size=1)
            wide = layer.out_channels
        else:
            kind, wide = nn.Linear, width or output_width(layer)

        def make() -> Bottleneck:
            # drawn in float32 on the CPU, so that a seed means the same everywhere
            return Bottleneck(name, kind(wide, self.bottleneck), kind(self.bottleneck, wide)).to(**place)

        return make


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def held_layer(target: nn.Module) -> Any:
    """The last linear layer or convolution of a module that can be called; None where there is none."""
    if type(target).forward is nn.Module.forward:
        return None  # such as a list of modules
    held = [module for module in target.modules() if is_layer(module)]
    return held[-1] if held else None


def output_width(layer: Any) -> int:
    """How many numbers a linear layer, also GPT-2's transposed one, gives."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.nf


@dataclass
class Call:
    """A module's call while a language model reads.

    Attributes:
        name: The module's.
        module: It.
        width: Of its output, or of its output's first where that is a tuple; None where that is no row of vectors.
    """

    name: str
    module: nn.Module
    width: int | None


def sublayer_ends(model: nn.Module) -> dict[str, int | None]:
    """What ends each sub-layer of a language model, found by watching it read, and the residual stream's width.

    A layer of the model is what stands in a list of modules. Within it, each child is a sub-layer (and so is what
    stands in the layer itself): its last linear layer as wide as the layer's output ends it. A mixture of experts is
    followed as a whole.

    Args:
        model: The model; what holds no transformers model, or cannot be called on token ids, has no ends.
    """
    calls = watch(model)
    listed = [call for call in calls if call.width and in_list(model, call.name)]
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


def watch(model: nn.Module) -> list[Call]:
    """The calls of modules, in the order in which they end, while a language model reads three tokens."""
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


def in_list(model: nn.Module, name: str) -> bool:
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
