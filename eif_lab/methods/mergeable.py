"""Layers of a method that can be merged into the weight that they stand beside, while probes are read.

What is merged costs a product for each stimulus, what stands beside a weight costs two for each probe. A method whose
layers can be merged adds a function to `FINDERS`; any other is read as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Mergeable(ABC):
    """A layer that equals its base layer with a product of two trained matrices in its weight.

    Attributes:
        base: The layer that it is around.
        weight, down, up: The model's names of the base weight, and of the two matrices.
        rank: Rows of ``down`` and columns of ``up``.
    """

    base: nn.Module
    weight: str
    down: str
    up: str
    rank: int

    @abstractmethod
    def merged(self, weight: Tensor, down: Tensor, up: Tensor, out: Tensor) -> Tensor:
        """The base weight with the product in it, written to ``out``."""

    @abstractmethod
    def bypassed(self) -> AbstractContextManager[None]:
        """Within this, only the base layer computes."""


@dataclass(frozen=True)
class LoRALayer(Mergeable):
    """A plain LoRA layer, which equals its base layer with ``scale * B A`` in its weight.

    Attributes:
        layer: PEFT's layer.
        scale: What the product is multiplied with.
    """

    layer: Any
    scale: float

    def merged(self, weight: Tensor, down: Tensor, up: Tensor, out: Tensor) -> Tensor:
        """The base weight with the product in it, written to ``out``."""
        return torch.addmm(
            weight.flatten(1), up.flatten(1), down.flatten(1), alpha=self.scale, out=out.view(len(weight), -1)
        ).view_as(weight)

    @contextmanager
    def bypassed(self) -> Iterator[None]:
        """Within this, only the base layer computes."""
        self.layer.__dict__["forward"] = self.base.forward
        try:
            yield
        finally:
            del self.layer.__dict__["forward"]


def lora_layers(model: nn.Module) -> list[Mergeable]:
    """The model's LoRA layers that can be merged: plain ones on a linear layer or convolution of the same precision.

    Nor is a weight merged into that another module has too, such as the embedding that is tied to an output head, nor
    one whose layer computes by a forward of its own, as hooks of accelerate give it.
    """
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    layers: list[Mergeable] = []
    for name, layer in model.named_modules():
        if not (type(layer).__module__.startswith("peft.tuners.lora") and hasattr(layer, "lora_A")):
            continue
        base, active = layer.get_base_layer(), list(layer.active_adapters)
        plain = (
            isinstance(base, nn.Linear | nn.Conv2d)
            and len(active) == 1
            and active[0] in layer.lora_A
            and not (layer.merged or layer.disable_adapters or layer.lora_variant)
            and not getattr(layer, "fan_in_fan_out", False)
            and not any(layer.lora_bias.values())
            and getattr(base, "groups", 1) == 1
            and uses[id(base.weight)] == 1
            and "forward" not in vars(layer)
        )
        if plain and layer.lora_A[active[0]].weight.dtype == base.weight.dtype:
            [adapter] = active
            ends = (f"lora_A.{adapter}.weight", f"lora_B.{adapter}.weight")
            down, up = (f"{name}.{end}" for end in ends)
            rank, scale = layer.lora_A[adapter].weight.shape[0], float(layer.scaling[adapter])
            layers.append(LoRALayer(base, f"{name}.base_layer.weight", down, up, rank, layer, scale))
    return layers


FINDERS: list[Callable[[nn.Module], list[Mergeable]]] = [lora_layers]
"""For each method that has them, what finds its mergeable layers in a model."""


def mergeable_layers(model: nn.Module) -> list[Mergeable]:
    """The layers of a model that can be merged, of any method."""
    return [layer for find in FINDERS for layer in find(model)]
