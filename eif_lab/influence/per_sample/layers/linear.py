"""Linear layers: ``x W_i^T + b_i`` by batched matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eif_lab.influence.per_sample.layers.layer import (
    FactoredWeight,
    Forward,
    LayerRule,
    Parameters,
    Site,
    Stack,
    computes_like,
    register,
    scaled,
    tensors,
)


def linear(site: Site, parameters: Parameters, stack: Stack) -> Forward:
    """The forward with each stimulus's weight, its bias, or both."""
    module, bias = site.module, tensors(parameters).get("bias")
    weight = parameters.get("weight", FactoredWeight())

    def forward(input: Tensor) -> Tensor:
        parts, together = stack.parts(input)
        rows = parts.reshape(stack.count, -1, parts.shape[-1])
        base_bias = None if bias is not None else module.bias
        if isinstance(weight, Tensor):
            y = torch.bmm(rows, weight.mT)
            y = y if base_bias is None else y + base_bias
        elif not weight.factors and weight.scale == 1:
            y = F.linear(rows, module.weight, base_bias)
        else:
            y = scaled(F.linear(rows, module.weight), weight.scale)
            for one in weight.factors:
                y = y + one.times(rows)
            y = y if base_bias is None else y + base_bias
        if bias is not None:
            y = (y + bias[:, None]).to(y.dtype)
        if stack.record is not None and "weight" in parameters and isinstance(weight, FactoredWeight):
            y = stack.record(site.names["weight"], rows, y)
        return together(y.view(*parts.shape[:-1], y.shape[-1]))

    return forward


register(LayerRule(lambda module: computes_like(module, nn.Linear), linear, factored=True))
