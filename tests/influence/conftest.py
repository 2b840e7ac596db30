"""A small Phi-3 that computes in float64 throughout."""

from __future__ import annotations

import pytest
import torch
import transformers.models.phi3.modeling_phi3 as modeling

from eif_lab.models.language.causal_lm import CausalLM


class Norm(modeling.Phi3RMSNorm):
    """Phi-3's norm without its detour through float32, which would end a float64 comparison at 1e-7."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)


@pytest.fixture
def phi3(language_model):
    model = language_model.double()
    for module in model.modules():
        if isinstance(module, modeling.Phi3RMSNorm):
            module.__class__ = Norm
    return CausalLM(model).eval()
