"""Find the learning rate at which a method teaches: the same direct influence for every method, not the same rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from eif_lab.influence.measure import Data, as_batch, measure_influence, named_engine, prepared
from eif_lab.influence.problem import Engine
from eif_lab.influence.readout import log_prob
from eif_lab.influence.rounding import LostToRounding
from eif_lab.influence.update import Update
from eif_lab.methods import Method
from eif_lab.models.base import Loss

FACTOR = 4.0
START = {"sgd": 1e-2, "adam": 1e-4, "adamw": 1e-4}


@dataclass(frozen=True)
class Calibration:
    """What a search for a learning rate found.

    Attributes:
        learning_rate: The one found.
        direct_influence: Mean influence of a stimulus on itself at that rate, in nats.
        target: What it was to be, in nats.
        reached: Whether it is within a tenth of the target.
        trials: How many rates were tried.
    """

    learning_rate: float
    direct_influence: float
    target: float
    reached: bool
    trials: int

    def describe(self) -> dict[str, Any]:
        """As a mapping that JSON can hold."""
        return asdict(self)


def calibrate(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    *,
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update | None = None,
    engine: str | Engine = "auto",
    seed: int = 0,
    largest: int = 32,
) -> Calibration:
    """The learning rate at which training on a stimulus raises its own log-probability by ``update.headroom`` of what
    there is to gain, on average over the stimuli: ``mean I[i, i] = headroom * mean(-log_prob before)``.

    Rates are tried by factors of four until the target is bracketed, then halved in the logarithm.

    Args:
        model, loss, method, engine, seed: As of `measure_influence`.
        stimuli: What to teach; no more than the first ``largest`` are used.
        update: The recipe whose rate is sought.
        largest: Bound on the number of stimuli tried.
    """
    update = update or Update()
    engine = named_engine(engine) if isinstance(engine, str) else engine
    batch = as_batch(stimuli, "stimuli").take(slice(largest))
    with prepared(model, method, seed) as ready, torch.no_grad():
        device = next(ready.parameters()).device
        before = log_prob(ready(batch.inputs.to(device)), batch.targets.to(device))
    target = update.headroom * -before.mean().item()
    tried: dict[float, float] = {}
    lost: set[float] = set()

    def influence(rate: float) -> float:
        recipe = replace(update, learning_rate=rate)
        try:
            array = measure_influence(model, loss, batch, batch, method=method, update=recipe, engine=engine, seed=seed)
        except LostToRounding:  # a rate that teaches nothing is too low; it is none to settle on
            lost.add(rate)
            return 0.0
        mean = float(np.diagonal(array.values).mean())
        return mean if math.isfinite(mean) else -math.inf

    def direct(rate: float) -> float:
        if rate not in tried:
            tried[rate] = influence(rate)
        return tried[rate]

    low, high = bracket(direct, target, START[update.optimizer])
    for _ in range(12):
        if high is None or abs(direct(high) - target) <= 0.02 * target:
            break
        middle = math.sqrt(low * high)
        if direct(middle) < target:
            low = middle
        else:
            high = middle
    best = min(tried, key=lambda rate: (rate in lost, abs(tried[rate] - target)))
    return Calibration(best, tried[best], target, abs(tried[best] - target) <= 0.1 * abs(target), len(tried))


def bracket(direct: Any, target: float, start: float) -> tuple[float, float | None]:
    """Two rates around the target, the lower one first; no upper one where no rate reaches it.

    Too high a rate overshoots and teaches less again, so the search for an upper end stops at the first fall.
    """
    low = start
    while direct(low) >= target and low > 1e-12:
        low /= FACTOR
    if direct(low) == -math.inf or (low == start and direct(low) < 0):
        while direct(low) < 0 and low > 1e-12:  # the start itself overshot
            low /= FACTOR
    high = low * FACTOR
    while direct(high) < target:
        if high > 1e6 or direct(high) < direct(high / FACTOR):
            return low, None
        high *= FACTOR
    return high / FACTOR, high
