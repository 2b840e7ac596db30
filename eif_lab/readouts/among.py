"""A target against its probe's other candidates: odds, rank, and whether it is the best of them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eif_lab.readouts.classes import first


def log_odds_among(
    scores: Float[Tensor, "*batch probes most"], others: Bool[Tensor, "probes most"]
) -> Float[Tensor, "*batch probes"]:
    """``log(p / (1 - p))`` with ``p`` the target's share among its candidates, ``softmax(scores)``, in nats."""
    return scores[..., 0] - scores.masked_fill(~others, -torch.inf).logsumexp(-1)


def rank_among(
    scores: Float[Tensor, "*batch probes most"], others: Bool[Tensor, "probes most"]
) -> Float[Tensor, "*batch probes"]:
    """How many candidates have a higher score than the target; NaN where a score is."""
    higher = ((scores > scores[..., :1]) & others).sum(-1).to(scores.dtype)
    return higher.masked_fill(scores.isnan().any(-1), torch.nan)


def correct_among(
    scores: Float[Tensor, "*batch probes most"], others: Bool[Tensor, "probes most"]
) -> Float[Tensor, "*batch probes"]:
    """1 where no candidate has a higher score than the target, else 0."""
    return first(rank_among(scores, others))
