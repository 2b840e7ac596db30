"""Readouts: scalars of (model, probe), from the model's output and the probe's target.

An output is (n, classes) with targets (n,), or (n, positions, vocabulary) with targets (n, positions), where a target
of -100 is not read; ``targets[:, t]`` is what ``output[:, t]`` predicts. Of a sequence the probability is the product
over its positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from eif_lab.models.encoding import IGNORED
from eif_lab.schema import unknown_name

Readout = Callable[[Tensor, Tensor], Tensor]
"""(output, target) to one scalar per row."""


def log_prob(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """Log-probability of the target, in nats."""
    logs = torch.log_softmax(raised(output), dim=-1).gather(-1, target.clamp(min=0)[..., None])[..., 0]
    return per_row(logs.masked_fill(target == IGNORED, 0.0)).sum(1)


def prob(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """Probability of the target."""
    return log_prob(output, target).exp()


def log_odds(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """``log(p / (1 - p))`` of the target, in nats: against all other classes, or all other sequences."""
    if output.ndim == 2:
        precise = raised(output)
        own = precise.gather(-1, target[:, None])[:, 0]
        others = precise.scatter(-1, target[:, None], -torch.inf)
        return own - torch.logsumexp(others, dim=-1)
    logs = log_prob(output, target)
    return logs - torch.log(-torch.expm1(logs))


def rank(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """How many classes are likelier than the target, 0 for none; of a sequence the worst position's."""
    own = output.gather(-1, target.clamp(min=0)[..., None])
    likelier = (output > own).sum(-1).masked_fill(target == IGNORED, 0)
    return per_row(likelier).amax(1).to(raised(output).dtype)


def correct(output: Tensor, target: Tensor) -> Float[Tensor, " n"]:
    """1 where the target is the most likely class (of a sequence: at every position), else 0."""
    return (rank(output, target) == 0).to(raised(output).dtype)


def raised(output: Tensor) -> Tensor:
    """At least float32: differences of log-probabilities are lost in less."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


def per_row(values: Tensor) -> Tensor:
    """(n,) or (n, positions) as (n, positions)."""
    return values.reshape(values.shape[0], -1)


READOUTS: dict[str, Readout] = {
    "log_prob": log_prob,
    "log_odds": log_odds,
    "prob": prob,
    "rank": rank,
    "correct": correct,
}
UNITS = {"log_prob": "nat", "log_odds": "nat", "prob": "probability", "rank": "ranks", "correct": "share"}


def named_readouts(readout: str | Readout | Sequence[str | Readout]) -> dict[str, Readout]:
    """Readouts by name; a function of one's own goes by its ``__name__``.

    Raises:
        ConfigError: A name that does not exist.
    """
    chosen = [readout] if isinstance(readout, str) or callable(readout) else list(readout)
    named: dict[str, Readout] = {}
    for one in chosen:
        if callable(one):
            named[getattr(one, "__name__", type(one).__name__)] = one
        elif one in READOUTS:
            named[one] = READOUTS[one]
        else:
            raise unknown_name("readout", str(one), READOUTS)
    return named
