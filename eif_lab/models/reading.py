"""Reading a base model before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eif_lab.models.base import SharesPrefixes
from eif_lab.readouts.classes import log_prob


@torch.no_grad()
def read_log_probs(
    model: Callable[[Any], Tensor], inputs: Tensor, targets: Tensor, device: torch.device | str, rows: int = 256
) -> Float[Tensor, " n"]:
    """Log-probabilities of many targets under a model, some rows at a time; on the device, in nats.

    Args:
        model: Inputs to outputs; one that can compute the shared beginnings of texts once does so.
        inputs: (n, ...).
        targets: (n,) or (n, positions).
        device: Where the model is.
        rows: How many go through the model at once.
    """
    sharing = model if isinstance(model, SharesPrefixes) and model.can_share(inputs.shape[1]) else None
    parts = list[Tensor]()
    for some, wanted in zip(inputs.split(rows), targets.split(rows)):
        given, answers = some.to(device), wanted.to(device)
        packed = (given, answers) if sharing is None else sharing.share_prefixes(given, answers)
        parts.append(log_prob(model(packed[0]), packed[1]))
    return torch.cat(parts)
