"""Embeddings: rows of ``W_i``, looked up."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eif_lab.influence.per_sample.factors import rows_of
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
)


def embedding(site: Site, parameters: Parameters, stack: Stack) -> Forward:
    """The forward with each stimulus's rows; what stands at the padding index is not trained."""
    module, weight = site.module, parameters["weight"]

    def forward(input: Tensor) -> Tensor:
        parts, together = stack.parts(input)
        flat = parts.reshape(stack.count, -1)
        if isinstance(weight, Tensor):
            y = weight[torch.arange(stack.count, device=flat.device)[:, None], flat]
        else:
            y = scaled(F.embedding(flat, module.weight), weight.scale)
            for one in weight.factors:
                y = y + rows_of(one, flat)
        if stack.record is not None and isinstance(weight, FactoredWeight):
            y = stack.record(site.names["weight"], flat, y)
        y = without_padding_gradient(y, flat, module.padding_idx)
        return together(y.view(*parts.shape, y.shape[-1]))

    return forward


def without_padding_gradient(y: Tensor, ids: Tensor, padding_idx: int | None) -> Tensor:
    """Rows of an embedding with no gradient where padding stands."""
    return y if padding_idx is None else torch.where((ids == padding_idx)[..., None], y.detach(), y)


def is_plain(module: nn.Module) -> bool:
    """Whether a module looks up rows, and neither renormalises them nor scales their gradient."""
    if not (isinstance(module, nn.Embedding) and computes_like(module, nn.Embedding)):
        return False
    return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse


register(LayerRule(is_plain, embedding, factored=True))
