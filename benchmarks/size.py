"""How often the tests of relations err where the truth is known: ``python -m benchmarks.size``.

Arrays are simulated with one true value and nothing that the claim is about beyond it, but with all that real arrays
have: stimuli that move everything, probes that everything moves, worlds that differ, tails that are heavy. Each line of
the table is a statistic, judged by the desideratum's own finding: how often it is called satisfied, and violated, where
the truth is at the bar (both are to be at most 5 %, and held to 7 %), and how often the interval holds the truth (95 %,
held to 93 to 97).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.random import Generator, default_rng

from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.power import FORMS, raised_by
from eif_lab.desiderata.verdict import SATISFIED, VIOLATED, Verdict

RESULT = Path("benchmarks/results/size.md")
WORLDS = (6, 10, 20)
NOISE = 0.3
"""Standard deviation of a cell, as a share of the strength."""

Values = Float[np.ndarray, "worlds stimuli forms"]
Effect = Callable[[Generator, Values], Values]


def normal(random: Generator, moved: Values) -> Values:
    """Normal cells, and nothing else."""
    return moved + NOISE * random.normal(size=moved.shape)


def rows(random: Generator, moved: Values) -> Values:
    """Stimuli that move all of their probes alike, by as much as was taught."""
    return normal(random, moved) + random.normal(size=(*moved.shape[:2], 1))


def columns(random: Generator, moved: Values) -> Values:
    """Probes that all stimuli of their world move alike, by as much as a cell's noise."""
    return normal(random, moved) + NOISE * random.normal(size=(len(moved), 1, moved.shape[2]))


def worlds(random: Generator, moved: Values) -> Values:
    """Worlds that differ in what they teach beside the stated, by a fifth of the strength."""
    of_world = 0.2 * random.normal(size=(len(moved), 1, moved.shape[2]))
    return normal(random, moved + np.where(np.array(FORMS) == "direct", 0.0, of_world))


def learnt(random: Generator, moved: Values) -> Values:
    """Worlds that are learnt very unequally: log-normal, the largest of twenty about ten times the smallest."""
    return normal(random, moved * np.exp(0.6 * random.normal(size=(len(moved), 1, 1)) - 0.18))


def tails(random: Generator, moved: Values) -> Values:
    """Cells and worlds with Student's t of 3 degrees of freedom."""
    of_world = random.standard_t(3, size=(len(moved), 1, moved.shape[2]))
    return moved + NOISE * (random.standard_t(3, size=moved.shape) + of_world)


def everything(random: Generator, moved: Values) -> Values:
    """All of these together."""
    return tails(random, rows(random, columns(random, learnt(random, worlds(random, moved)))))


EFFECTS: Mapping[str, Effect] = {
    "cells": normal,
    "rows": rows,
    "columns": columns,
    "worlds": worlds,
    "unequal learning": learnt,
    "heavy tails": tails,
    "all": everything,
}


@dataclass(frozen=True)
class Truth:
    """Where a statistic is at its bar.

    Attributes:
        judge: The desideratum.
        influence: By relation, as a share of the strength.
        effect: The statistic's true value.
    """

    judge: Logic | Negation
    influence: Mapping[str, float]
    effect: float


TRUTHS: Mapping[str, Truth] = {
    "gain": Truth(Logic(), {}, 0.0),
    "reach": Truth(Logic(), {"entailed": 0.1}, 0.1),
    "converse_held": Truth(Logic(), {"entailed": 0.5, "converse": 0.5}, 0.5),
    "fall": Truth(Negation(), {}, 0.0),
    "gap": Truth(Negation(), {"entailed": 0.05, "contradicted": -0.05}, 0.1),
}


@dataclass(frozen=True)
class Errors:
    """How often a test erred where the truth is at the bar.

    Attributes:
        satisfied, violated: Shares of arrays of which the finding was called so.
        covered: Share of the intervals that hold the truth.
        judged: Number of arrays in which enough was taught for a verdict.
    """

    satisfied: float
    violated: float
    covered: float
    judged: int


def errors_of(statistic: str, effect: Effect, count: int, draws: int, first_seed: int = 0) -> Errors:
    """The errors of a finding over simulated arrays, three stimuli a world.

    Args:
        statistic: One of `TRUTHS`.
        effect: One of `EFFECTS`.
        count: Number of worlds.
        draws: Number of arrays.
        first_seed: Of the first; the others follow.
    """
    truth = TRUTHS[statistic]
    arrays = verdicts(truth, effect, count, range(first_seed, first_seed + draws))
    findings = [next(one for one in verdict.findings if one.statistic == statistic) for verdict in arrays]
    judged = [one for one in findings if np.isfinite(one.p_value)]
    outcomes = [one.verdict(0.05) for one in judged]
    covered = sum(one.low <= truth.effect <= one.high for one in judged)
    shares = np.array([outcomes.count(SATISFIED), outcomes.count(VIOLATED), covered]) / max(len(judged), 1)
    return Errors(*shares.tolist(), judged=len(judged))


def verdicts(truth: Truth, effect: Effect, count: int, seeds: Sequence[int]) -> Iterator[Verdict]:
    """The verdict on each simulated array."""
    share = {"direct": 1.0} | dict(truth.influence)
    moved = np.tile([share.get(form, 0.0) for form in FORMS], (count, 3, 1))
    for seed in seeds:
        yield truth.judge.verdict(raised_by(effect(default_rng(seed), moved)))


def table(draws: int) -> Iterator[str]:
    """The lines of the table."""
    yield f"Truth at the bar, {draws} arrays a line, level 5 %, 95 % intervals; three stimuli a world; noise of a cell"
    yield f"{NOISE:.0%} of the strength. *judged*: arrays in which enough was taught for a verdict."
    yield ""
    yield "| statistic | arrays with | worlds | satisfied | violated | interval holds the truth | judged |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for statistic in TRUTHS:
        for name, effect in EFFECTS.items():
            for count in WORLDS:
                one = errors_of(statistic, effect, count, draws)
                numbers = f"{one.satisfied:.1%} | {one.violated:.1%} | {one.covered:.1%} | {one.judged}"
                yield f"| `{statistic}` | {name} | {count} | {numbers} |"


def main() -> None:
    """Print the table, and write it to ``benchmarks/results`` where it is the full one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("--draws", type=int, default=1000, help="simulated arrays a line (%(default)s)")
    draws = parser.parse_args().draws
    lines = []
    for line in table(draws):
        print(line, flush=True)
        lines.append(line)
    if draws >= 1000:
        RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
