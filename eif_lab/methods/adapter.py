"""The residual bottleneck adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eif_lab.methods.method import Method, seeded
from eif_lab.schema import option, rule_error

INSERTED_AFTER = ("o_proj", "down_proj")
"""The layers that end attention and MLP in Phi-3 and its kin: what follows them is added to the residual stream."""


class Bottleneck(nn.Module):
    """``x + up(gelu(down(x)))``, with ``up`` zero at the start; computed in the precision of its own weights.

    Args:
        down: From the full width to the bottleneck.
        up: Back again; zeroed here.
    """

    def __init__(self, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.down, self.up = down, up
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """The input with what the bottleneck adds to it."""
        weight = next(self.down.parameters())
        return x + self.up(F.gelu(self.down(x.to(weight.dtype)))).to(x.dtype)


@dataclass
class Adapter(Method):
    """A residual bottleneck after each sub-layer, the identity at the start (Houlsby et al., 2019).

    After attention and MLP of each Phi-3 layer; as a 1 x 1 convolution after each block of the CNN.

    Attributes:
        bottleneck: Its width.
        target_modules: Names, or last parts of names, of the modules that an adapter follows; None for Phi-3's
            sub-layers or the CNN's blocks. A module that holds a convolution gets a 1 x 1 convolution of its output
            channels, one that holds a linear layer a linear bottleneck.
    """

    bottleneck: int = option(8, at_least=1, hint="Try 8.")
    target_modules: list[str] | None = None

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put an adapter behind each target, freeze the rest."""
        targets = self._targets(model)
        model.requires_grad_(False)
        with seeded(seed):
            for name in targets:
                target = model.get_submodule(name)
                model.set_submodule(name, nn.Sequential(target, self._adapter(name, target)))
        return model

    def _targets(self, model: nn.Module) -> list[str]:
        names = [name for name, _ in model.named_modules() if name]
        if self.target_modules is not None:
            chosen = [n for n in names if any(n == w or n.endswith(f".{w}") for w in self.target_modules)]
        else:
            chosen = [n for n in names if n.rpartition(".")[2] in INSERTED_AFTER]
            blocks = getattr(model, "blocks", None)
            if not chosen and isinstance(blocks, nn.ModuleList | nn.Sequential):
                chosen = [f"blocks.{name}" for name, _ in blocks.named_children()]
        if not chosen:
            raise rule_error(
                "method.target_modules",
                f"name the modules of {type(model).__name__} that an adapter follows",
                self.target_modules,
                f"Try {[n for n, _ in model.named_children()][:4]}.",
            )
        return chosen

    def _adapter(self, name: str, target: nn.Module) -> Bottleneck:
        last = [m for m in target.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1:]
        if not last:
            raise rule_error("method.target_modules", "name modules that hold a linear layer or a convolution", name)
        [layer] = last
        place: dict[str, Any] = {
            "device": layer.weight.device,
            "dtype": torch.promote_types(layer.weight.dtype, torch.float32),
        }
        if isinstance(layer, nn.Conv2d):
            width = layer.out_channels
            down: nn.Module = nn.Conv2d(width, self.bottleneck, 1)
            return Bottleneck(down, nn.Conv2d(self.bottleneck, width, 1)).to(**place)
        width = layer.out_features
        # drawn in float32 on the CPU, so that a seed means the same everywhere
        return Bottleneck(nn.Linear(width, self.bottleneck), nn.Linear(self.bottleneck, width)).to(**place)
