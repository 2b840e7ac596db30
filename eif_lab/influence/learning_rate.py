"""The search for the learning rate at which a method teaches as much as is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.update import Update

FACTOR = 4.0
SMALLEST, LARGEST = 1e-12, 1e6
"""Rates beyond which none is looked for."""

Direct = Callable[[float], float]
"""A learning rate to the mean direct influence at it; minus infinity where that diverges."""


@dataclass(frozen=True)
class Calibration:
    """The result of a search for a learning rate.

    Attributes:
        learning_rate: The rate.
        direct_influence: Mean influence of a stimulus on itself at that rate, in nats.
        target: The influence that was asked for, in nats.
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


def search(direct: Direct, target: float, update: Update) -> Calibration:
    """The rate at which direct influence is the target.

    Influence rises with the rate until it overshoots: rates are tried by factors of four, upwards or downwards, until
    the target is bracketed on the rising side, then where it lies on a power law through the bracket's ends.

    Args:
        direct: A learning rate to the mean direct influence at it, in nats, of any size where that diverges.
        target: In nats.
        update: The recipe, whose optimizer says where the search starts.
    """
    tried: dict[float, float] = {}
    lost: set[float] = set()

    def influence(rate: float) -> float:
        if rate not in tried:
            try:
                mean = direct(rate)
                tried[rate] = mean if math.isfinite(mean) else -math.inf
            except LostToRounding:  # a rate that teaches nothing is too low; it is none to settle on
                lost.add(rate)
                tried[rate] = 0.0
        return tried[rate]

    low, high = bracket(influence, target, update.stepping.first_rate)
    if high is None and climb(influence, tried) >= target:  # the peak was narrower than the steps
        high = min(rate for rate in tried if tried[rate] >= target)
        low = max(rate for rate in tried if rate < high)
    for _ in range(12):
        if high is None or min(abs(influence(rate) - target) for rate in (low, high)) <= 0.02 * target:
            break
        middle = between(low, high, influence, target)
        if influence(middle) < target:
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
