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

    def hits(self, rate: float) -> bool:
        """Whether a rate teaches what is asked for, and another one shows that more is taught at a higher rate."""
        if abs(self.strength(rate) - self.target) > NEAR * self.target:
            return False
        own = self.found[rate].own
        return any((other - rate) * (one.own - own) > 0 for other, one in self.found.items())

    def gains(self, low: float, high: float) -> bool:
        """Whether stimuli gain something on themselves at the lower of two rates, and more at the higher one."""
        return 0 < self.found[low].own < self.found[high].own < math.inf

    def stride(self, rate: float) -> float:
        """The factor between a rate and the next one: to where the target is if strength is a power of the rate.

        The power is that between this rate and the nearest other one; downwards it counts half, for strength is
        proportional at small rates. A strength that has overshot is any number, so that the factor has bounds, too.
        """
        strength = self.strength(rate)
        if not 0 < strength < math.inf or abs(strength - self.target) <= NEAR * self.target:
            return FACTOR
        power, others = 1.0, [one for one in self.found if one != rate and 0 < self.strength(one) < math.inf]
        if others:
            nearest = min(others, key=lambda one: abs(math.log(one / rate)))
            power = math.log(self.strength(nearest) / strength) / math.log(nearest / rate)
            power = min(max(power, 0.5), 2.0) if strength < self.target else (1 + min(max(power, 0.0), 1.0)) / 2
        return min(FACTOR**2, math.exp(abs(math.log(strength / self.target)) / power))

    def falls(self, low: float, high: float) -> bool:
        """Whether the higher of two rates overshoots, or teaches less than the lower one, which teaches something."""
        return self.strength(high) == -math.inf or 0 < self.strength(low) > self.strength(high)


def search(teaching: Teaching, target: float, update: Update) -> Calibration:
    """The rate at which strength is the target.

    Strength rises with the rate until it overshoots: rates are tried where the target would be if strength were a power
    of the rate, until it is hit or bracketed on the rising side, then on a power law through the bracket's ends.

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
    if high is not None:
        high = narrow(trials, target, low, high)
    rising = [rate for rate in sorted(trials.found) if high is None or rate <= high]
    best = min(rising, key=lambda rate: (rate in trials.lost, abs(trials.strength(rate) - target)))
    strength = trials.strength(best)
    reached = close_to_target(strength, target)
    return Calibration(best, strength if math.isfinite(strength) else math.nan, target, reached, len(trials.found))


def close_to_target(strength: float, target: float) -> bool:
    """Whether a strength is near enough to its target."""
    return abs(strength - target) <= FAR * abs(target)


def bracket(trials: Trials, target: float, start: float) -> tuple[float, float | None]:
    """Two rates around the target, the lower one first, or one that hits it, twice; no upper one where none reaches it.

    Where the start teaches too much, or no less than a higher rate does, the search goes down, until strength falls
    with the rate; otherwise up, until strength falls. Where nothing below the start reaches the target, it goes up as
    well: rounding may be all that was seen there, or a peak lie between two rates.
    """
    strength = trials.strength
    if strength(start) < target and strength(start * trials.stride(start)) >= max(strength(start), 0):
        return upwards(trials, target, start)
    low, high = downwards(trials, target, start)
    if high is None:
        best = trials.best()
        return upwards(trials, target, best if strength(best) > 0 else start)
    return low, high


def upwards(trials: Trials, target: float, low: float) -> tuple[float, float | None]:
    """A bracket at or above a rate, below the first one at which a strength above zero falls, or that overshoots."""
    high = low * trials.stride(low)
    while high <= LARGEST and trials.strength(high) < target and not trials.hits(high):
        if not trials.falls(low, high):
            low, high = high, high * trials.stride(high)
        ceiling = min((rate for rate in trials.found if rate > low and trials.falls(low, rate)), default=math.inf)
        if ceiling <= FACTOR * low:
            return low, None
        high = min(high, math.sqrt(low * ceiling))  # a peak may have been stepped over
    return low, high if high <= LARGEST else None


def downwards(trials: Trials, target: float, low: float) -> tuple[float, float | None]:
    """A bracket at or below a rate, above the first one at which strength rises."""
    strength, high = trials.strength, low * FACTOR
    while not strength(low) < target <= strength(high):
        if trials.hits(low):
            return low, low
        rises = 0 <= strength(low) < target and strength(low) <= max(strength(high), 0)
        if rises or (strength(low) < target and trials.gains(low, high)) or low < SMALLEST:
            return low, None
        low, high = low / (FACTOR if strength(low) < target else trials.stride(low)), low
    return low, high


def narrow(trials: Trials, target: float, low: float, high: float) -> float:
    """The upper end of a bracket of which one end hits the target, or that is too narrow to try more.

    A rate is tried where the target lies if strength is a power of the rate. The end that stays counts as half as far
    from the target each time, in logarithms, so that both ends move (the Illinois method).
    """
    stayed = {low: 0, high: 0}

    def counted(rate: float) -> float:
        strength = trials.strength(rate)
        return target * (strength / target) ** 0.5 ** stayed[rate] if strength > 0 else strength

    for _ in range(12):
        if min(abs(trials.strength(rate) - target) for rate in (low, high)) <= NEAR * target:
            break
        middle = interpolate(low, high, counted(low), counted(high), target)
        if -math.inf < trials.strength(middle) < target:
            low, stayed = middle, {middle: 0, high: stayed[high] + 1}
        else:
            high, stayed = middle, {low: stayed[low] + 1, middle: 0}
    return high


def interpolate(low: float, high: float, below: float, above: float, target: float) -> float:
    """Where the target lies if strength is a power of the rate from ``low`` to ``high``; never close to either."""
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
