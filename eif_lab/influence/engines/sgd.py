"""SGD as a recursion of coefficients: it is linear in the gradients that it is given."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eif_lab.influence.per_sample.factors import Pair, inner
from eif_lab.influence.update import Update

Gradients = Mapping[str, Sequence[Pair] | Tensor]
"""Of each of several samples, by parameter: pairs, or (samples, *shape)."""


def response(update: Update) -> list[tuple[float, float]]:
    """What ``1, 2, ... update.steps`` steps do if the gradient never changes.

    Returns:
        For each number of steps (shrink, weight): the parameters are then ``(1 + shrink) * base + weight * gradient``.
    """
    rate, momentum, decay = update.learning_rate, update.momentum, update.weight_decay
    assert rate is not None
    shrink = pull = weight = speed = 0.0
    states = []
    for _ in range(update.steps):
        pull, speed = momentum * pull + decay * (1 + shrink), momentum * speed + decay * weight + 1
        shrink, weight = shrink - rate * pull, weight - rate * speed
        states.append((shrink, weight))
    return states


def clipping(update: Update, gradients: Gradients) -> Tensor | float:
    """What each sample's gradient is multiplied with so that its norm is at most ``update.gradient_clip``: (samples,).

    The rule of ``torch.nn.utils.clip_grad_norm_``; the norm of what is kept as pairs follows from their Gram matrices.
    """
    if update.gradient_clip is None or not gradients:
        return 1.0
    squares = []
    for own in gradients.values():
        if isinstance(own, Tensor):
            squares.append(own.flatten(1).abs().square().sum(1))
        else:
            squares += [inner(a, b) for a in own for b in own]
    precise = functools.reduce(torch.promote_types, (s.dtype for s in squares), torch.float32)
    norm = torch.stack([s.to(precise) for s in squares]).sum(0).sqrt()
    return (update.gradient_clip / (norm + 1e-6)).clamp(max=1)


def each(factor: Tensor | float, values: Tensor) -> Tensor:
    """``values`` (samples, ...) times each sample's factor."""
    if isinstance(factor, float):
        return values * factor
    return values * factor.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
