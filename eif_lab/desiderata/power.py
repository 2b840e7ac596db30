"""Power: how many worlds it takes for `Logic` and `Negation` to be satisfied by an effect of a given size.

The arrays are simulated, and judged by the desiderata themselves, so that the power is that of the whole rule: every
finding's p-value, and that the stimuli were taught what they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy.random import default_rng

from eif_lab.data.contrast import SIGNS
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.relation_test import RelationEffects
from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.errors import rule_error

RELATIONS = ("direct", "entailed", "contradicted", "converse")
FORMS = tuple(form for relation in RELATIONS for form in (relation, *("foil",) * len(SIGNS)))
"""The probes of a stimulus: one of each relation, and behind it its three foils."""

FAMILIES: Mapping[str, tuple[type[Logic | Negation], Mapping[str, float]]] = {
    "logic": (Logic, {"entailed": 1.0}),
    "negation": (Negation, {"entailed": 1.0, "contradicted": -1.0}),
}
"""By desideratum, what an effect of 1 does: entailed probes rise, and for `Negation` contradicted ones fall, as far as
the stated ones rise."""

GOAL = 0.8
MOST_WORLDS = 1280
"""No more worlds than these are tried."""


def simulate(
    influence: Mapping[str, float], noise: float, worlds: int = 20, stimuli: int = 3, seed: int = 0
) -> Float[np.ndarray, "worlds stimuli forms"]:
    """Influence of stimuli on their own probes, moved as said and by nothing else.

    Args:
        influence: By relation, as a share of the strength; 0 where not given.
        noise: Standard deviation of each cell's Gaussian noise, as a share of the mean strength.
        worlds: How many. Each is learnt by a factor of its own, drawn evenly from 0.5 to 1.5.
        stimuli: In each world.
        seed: Of factors and noise; the same for every ``influence``.
    """
    random = default_rng(seed)
    share = {"direct": 1.0} | dict(influence)
    moved = np.array([share.get(form, 0.0) for form in FORMS])
    learnt = random.uniform(0.5, 1.5, worlds)[:, None, None]
    return moved * learnt + noise * random.normal(size=(worlds, stimuli, len(FORMS)))


def effects_of(values: Float[np.ndarray, "worlds stimuli forms"]) -> RelationEffects:
    """The influence by relation of stimuli whose own probes are the columns; see `FORMS`."""
    worlds, stimuli, forms = values.shape
    relation = np.tile(FORMS, (worlds * stimuli, 1))
    foils = {name: np.where(relation != "foil", np.arange(forms) + k, -1) for k, name in enumerate(SIGNS, start=1)}
    same = np.zeros(relation.shape, dtype=bool)
    of_world = np.repeat(np.arange(worlds), stimuli)
    return RelationEffects.of(values.reshape(-1, forms), relation, foils, same, worlds=of_world, unit="worlds")


def power(
    name: str, effect: float, noise: float, *, worlds: int, draws: int, stimuli: int = 3, first_seed: int = 0
) -> float:
    """The share of simulated arrays that satisfy a desideratum at its default thresholds.

    Args:
        name: One of `FAMILIES`.
        effect: What entailed probes gain, and contradicted ones lose, as a share of the strength.
        noise: See `simulate`.
        worlds: How many.
        draws: Number of arrays.
        stimuli: In each world.
        first_seed: Of the first; the others follow.
    """
    kind, family = FAMILIES[name]
    test, influence = kind(), {relation: effect * share for relation, share in family.items()}
    seeds = range(first_seed, first_seed + draws)
    arrays = (simulate(influence, noise, worlds, stimuli, seed) for seed in seeds)
    outcomes = [test.verdict(effects_of(values)).outcome() for values in arrays]
    return outcomes.count(SATISFIED) / draws


def worlds_needed(name: str, effect: float, noise: float, *, draws: int, stimuli: int = 3) -> float:
    """The number of worlds from which on `power` is at least 80 %: by doubling, then by halving what is between.

    Infinite where `MOST_WORLDS` have not that power, as for an effect that is no larger than the bar.
    """

    def enough(worlds: int) -> bool:
        return power(name, effect, noise, worlds=worlds, draws=draws, stimuli=stimuli) >= GOAL

    low, high = 0, FAMILIES[name][0]().least_units
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_WORLDS:
            return float("inf")
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if middle and enough(middle) else (middle, high)
    return float(high)


def power_table(
    worlds: int, stimuli: int, draws: int, noise: Sequence[float], effects: Sequence[float]
) -> Iterator[str]:
    """The lines of a table: for each desideratum, level of noise and effect, the power and the worlds that it takes.

    Args:
        worlds: For which the power is given.
        stimuli: In each world.
        draws: Simulated arrays per effect and number of worlds.
        noise: Standard deviations of a cell, as shares of the mean strength.
        effects: True effects, as shares of the strength.

    Raises:
        ConfigError: One of these is too small.
    """
    least = {"worlds": (2, worlds), "stimuli": (1, stimuli), "draws": (1, draws), "noise": (0.01, min(noise))}
    for name, (bound, lowest) in least.items():
        if not lowest >= bound:
            raise rule_error(f"--{name}", f"be at least {bound}", lowest, f"Try {bound}.")
    yield f"power at {worlds} worlds, and worlds for 80 %; {stimuli} stimuli a world, {draws} arrays each. Noise and"
    yield "effect (how far entailed probes rise, and for negation contradicted ones fall) are shares of the strength"
    yield f"{'desideratum':12}{'noise':>8}{'effect':>8}{'power':>8}{'worlds':>8}"
    for name in FAMILIES:
        for level in noise:
            for effect in effects:
                now = power(name, effect, level, worlds=worlds, draws=draws, stimuli=stimuli)
                needed = worlds_needed(name, effect, level, draws=draws, stimuli=stimuli)
                worlds_text = f"{needed:.0f}" if needed <= MOST_WORLDS else f"> {MOST_WORLDS}"
                yield f"{name:12}{level:8.2g}{effect:8.2g}{now:8.2f}{worlds_text:>8}"
