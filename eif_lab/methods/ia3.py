"""(IA)^3: learned rescaling of activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from eif_lab.methods.method import Method
from eif_lab.methods.peft import add_tuner


@dataclass
class IA3(Method):
    """Each target's output is multiplied by a vector that starts at one (Liu et al., 2022).

    Attributes:
        target_modules: Names, or last parts of names, of linear layers and convolutions; None for all that (IA)^3
            takes but a language model's output head.
        feedforward_modules: Those targets whose input is scaled in place of their output; ``down_proj`` is Phi-3's.
    """

    target_modules: list[str] | None = None
    feedforward_modules: list[str] | None = None

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Put the vectors in through PEFT, freeze the rest."""
        inputs = ["down_proj"] if self.feedforward_modules is None else self.feedforward_modules
        options = {"target_modules": self.target_modules, "feedforward_modules": inputs}
        return add_tuner(model, "IA3", options, seed, method=self.name)
