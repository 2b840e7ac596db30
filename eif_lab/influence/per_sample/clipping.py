"""Clipping each sample's gradient to a norm, as ``torch.nn.utils.clip_grad_norm_`` does for one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eif_lab.influence.per_sample.factors import Factors, inner
from eif_lab.influence.update import Update


def clip_factors(update: Update, gradients: Mapping[str, Sequence[Factors] | Tensor]) -> Tensor | float:
    """The factor of each sample's gradient by which its norm is at most ``update.gradient_clip``: (samples,).

    The norm of a gradient in factors follows from their Gram matrices.

    Args:
        update: The recipe.
        gradients: By parameter, factors or (samples, *shape).
    """
    if update.gradient_clip is None or not gradients:
        return 1.0
    squares = []
    for gradient in gradients.values():
        if isinstance(gradient, Tensor):
            squares.append(gradient.flatten(1).abs().square().sum(1))
        else:
            squares += [inner(a, b) for a in gradient for b in gradient]
    return (update.gradient_clip / (total(squares).sqrt() + 1e-6)).clamp(max=1)


def times_each(factor: Tensor | float, values: Tensor) -> Tensor:
    """``values`` (samples, ...) times each sample's factor."""
    if isinstance(factor, float):
        return values * factor
    return values * factor.to(values.dtype).view(-1, *[1] * (values.ndim - 1))


def total(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, in at least float32."""
    precise = functools.reduce(torch.promote_types, (part.dtype for part in parts), torch.float32)
    return torch.stack([part.to(precise) for part in parts]).sum(0)
