"""Power: how strong an effect must be for `Logic` and `Negation` to be satisfied in most arrays that have it.

The arrays are simulated, and judged by the desiderata themselves, so that the power is that of the whole rule: every
finding's interval and p-value, and that the stimuli were learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.random import default_rng
from scipy.stats import norm

from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.errors import rule_error

FORMS = ("direct", "entailed", "foil", "contradicted", "foil", "converse")
"""The probes of a stimulus; what has a matched foil stands before it."""

FAMILIES: Mapping[str, tuple[type[Desideratum], Mapping[str, float]]] = {
    "logic": (Logic, {"entailed": 1.0}),
    "negation": (Negation, {"contradicted": -1.0}),
}
"""By desideratum, what an effect of 1 does: what is entailed rises, or what is contradicted falls, as far as the stated
rises."""

GOAL = 0.8
LARGEST = 4.0
"""Effects above this, four times the direct influence, are not looked for."""


def simulate(
    influence: Mapping[str, float], noise: float, worlds: int = 20, stimuli: int = 3, seed: int = 0
) -> xr.DataArray:
    """An influence array in which relations move probes as said, and nothing else does.

    Args:
        influence: By relation, as a share of the direct influence; 0 where not given.
        noise: Standard deviation of each cell's Gaussian noise, as a share of the mean direct influence.
        worlds: How many. Each is learnt by a factor of its own, drawn evenly from 0.5 to 1.5.
        stimuli: In each world, with probes of their own.
        seed: Of factors and noise; the same for every ``influence``.

    Returns:
        (worlds * stimuli, worlds * stimuli * 6), with the coordinates that `Logic` and `Negation` read.
    """
    random, n, m = default_rng(seed), worlds * stimuli, len(FORMS)
    of_stimulus = np.kron(np.eye(n, dtype=bool), np.ones(m, dtype=bool))
    relation = np.where(of_stimulus, np.tile(FORMS, n), "unrelated")
    share = {"direct": 1.0} | dict(influence)
    moved = np.select([relation == name for name in share], list(share.values()), 0.0)
    learnt = np.repeat(random.uniform(0.5, 1.5, worlds), stimuli)
    values = moved * learnt[:, None] + noise * random.normal(size=moved.shape)
    matched = of_stimulus & np.isin(relation, ("entailed", "contradicted"))
    ids = np.array([f"{i:05d}" for i in range(n * m)])
    behind = FORMS.index("contradicted") - FORMS.index("entailed")
    negates = np.where(np.tile(FORMS, n) == "contradicted", np.roll(ids, behind), "")
    coords = {
        "probe": np.arange(n * m),
        "relation": (("stimulus", "probe"), relation),
        "foil": (("stimulus", "probe"), np.where(matched, np.arange(n * m) + 1, -1)),
        "stimulus_id": ("stimulus", np.array([f"{i:05d}" for i in range(n)])),
        "stimulus_world": ("stimulus", np.repeat(np.arange(worlds), stimuli)),
        "probe_id": ("probe", ids),
        "probe_negates": ("probe", negates),
    }
    return xr.DataArray(values, dims=("stimulus", "probe"), coords=coords)


def power(name: str, effect: float, noise: float, *, worlds: int, draws: int, first_seed: int = 0) -> float:
    """The share of simulated arrays that satisfy a desideratum at its default thresholds, with 199 resamples.

    Args:
        name: One of `FAMILIES`.
        effect: What entailed probes gain, or contradicted ones lose, as a share of the direct influence.
        noise: See `simulate`.
        worlds: How many.
        draws: Number of arrays.
        first_seed: Of the first; the others follow.
    """
    kind, family = FAMILIES[name]
    test, influence = kind(resamples=199), {relation: effect * share for relation, share in family.items()}
    seeds = range(first_seed, first_seed + draws)
    outcomes = [test.evaluate(simulate(influence, noise, worlds, seed=seed), seed).outcome() for seed in seeds]
    return outcomes.count(SATISFIED) / draws


def smallest_effect(name: str, noise: float, *, worlds: int, draws: int, steps: int = 8) -> float:
    """The effect from which on `power` is at least 80 %, found by halving; NaN where `LARGEST` has not that power.

    The same noise is drawn for every effect, so that power grows with the effect almost without exception.
    """
    low, high = 0.0, LARGEST
    if power(name, high, noise, worlds=worlds, draws=draws) < GOAL:
        return float("nan")
    for _ in range(steps):
        middle = (low + high) / 2
        enough = power(name, middle, noise, worlds=worlds, draws=draws) >= GOAL
        low, high = (low, middle) if enough else (middle, high)
    return high


def auc_of(effect: float, noise: float) -> float:
    """How often a probe that moves by ``effect`` is beyond its foil, in a world learnt as well as the average one."""
    return float(norm.cdf(effect / (noise * np.sqrt(2))))


def power_table(worlds: int, draws: int, noise: Sequence[float]) -> Iterator[str]:
    """The lines of a table: for each desideratum and level of noise, the smallest effect and its AUC.

    Args:
        worlds: How many.
        draws: Simulated arrays per effect that is tried.
        noise: Standard deviations of a cell, as shares of the mean direct influence.

    Raises:
        ConfigError: One of these is too small.
    """
    for name, least, lowest in (("worlds", 2, worlds), ("draws", 1, draws), ("noise", 0.01, min(noise))):
        if not lowest >= least:
            raise rule_error(f"--{name}", f"be at least {least}", lowest, f"Try {least}.")
    yield f"{worlds} worlds, 3 stimuli each, {draws} arrays a trial; effect and noise are shares of the"
    yield "direct influence, effect the smallest one that satisfies the desideratum in 80 % of the arrays"
    yield f"{'desideratum':12}{'noise':>8}{'effect':>8}{'its AUC':>9}"
    for name in FAMILIES:
        for level in noise:
            effect = smallest_effect(name, level, worlds=worlds, draws=draws)
            yield f"{name:12}{level:8.2g}{effect:8.2f}{auc_of(effect, level):9.2f}"
