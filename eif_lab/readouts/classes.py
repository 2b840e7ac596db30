"""A target against all classes, or all sequences: log-probability, probability, odds and rank.

An output is (n, classes) with targets (n,), or (n, positions, vocabulary) with targets (n, positions), where a target
of -100 is not read; ``targets[:, t]`` is what ``output[:, t]`` predicts. Of a sequence the probability is the product
over its positions. As in ``torch.nn.functional.cross_entropy`` the classes may also be the second dimension: of
(n, classes, height, width) they are, of (n, a, b) where the targets are (n, b) and not (n, a).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eif_lab.errors import rule_error

IGNORED = -100
"""The target of a position that is neither learnt nor scored."""


def log_prob(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """Log-probability of the target, in nats."""
    precise = at_least_float32(scores(output, target)).flatten(0, -2)
    logs = -F.cross_entropy(precise, target.flatten(), reduction="none", ignore_index=IGNORED)
    return per_row(logs.view_as(target)).sum(1)


def prob(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """Probability of the target."""
    return log_prob(output, target).exp()


def log_odds(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """``log(p / (1 - p))`` of the target, in nats: against all other classes, or all other sequences.

    Where a position is nearly certain, its log-probability is taken from the probability of the others, so that the
    odds of a certain target stay finite.
    """
    precise, index = at_least_float32(scores(output, target)), target.clamp(min=0)[..., None]
    others = precise.scatter(-1, index, -torch.inf).logsumexp(-1) - precise.logsumexp(-1)
    own = torch.log_softmax(precise, dim=-1).gather(-1, index)[..., 0]
    certain = own > -0.5
    others = others.masked_fill(~certain, -1.0)  # a slope of infinity would pass through the branch that is not taken
    logs = torch.where(certain, torch.log1p(-others.exp()), own)
    logs = per_row(logs.masked_fill(target == IGNORED, 0.0)).sum(1)
    return logs - torch.log(-torch.expm1(logs))


def rank(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """How many classes are likelier than the target, 0 for none; of a sequence the worst position's.

    NaN where an output is not finite: it ranks nothing.
    """
    output = scores(output, target)
    own = output.gather(-1, target.clamp(min=0)[..., None])
    likelier = (output > own).sum(-1).to(at_least_float32(output).dtype)
    likelier = likelier.masked_fill(~output.isfinite().all(-1), torch.nan).masked_fill(target == IGNORED, 0)
    return per_row(likelier).amax(1)


def correct(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """1 where the target is the most likely class (of a sequence: at every position), else 0."""
    return first(rank(output, target))


def first(place: Tensor) -> Tensor:
    """1 where a rank is 0, else 0; NaN where it is NaN."""
    return torch.where(place.isnan(), place, (place == 0).to(place.dtype))


def scores(output: Tensor, target: Tensor) -> Tensor:
    """An output with its classes as the last dimension.

    Raises:
        ConfigError: The shapes do not go together.
    """
    moved = classes_last(output, target)
    if moved is None:
        raise rule_error("probes", f"have targets that fit outputs of shape {tuple(output.shape)}", tuple(target.shape))
    return moved


def classes_last(output: Tensor, target: Tensor) -> Tensor | None:
    """An output with its classes as the last dimension; None where its shape and the targets' do not go together."""
    if output.ndim != target.ndim + 1:
        return None
    last, second = output.shape[:-1] == target.shape, output.shape[:1] + output.shape[2:] == target.shape
    if second and (output.ndim > 3 or not last):
        return output.movedim(1, -1)
    return output if last else None


def at_least_float32(output: Tensor) -> Tensor:
    """At least float32: differences of log-probabilities are lost in less."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


def per_row(values: Tensor) -> Tensor:
    """(n,) or (n, positions) as (n, positions)."""
    return values.reshape(values.shape[0], -1)
