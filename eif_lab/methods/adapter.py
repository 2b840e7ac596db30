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
from eif_lab.methods.sublayers import sublayer_ends
from eif_lab.options import option

ENDS = (
    *("o_proj", "out_proj", "c_proj", "down_proj", "fc2", "fc_out", "wo", "w2"),
    *("dense_4h_to_h", "attention.dense", "self_attn.dense", "self_attention.dense", "output.dense"),
)
"""Names of the layers that end attention and MLP, for decoders whose calls cannot be recorded."""


class Bottleneck(nn.Module):
    """``x + up(gelu(down(x)))``, with ``up`` zero at the start; computed in the precision of its own weights.

    Args:
        name: The name of the module that it follows.
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
            ConfigError: The module that it follows gives something else.
        """
        weight = next(self.down.parameters())
        axis = -1 if isinstance(self.down, nn.Linear) else 1 - weight.ndim
        if not isinstance(x, Tensor) or x.ndim < -axis or x.shape[axis] != weight.shape[1]:
            received = f"{self.name} ({tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__})"
            rule = f"name modules that give a tensor as wide as their last layer ({weight.shape[1]})"
            raise rule_error("method.target_modules", rule, received, "Try that layer itself.")
        return x + self.up(F.gelu(self.down(x.to(weight.dtype)))).to(x.dtype)


class Adapted(nn.Sequential):
    """A module and the adapter behind it, called and asked for attributes like the module alone."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The output of the module, adapted; of a tuple the first element is."""
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
            blocks = {name: make() for name, make in adapters.items()}
        for name in reversed(blocks):  # what stands within another first, since names lead through what is unchanged
            model.set_submodule(name, Adapted(model.get_submodule(name), blocks[name]))
        return model

    def _targets(self, model: nn.Module) -> dict[str, int | None]:
        """The modules that adapters follow, by name, with the width of their output where that is known.

        Raises:
            ConfigError: There are none.
        """
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
        """A function that makes the adapter that follows a module; as wide as its last layer unless ``width`` is given.

        Raises:
            ConfigError: The module is never called, or holds no layer.
        """
        layer = last_layer(target)
        if layer is None and width is None:
            rule = "name modules that are called and hold a linear layer or a convolution"
            within = [one for one, module in target.named_modules() if one and last_layer(module) is not None]
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


def last_layer(target: nn.Module) -> Any:
    """The last linear layer or convolution of a module that can be called; None where there is none."""
    if type(target).forward is nn.Module.forward:
        return None  # such as a list of modules
    within = [module for module in target.modules() if is_layer(module)]
    return within[-1] if within else None


def output_width(layer: Any) -> int:
    """The width of the output of a linear layer or of GPT-2's transposed one."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.nf
