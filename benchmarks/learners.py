"""Verdicts on the reference learners beside the right ones: ``python -m benchmarks.learners`` writes docs/learners.md."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from eif_lab import annotate, judge, load_task
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.learners import RULES, imitate
from eif_lab.learners.right import OPEN, right_verdict
from eif_lab.perturbations.noise import Noise

WORLDS = (10, 20, 40)
NOISE = (0.02, 0.1, 0.3)
PER_CLASS = 6
"""Images of each of ten classes that stand for ten worlds."""


class Source(NamedTuple):
    """Where a task comes from.

    Attributes:
        dataset: By its name in ``conf/dataset``.
        options: Of it.
        noisy: Whether its samples are there clean and noisy.
    """

    dataset: str
    options: Mapping[str, object]
    noisy: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.dataset}, noisy" if self.noisy else self.dataset


@dataclass(frozen=True)
class Judged:
    """One verdict beside the right one."""

    source: str
    worlds: int
    noise: float
    rule: str
    right: str
    verdict: Verdict

    @property
    def given(self) -> str:
        """The verdict's outcome."""
        return self.verdict.outcome()

    @property
    def wrong(self) -> bool:
        """Whether it is satisfied where it must not be, or a perfect learner's is violated."""
        return (
            self.given == SATISFIED
            and self.right not in (SATISFIED, OPEN)
            or (self.rule == "perfect" and self.given == VIOLATED)
        )


def sources(worlds: int) -> list[Source]:
    """The eight domains, the four real sets and the image sets at a number of worlds."""
    images = {"stimuli": PER_CLASS * worlds, "probes": PER_CLASS * worlds}
    few = {"stimuli": 3 * worlds, "probes": 3 * worlds}
    kinds = ["factual", "commonsense", "linguistic"]
    return [
        *(Source(domain.__name__.lower(), {"worlds": worlds}) for domain in DOMAINS),
        Source("relations", {"relations": worlds, "kinds": kinds}),
        Source("fictional_knowledge", {"passages": worlds}),
        Source("proofwriter", {"theories": worlds}),
        Source("prontoqa", {"theories": worlds}),
        Source("digits", images),
        Source("mnist", images),
        Source("digits", few, noisy=True),
        Source("mnist", few, noisy=True),
        Source("ontology", {"worlds": worlds}, noisy=True),
    ]


@cache
def blank(source: str, worlds: int, seed: int) -> xr.DataArray:
    """The coordinates of a source's task, on zeros."""
    found = next(one for one in sources(worlds) if one.name == source)
    task = load_task(found.dataset, seed=seed, **found.options)
    if found.noisy:
        task = Noise(levels=[0.5]).apply(task, seed)
    return annotate(np.zeros(task.relation.shape), task)


def judged(source: str, worlds: int, noise: float, rule: str, seed: int = 0) -> Iterator[Judged]:
    """The verdicts on one learner; none where its rule has nothing to go by."""
    array = blank(source, worlds, seed)
    try:
        made = imitate(array, rule, noise, seed)
    except NotApplicable:
        return
    for verdict in judge(made, seed=seed):
        yield Judged(source, worlds, noise, rule, right_verdict(rule, verdict.desideratum, array), verdict)


def grid(worlds: Iterable[int], noises: Iterable[float], only: Iterable[str] = ()) -> Iterator[Judged]:
    """All learners on all sources, those named alone where some are."""
    noises, only = list(noises), list(only)
    for size in worlds:
        for source in sources(size):
            if only and source.name not in only:
                continue
            for noise in noises:
                for rule in RULES:
                    yield from judged(source.name, size, noise, rule)


SHORT = {SATISFIED: "s", VIOLATED: "v", INCONCLUSIVE: "i"}


def counts(verdicts: Iterable[Judged]) -> str:
    """How many are satisfied, violated and inconclusive: "12 s", "3 s 9 i"; a dash for none."""
    number = Counter(one.given for one in verdicts)
    return " ".join(f"{number[name]} {letter}" for name, letter in SHORT.items() if number[name]) or "-"


def rights(verdicts: Iterable[Judged]) -> str:
    """The right verdicts, with their numbers where they differ between sources."""
    number = Counter(one.right or "open" for one in verdicts)
    return next(iter(number)) if len(number) == 1 else ", ".join(f"{name} {n}" for name, n in number.items())


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def overview(found: list[Judged]) -> list[str]:
    """Learner by desideratum: the right verdict and those given, over all sources, by worlds and noise."""
    cells = sorted({(one.worlds, one.noise) for one in found})
    rows = []
    for rule in RULES:
        for name in dict.fromkeys(one.verdict.desideratum for one in found):
            these = [one for one in found if (one.rule, one.verdict.desideratum) == (rule, name)]
            for kind, some in (
                ("texts", [t for t in these if not images(t)]),
                ("images", [t for t in these if images(t)]),
            ):
                if some:
                    given = [counts(t for t in some if (t.worlds, t.noise) == cell) for cell in cells]
                    rows.append([rule.replace("_", " "), name, kind, rights(some_of(some)), *given])
    return table(["learner", "desideratum", "of", "right", *(f"{w}, {noise:.0%}" for w, noise in cells)], rows)


def images(one: Judged) -> bool:
    """Whether a verdict is on images."""
    return one.source.startswith(("digits", "mnist"))


def some_of(verdicts: list[Judged]) -> list[Judged]:
    """One verdict of each source."""
    return list({one.source: one for one in verdicts}.values())


def by_source(found: list[Judged], worlds: int, noise: float) -> list[str]:
    """Source and learner by desideratum, at one size: the verdict given, and the right one where it is another."""
    these = [one for one in found if (one.worlds, one.noise) == (worlds, noise)]
    names = list(dict.fromkeys(one.verdict.desideratum for one in these))
    by_cell = {(one.source, one.rule, one.verdict.desideratum): one for one in these}

    def cell(one: Judged | None) -> str:
        if one is None:
            return ""
        return one.given if one.right in (OPEN, one.given) else f"{one.given} (right: {one.right})"

    rows = [
        [source, rule.replace("_", " "), *(cell(by_cell.get((source, rule, name))) for name in names)]
        for source, rule in dict.fromkeys((one.source, one.rule) for one in these)
    ]
    return table(["data", "learner", *names], rows)


HEAD = """# Reference learners

What is a verdict worth? These learners are rules and not models, so that the right verdict on each is known beforehand.
A rule sees a task's relations, words, worlds and distances, and says what each stimulus does to each probe; every cell has
Gaussian noise, in shares of what is taught.

| learner | what it does | what it must not be satisfied with |
| --- | --- | --- |
| perfect | what is stated or follows rises, what is contradicted falls, the rest stays; images teach their class by nearness | |
| bag of words | raises a probe by the words that it shares with the stimulus, in any order | all: its foils share the same words |
| format | raises every probe by a level of its own, whatever the stimulus | all: its foils have the same form |
| copying | raises the stimulus's words wherever they are the answer | all: its foils have the same answer |
| negation blind | perfect, but what is contradicted rises too | negation |
| symmetric | perfect, but the converse rises too, and of two samples each teaches the other alike | logic where there is a converse; noise invariance |
| faint | learns what is stated, and passes on a twentieth | logic, negation: below the bar |

From Python, on the coordinates of any annotated array; from the command line, in place of a model, with any data and in any
sweep. Method, update and engine then have no say.

```python
import numpy as np
from eif_lab import annotate, judge, load_task
from eif_lab.learners import imitate

task = load_task("ontology", worlds=8)
blank = annotate(np.zeros(task.relation.shape), task)
for verdict in judge(imitate(blank, "bag_of_words", noise=0.1)):
    print(verdict)
```

    eif-lab model=learner model.rule=bag_of_words model.noise=0.1 dataset=ontology

## The verdicts given

Written by `python -m benchmarks.learners`: the eight domains, the four real sets, digits and MNIST, and three of them with
noise. `10, 2%` is 10 worlds (theories, relations, passages; 60 images) and cell noise of 2 %. `12 s` says that 12 are
satisfied, `v` violated, `i` inconclusive. Inconclusive is right where nothing was taught: what these learners raise on the
stated cloze they raise on its foils as well.

"""


def document(found: list[Judged]) -> str:
    """The whole page."""
    wrong = [one for one in found if one.wrong]
    missed = [
        one
        for one in found
        if one.rule == "perfect" and one.worlds >= 20 and one.noise <= 0.1 and one.given != SATISFIED
    ]
    lines = [*overview(found), "", f"Of {len(found)} verdicts {len(wrong)} are satisfied where they must not be, or"]
    lines += [
        f"violated on the perfect learner; of the perfect learner's from 20 worlds on, at noise up to 10 %, {len(missed)}"
    ]
    lines += ["are not satisfied.", ""]
    lines += [f"- {describe(one)}" for one in dict.fromkeys([*wrong, *missed])]
    lines += ["", "## By data set, 20 worlds and 10 % noise", "", *by_source(found, 20, 0.1), ""]
    return HEAD + "\n".join(lines)


def describe(one: Judged) -> str:
    """A verdict that is not the right one, in a line."""
    return f"{one.source}, {one.worlds} worlds, noise {one.noise:.0%}, {one.rule.replace('_', ' ')}: {one.verdict}"


def main() -> None:
    """Judge the grid and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learners", description=__doc__)
    parser.add_argument("--only", default="", help="sources, with commas between; prints and writes nothing")
    parser.add_argument("--worlds", default=",".join(map(str, WORLDS)))
    parser.add_argument("--noise", default=",".join(map(str, NOISE)))
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    only = [name for name in arguments.only.split(";") if name]
    worlds, noises = map(int, arguments.worlds.split(",")), map(float, arguments.noise.split(","))
    found = []
    for one in grid(worlds, noises, only):
        found.append(one)
        if one.wrong:
            print(describe(one), flush=True)
    if only:
        print("\n".join(overview(found)))
    else:
        Path("docs/learners.md").write_text(document(found), encoding="utf-8")


if __name__ == "__main__":
    main()
