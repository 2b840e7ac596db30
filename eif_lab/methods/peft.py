"""Any tuner of the PEFT library, by name and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from eif_lab.errors import unknown_name, unknown_option
from eif_lab.methods.method import Method
from eif_lab.methods.tuners.tuner import Tuner

REFUSED = {
    "MULTITASK_PROMPT_TUNING": "it wants the task of each row (task_ids), which nothing here gives it",
    "POLY": "it wants the task of each row (task_ids), which nothing here gives it",
    "XLORA": "it mixes LoRA adapters that were trained before, of which there are none",
}
"""Tuners that nothing can be made of here, and why."""

ON_LANGUAGE_MODELS = ("ADAPTION_PROMPT", "SHADOW", "TRAINABLE_TOKENS")
"""Tuners, besides those that stand before the text, that are put around a whole transformers model."""


@dataclass
class Peft(Method):
    """A tuner of PEFT.

    Attributes:
        tuner: PEFT's name for it, such as ``LORA``, ``LOHA``, ``LN_TUNING`` or ``PREFIX_TUNING``; case does not matter.
        options: Fields of its config class. ``target_modules`` is by default every linear layer and convolution of
            the model that the tuner takes but the output head of a language model, or for ``LN_TUNING`` every
            normalization; sizes that do not fit the layers are halved until they do.
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


def add_tuner(model: nn.Module, tuner: str, options: dict[str, Any], seed: int, method: str = "peft") -> nn.Module:
    """Install a PEFT tuner in place, drawing its initial weights from ``seed``.

    Tuners of whole language models (prompt, prefix and p-tuning, ...) need a transformers model; they are put around
    the one that the module holds as ``language_model``.

    Args:
        model: The model.
        tuner: PEFT's name for it.
        options: Of its config class.
        seed: Of the initial weights.
        method: The method of this package that uses it, so that errors name what the user can change.

    Raises:
        ConfigError: PEFT does not know the tuner, or refuses these options for this model.
    """
    from peft.config import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    configs = {str(kind.value): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    name = tuner.upper()
    if name not in configs:
        raise unknown_name("method.tuner", name, configs)
    kind = configs[name]
    for option, value in options.items():
        if option not in kind.__dataclass_fields__:
            raise unknown_option(f"method.options.{option}", value, kind.__dataclass_fields__)
    chosen = Tuner(name, kind, options, method)
    if name in REFUSED:
        raise chosen.error(REFUSED[name])
    whole = issubclass(kind, PromptLearningConfig) or name in ON_LANGUAGE_MODELS
    ready = chosen.around_language_model(model, seed) if whole else chosen.into_layers(model, seed)
    for parameter in ready.parameters():
        if parameter.requires_grad:  # a small update vanishes in less: in bfloat16, 1 + 3e-3 = 1
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    return ready
