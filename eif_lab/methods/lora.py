"""Low-rank adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from eif_lab.methods.method import Method
from eif_lab.methods.peft import add_tuner
from eif_lab.options import option


@dataclass
class LoRA(Method):
    """Each target's weight gains ``alpha / rank * B A``, with B zero and A drawn at the start (Hu et al., 2021).

    On a fused ``qkv_proj`` one A is shared by query, key and value.

    Attributes:
        rank: Columns of B and rows of A; at most the longest side of a layer, or the default.
        alpha: Scale.
        target_modules: Names, or last parts of names, of linear layers and convolutions; None for all that LoRA takes
            but a language model's output head.
    """

    rank: int = option(8, at_least=1, hint="Try 8.")
    alpha: float = option(16.0, above=0, hint="Try 16.")
    target_modules: list[str] | None = None

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put LoRA layers in through PEFT, freeze the rest."""
        options = {"r": self.rank, "lora_alpha": self.alpha, "target_modules": self.target_modules}
        return add_tuner(model, "LORA", options, seed, method=self.name)
