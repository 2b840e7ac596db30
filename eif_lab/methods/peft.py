"""Any tuner of the PEFT library, by name and options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from eif_lab.methods.method import Method, layers, seeded
from eif_lab.schema import ConfigError, unknown_name, unknown_option


@dataclass
class Peft(Method):
    """A tuner of PEFT.

    Attributes:
        tuner: PEFT's name for it, such as ``LORA``, ``LOHA``, ``LN_TUNING`` or ``PREFIX_TUNING``; case does not matter.
        options: Fields of its config class. ``target_modules`` is by default every linear layer and convolution of
            the model but a language model's output head, where the tuner has targets.
    """

    tuner: str = "LOHA"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``peft-`` and the tuner."""
        return f"peft-{self.tuner.lower()}"

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put the tuner's layers in, freeze the rest."""
        return add_tuner(model, self.tuner, dict(self.options), seed)


def add_tuner(model: nn.Module, tuner: str, options: dict[str, Any], seed: int) -> nn.Module:
    """Install a PEFT tuner in place, drawing its initial weights from ``seed``.

    Tuners that stand before the text (prompt, prefix and p-tuning) need a transformers model; they are put around the
    one that the module holds as ``language_model``.

    Raises:
        ConfigError: PEFT does not know the tuner, or refuses these options for this model.
    """
    from peft import get_peft_model, inject_adapter_in_model
    from peft.config import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    configs = {str(kind.value): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if tuner.upper() not in configs:
        raise unknown_name("method.tuner", tuner.upper(), configs)
    kind = configs[tuner.upper()]
    for name, value in options.items():
        if name not in kind.__dataclass_fields__:
            raise unknown_option(f"method.options.{name}", value, kind.__dataclass_fields__)
    needs_targets = "target_modules" in kind.__dataclass_fields__ and options.get("target_modules") is None
    if needs_targets and tuner.upper() not in OWN_TARGETS:
        options["target_modules"] = layers(model, (nn.Linear, nn.Conv2d))
    try:
        with seeded(seed):
            if issubclass(kind, PromptLearningConfig):
                model.requires_grad_(False)
                model.language_model = get_peft_model(language_model(model), kind(task_type="CAUSAL_LM", **options))
            else:
                inject_adapter_in_model(kind(**options), model)
    except ConfigError:
        raise
    except (ValueError, TypeError, NotImplementedError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"method.tuner={tuner} does not fit this model with method.options={options}: {reason}"
        ) from None
    for parameter in model.parameters():
        if parameter.requires_grad:  # a small update vanishes in less: in bfloat16, 1 + 3e-3 = 1
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    return model


OWN_TARGETS = ("LN_TUNING",)
"""Tuners whose targets are not linear layers or convolutions: the options must name them."""


def language_model(model: nn.Module) -> Any:
    """The transformers model that the module holds.

    Raises:
        ConfigError: It holds none.
    """
    from transformers import PreTrainedModel

    held = getattr(model, "language_model", None)
    if not isinstance(held, PreTrainedModel):
        raise ConfigError(
            f"method.tuner stands before a text and needs a language model, got {type(model).__name__}. "
            "Try model=phi3, or method.tuner=LORA."
        )
    return held


@dataclass(frozen=True)
class LoRALayer:
    """A plain LoRA layer, which equals its base layer with ``scale * B A`` in its weight.

    Attributes:
        layer: PEFT's layer.
        base: The layer that it is around.
        weight, down, up: The model's names of the base weight, of A and of B.
        scale: What the product is multiplied with.
        rank: Rows of A and columns of B.
    """

    layer: Any
    base: nn.Module
    weight: str
    down: str
    up: str
    scale: float
    rank: int

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


def lora_layers(model: nn.Module) -> list[LoRALayer]:
    """The model's LoRA layers that can be merged: plain ones on a linear layer or convolution of the same precision.

    Nor is a weight merged into that another module has too, such as the embedding that is tied to an output head, nor
    one whose layer computes by a forward of its own, as hooks of accelerate give it.
    """
    held = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    found = []
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
            and held[id(base.weight)] == 1
            and "forward" not in vars(layer)
        )
        if plain and layer.lora_A[active[0]].weight.dtype == base.weight.dtype:
            [adapter] = active
            ends = (f"lora_A.{adapter}.weight", f"lora_B.{adapter}.weight")
            down, up = (f"{name}.{end}" for end in ends)
            rank, scale = layer.lora_A[adapter].weight.shape[0], float(layer.scaling[adapter])
            found.append(LoRALayer(layer, base, f"{name}.base_layer.weight", down, up, scale, rank))
    return found
