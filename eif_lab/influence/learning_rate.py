"""The search for the learning rate at which a method teaches as strongly as is asked for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.update import Update
from eif_lab.influence.yardstick import Taught

log = logging.getLogger(__name__)

FACTOR = 4.0
SMALLEST, LARGEST = 1e-12, 1e6
"""Rates beyond which none is looked for."""

NEAR, FAR = 0.05, 0.1
"""The search ends at a strength that is off its target by less than this share, and has failed beyond the other. A
sample of stimuli does not tell their strength better than that."""

FALLEN = 0.9
"""A rate has overshot where stimuli gain less than this share of what they gain on themselves at a lower rate."""

Teaching = Callable[[float], Taught]
"""A learning rate to what stimuli are taught at it."""


@dataclass(frozen=True)
class Calibration:
    """The result of a search for a learning rate.

    Attributes:
        learning_rate: The rate.
        strength: What was taught at that rate, on average over the stimuli, in nats.
        target: The strength that was asked for, in nats.
        reached: Whether that is near the target.
        trials: How many rates were tried.
        stimuli: How many stimuli were trained on.
        yardstick: What strength was measured by.
    """

    learning_rate: float
    strength: float
    target: float
    reached: bool
    trials: int
    stimuli: int = 0
    yardstick: str = ""

    def describe(self) -> dict[str, Any]:
        """The fields as a mapping that JSON can hold."""
        return asdict(self)


@dataclass
class Trials:
    """Results at the learning rates that were tried.

    Attributes:
        teaching: What tries one.
        target: In nats; each rate that is tried is logged beside it.
        found: By rate.
        lost: The rates that are too low for any influence to show.
    """

    teaching: Teaching
    target: float
    found: dict[float, Taught] = field(default_factory=dict)
    lost: set[float] = field(default_factory=set)

    def strength(self, rate: float) -> float:
        """Strength at a rate, which is tried if it was not; minus infinity where the rate has overshot.

        Strength is a difference of differences: beyond the rates at which training works it is any number, large
        positive ones too. Influence of stimuli on themselves tells where that is: it has fallen, or is negative.
        """
        if rate not in self.found:
            try:
                self.found[rate] = self.teaching(rate)
            except LostToRounding:  # a rate that teaches nothing is too low; it is none to settle on
                self.lost.add(rate)
                self.found[rate] = Taught(0.0, 0.0)
            told = len(self.found), rate, self.found[rate].strength, self.target
            log.info("calibrating: trial %d, learning rate %.3g teaches %.3g nat, %.3g asked for", *told)
        strength, own = self.found[rate]
        if not (math.isfinite(strength) and math.isfinite(own)):
            return -math.inf
        lower = [one.own for other, one in self.found.items() if other < rate and math.isfinite(one.own)]
        return strength if own >= FALLEN * max([0.0, *lower]) else -math.inf

    def best(self) -> float:
        """The rate of the greatest strength so far."""
        return max(sorted(self.found), key=self.strength)


def search(teaching: Teaching, target: float, update: Update) -> Calibration:
    """The rate at which strength is the target.

    Strength rises with the rate until it overshoots: rates are tried by factors of four, upwards or downwards, until
    the target is bracketed on the rising side, then where it lies on a power law through the bracket's ends.

    Args:
        teaching: A learning rate to what stimuli are taught at it, of any size where that diverges.
        target: In nats.
        update: The recipe, whose optimizer says where the search starts.
    """
    trials = Trials(teaching, target)
    low, high = bracket(trials, target, update.stepping.first_rate)
    if high is None and climb(trials) >= target:  # the peak was narrower than the steps
        high = min(rate for rate in trials.found if trials.strength(rate) >= target)
        low = max(rate for rate in trials.found if rate < high)
    for _ in range(12):
        if high is None or min(abs(trials.strength(rate) - target) for rate in (low, high)) <= NEAR * target:
            break
        middle = interpolate(low, high, trials, target)
        if -math.inf < trials.strength(middle) < target:
            low = middle
        else:
            high = middle
    rising = [rate for rate in sorted(trials.found) if high is None or rate <= high]
    best = min(rising, key=lambda rate: (rate in trials.lost, abs(trials.strength(rate) - target)))
    strength = trials.strength(best)
    reached = close_to_target(strength, target)
    return Calibration(best, strength if math.isfinite(strength) else math.nan, target, reached, len(trials.found))


def close_to_target(strength: float, target: float) -> bool:
    """Whether a strength is near enough to its target."""
    return abs(strength - target) <= FAR * abs(target)


def bracket(trials: Trials, target: float, start: float) -> tuple[float, float | None]:
    """Two rates around the target, the lower one first; no upper one where none that is tried reaches it.

    Where the start teaches too much, does harm, or teaches more than a higher rate does, the search goes down, until
    strength falls with the rate; otherwise up, until strength falls. Where nothing below the start teaches, it goes up
    as well: there, rounding may be all that was seen.
    """
    strength = trials.strength
    if 0 <= strength(start) < target and strength(start * FACTOR) >= strength(start):
        return upwards(trials, target, start)
    low, high = downwards(trials, target, start)
    if high is None and strength(trials.best()) <= 0:
        return upwards(trials, target, start)
    return low, high


def upwards(trials: Trials, target: float, low: float) -> tuple[float, float | None]:
    """A bracket at or above a rate, below the first one at which a strength above zero falls, or that overshoots."""
    strength, high = trials.strength, low * FACTOR
    while strength(high) < target:
        falls = strength(high) < strength(low) and strength(low) > 0
        if falls or strength(high) == -math.inf or high > LARGEST:
            return low, None
        low, high = high, high * FACTOR
    return low, high


def downwards(trials: Trials, target: float, low: float) -> tuple[float, float | None]:
    """A bracket at or below a rate, above the first one at which strength rises."""
    strength, high = trials.strength, low * FACTOR
    while not strength(low) < target <= strength(high):
        rises = 0 <= strength(low) < target and strength(low) <= max(strength(high), 0)
        if rises or low < SMALLEST:
            return low, None
        low, high = low / FACTOR, low
    return low, high


def interpolate(low: float, high: float, trials: Trials, target: float) -> float:
    """Where the target lies if strength is a power of the rate from ``low`` to ``high``; never close to either."""
    below, above = trials.strength(low), trials.strength(high)
    if not 0 < below < target <= above:
        return math.sqrt(low * high)
    share = math.log(target / below) / math.log(above / below)
    return low * (high / low) ** min(max(share, 0.1), 0.9)


def climb(trials: Trials) -> float:
    """The greatest strength near the best rate that was tried, in steps that get smaller."""
    for step in (FACTOR**0.5, FACTOR**0.25):
        best = trials.best()
        for rate in (best / step, best * step):
            trials.strength(rate)
    return max(map(trials.strength, trials.found))
