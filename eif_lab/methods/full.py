"""Full fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from eif_lab.methods.method import Method


@dataclass
class Full(Method):
    """Every parameter that is a number moves, real or complex."""

    adds_modules: ClassVar[bool] = False

    def apply(self, model: nn.Module, seed: int) -> nn.Module:
        """Mark every floating-point and complex parameter as trained."""
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        return model
