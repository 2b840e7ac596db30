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
from eif_lab.desiderata.power import FORMS, effects_of
from eif_lab.desiderata.verdict import SATISFIED, VIOLATED, Verdict

RESULT = Path("benchmarks/results/size.md")
WORLDS = (6, 10, 20)
NOISE = 0.3
"""Standard deviation of a cell, as a share of the strength."""

MOST = 8
"""The largest number of arrays that are drawn, as a multiple of those to be judged."""

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
    """Arrays in which statistics are at their bars.

    Attributes:
        judge: The desideratum.
        influence: By relation, as a share of the strength.
        effects: By statistic at its bar, its true value.
        whole: Whether no statistic is below its bar, so that to call the whole verdict violated is an error.
    """

    judge: Logic | Negation
    influence: Mapping[str, float]
    effects: Mapping[str, float]
    whole: bool = True


TRUTHS = (
    Truth(Logic(), {"converse": 0.2}, {"gain": 0.0}, whole=False),
    Truth(Logic(), {"entailed": 0.1, "converse": 0.5}, {"reach": 0.1, "converse_held": 0.5}),
    Truth(Negation(), {"entailed": 0.2}, {"fall": 0.0, "gap": 0.2}),
)


@dataclass(frozen=True)
class Errors:
    """How often a test erred where the truth is at the bar.

    Attributes:
        satisfied, violated: Shares of all arrays for which the finding, or the whole verdict, was called so.
        covered: Share of the intervals that hold the truth, of arrays in which enough was taught; NaN for a verdict.
        taught: Share of the arrays in which enough was taught for a verdict.
        judged: Number of those.
    """

    satisfied: float
    violated: float
    covered: float
    taught: float
    judged: int


def errors_of(truth: Truth, effect: Effect, count: int, draws: int) -> dict[str, Errors]:
    """The errors over simulated arrays, three stimuli a world: of each statistic at its bar, and of the whole verdict.

    Args:
        truth: One of `TRUTHS`.
        effect: One of `EFFECTS`.
        count: Number of worlds.
        draws: Number of arrays in which enough was taught for a verdict; all arrays drawn meanwhile count.
    """
    taught, drawn = [], 0
    for verdict in simulated(truth, effect, count, MOST * draws):
        drawn += 1
        taught += [verdict] if not verdict.note else []
        if len(taught) == draws:
            break
    found = {name: of_statistic(name, value, taught, drawn) for name, value in truth.effects.items()}
    if truth.whole:
        found[f"{type(truth.judge).__name__.lower()}, whole"] = counted([one.outcome() for one in taught], [], drawn)
    return found


def simulated(truth: Truth, effect: Effect, count: int, draws: int) -> Iterator[Verdict]:
    """The verdict on each simulated array."""
    share = {"direct": 1.0} | dict(truth.influence)
    moved = np.tile([share.get(form, 0.0) for form in FORMS], (count, 3, 1))
    for seed in range(draws):
        yield truth.judge.verdict(effects_of(effect(default_rng(seed), moved)))


def of_statistic(name: str, value: float, taught: Sequence[Verdict], drawn: int) -> Errors:
    """The errors of one finding."""
    findings = [next(one for one in verdict.findings if one.statistic == name) for verdict in taught]
    return counted([one.verdict(0.05) for one in findings], [one.low <= value <= one.high for one in findings], drawn)


def counted(outcomes: Sequence[str], covered: Sequence[bool], drawn: int) -> Errors:
    """The shares of outcomes, and of intervals that hold the truth."""
    satisfied, violated = (outcomes.count(outcome) / drawn for outcome in (SATISFIED, VIOLATED))
    holds = float(np.mean(covered)) if covered else float("nan")
    return Errors(satisfied, violated, holds, len(outcomes) / drawn, len(outcomes))


def table(draws: int) -> Iterator[str]:
    """The lines of the table."""
    yield "# How often logic and negation err"
    yield ""
    yield f"Truth at the bar, level 5 %, 95 % intervals; three stimuli a world, noise {NOISE:.0%} of strength."
    yield f"Each line: as many arrays as it takes for {draws} in which enough was taught for a verdict. *satisfied*,"
    yield "*violated*: of all arrays, *taught*: those in which enough was, *holds the truth*: intervals of these."
    yield ""
    yield "| statistic | arrays with | worlds | satisfied | violated | taught | holds the truth |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for truth in TRUTHS:
        for kind, effect in EFFECTS.items():
            for count in WORLDS:
                for name, one in errors_of(truth, effect, count, draws).items():
                    covered = "" if np.isnan(one.covered) else f"{one.covered:.1%}"
                    numbers = f"{one.satisfied:.1%} | {one.violated:.1%} | {one.taught:.0%} | {covered}"
                    yield f"| {name} | {kind} | {count} | {numbers} |"


def main() -> None:
    """Print the table, and write it to ``benchmarks/results`` where it is the full one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="simulated arrays a line (%(default)s)")
    draws = parser.parse_args().draws
    lines = []
    for line in table(draws):
        print(line, flush=True)
        lines.append(line)
    if draws >= 2000:
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
