"""Find the learning rate at which a method teaches: the same direct influence for every method, not the same rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from eif_lab.errors import rule_error
from eif_lab.influence.batch import Data, as_batch, called, device_of
from eif_lab.influence.measure import measure_influence, named_engine, prepared
from eif_lab.influence.problem import Engine
from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.update import Update
from eif_lab.methods import Method
from eif_lab.models.base import Loss
from eif_lab.options import build
from eif_lab.readouts.readout import log_prob

FACTOR = 4.0
START = {"sgd": 1e-2, "adam": 1e-4, "adamw": 1e-4}
SMALLEST, LARGEST = 1e-12, 1e6
"""Rates beyond which none is looked for."""

MOST_STIMULI = 32
"""Stimuli that are tried."""

Direct = Callable[[float], float]
"""A learning rate to the mean direct influence at it; minus infinity where that diverges."""


@dataclass(frozen=True)
class Calibration:
    """What a search for a learning rate found.

    Attributes:
        learning_rate: The one found.
        direct_influence: Mean influence of a stimulus on itself at that rate, in nats.
        target: What it was to be, in nats.
        reached: Whether that is near the target.
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
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    seed: int = 0,
    largest: int = MOST_STIMULI,
) -> Calibration:
    """The learning rate at which stimuli raise their own log-probability by as much as was asked for.

    On average over the stimuli, ``mean I[i, i]`` is to be ``update.direct_influence``, or where that is None
    ``update.headroom * mean(-log_prob before)``. Influence rises with the rate until it overshoots: rates are tried by
    factors of four, upwards or downwards, until the target is bracketed on the rising side, then where it lies on a
    power law through the bracket's ends.

    Args:
        model, loss, method, engine, seed: As of `measure_influence`.
        stimuli: What to teach; no more than the first ``largest`` are used.
        update: The recipe whose rate is sought.
        largest: Bound on the number of stimuli tried.
    """
    if not isinstance(update, Update):
        update = cast(Update, build(Update, dict(update or {}), "update"))
    if largest < 1:
        raise rule_error("largest", "be at least 1", largest)
    engine = named_engine(engine) if isinstance(engine, str) else engine
    batch = as_batch(stimuli, "stimuli").take(slice(largest))
    with prepared(model, method, seed) as ready, torch.no_grad():
        here = batch.map(torch.clone).to(device_of(ready))
        before = log_prob(called(ready, here.inputs), here.targets)
    target = update.direct_influence or update.headroom * -before.mean().item()
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
    if high is None and climb(direct, tried) >= target:  # the peak was narrower than the steps
        high = min(rate for rate in tried if tried[rate] >= target)
        low = max(rate for rate in tried if rate < high)
    for _ in range(12):
        if high is None or min(abs(direct(rate) - target) for rate in (low, high)) <= 0.02 * target:
            break
        middle = between(low, high, direct, target)
        if direct(middle) < target:
            low = middle
        else:
            high = middle
    rising = [rate for rate in tried if high is None or rate <= high]
    best = min(rising, key=lambda rate: (rate in lost, abs(tried[rate] - target)))
    return Calibration(best, tried[best], target, near(tried[best], target), len(tried))


def near(direct_influence: float, target: float) -> bool:
    """Whether a direct influence is within a tenth of its target."""
    return abs(direct_influence - target) <= 0.1 * abs(target)


def bracket(direct: Direct, target: float, start: float) -> tuple[float, float | None]:
    """Two rates around the target, the lower one first; no upper one where none that is tried reaches it.

    Where the start teaches too much, does harm, or teaches more than a higher rate does, the search goes down, until
    influence falls with the rate; otherwise up, until influence falls.
    """
    low, high = start, start * FACTOR
    if direct(low) >= target or direct(low) < 0 or direct(high) < direct(low):
        while not direct(low) < target <= direct(high):
            rises = 0 <= direct(low) < target and direct(low) <= max(direct(high), 0)
            if rises or low < SMALLEST:
                return low, None
            low, high = low / FACTOR, low
        return low, high
    while direct(high) < target:
        if direct(high) < direct(low) or high > LARGEST:
            return low, None
        low, high = high, high * FACTOR
    return low, high


def between(low: float, high: float, direct: Direct, target: float) -> float:
    """Where the target lies if influence is a power of the rate from ``low`` to ``high``; never close to either."""
    if direct(low) <= 0:
        return math.sqrt(low * high)
    share = math.log(target / direct(low)) / math.log(direct(high) / direct(low))
    return low * (high / low) ** min(max(share, 0.1), 0.9)


def climb(direct: Direct, tried: Mapping[float, float]) -> float:
    """The most influence near the best rate that was tried, in steps that get smaller."""
    for step in (FACTOR**0.5, FACTOR**0.25):
        best = max(tried, key=lambda rate: tried[rate])
        for rate in (best / step, best * step):
            direct(rate)
    return max(tried.values())
