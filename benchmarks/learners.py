"""Verdicts on reference learners beside the right ones: ``python -m benchmarks.learners`` writes docs/learners.md."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eif_lab import annotate, judge, load_task
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.desiderata.verdict import SATISFIED, VERDICTS, VIOLATED, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.learners import RULES, imitate
from eif_lab.learners.right import OPEN, right_verdict
from eif_lab.perturbations.noise import Noise

WORLDS = (10, 20, 40)
NOISE = (0.02, 0.1, 0.3)
PER_CLASS = 6
"""Images of each of ten classes that stand for ten worlds."""

MOST_RELATIONS, MOST_PASSAGES = 38, 30
"""All that the sets have at their default lengths, where 40 worlds are asked for."""


class Source(NamedTuple):
    """Where a task comes from.

    Attributes:
        dataset: By its name in ``conf/dataset``.
        options: Of it.
        noisy: Whether its samples are there clean and noisy.
    """

    dataset: str
    options: Mapping[str, Any]
    noisy: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        language = f"{self.dataset} in {str(self.options['language']).title()}" if "language" in self.options else ""
        return f"{self.dataset}, noisy" if self.noisy else language or self.dataset


@dataclass(frozen=True)
class LearnerVerdict:
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
        """Whether it is satisfied where it must not be, or violated on a perfect learner."""
        if self.rule == "perfect" and self.given == VIOLATED:
            return True
        return self.given == SATISFIED and self.right not in (SATISFIED, OPEN)

    @property
    def missed(self) -> bool:
        """Whether a perfect learner is not satisfied where there are enough worlds and little noise."""
        large = self.rule == "perfect" and self.worlds >= 20 and self.noise <= 0.1
        return large and self.right == SATISFIED != self.given

    @property
    def kind(self) -> str:
        """What the verdict is on."""
        return "images" if self.source.startswith(("digits", "mnist")) else "texts"


def sources(worlds: int) -> list[Source]:
    """The eight domains, in invented words and in English, the four real sets and the image sets at so many worlds."""
    images = {"stimuli": PER_CLASS * worlds, "probes": PER_CLASS * worlds}
    few = {"stimuli": 3 * worlds, "probes": 3 * worlds}
    kinds = ["factual", "commonsense", "linguistic"]
    return [
        *(Source(domain.__name__.lower(), {"worlds": worlds}) for domain in DOMAINS),
        *(Source(domain.__name__.lower(), {"worlds": worlds, "language": "english"}) for domain in DOMAINS),
        Source("relations", {"relations": min(worlds, MOST_RELATIONS), "kinds": kinds}),
        Source("fictional_knowledge", {"passages": min(worlds, MOST_PASSAGES)}),
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
    origin = next(one for one in sources(worlds) if one.name == source)
    task = load_task(origin.dataset, seed=seed, **origin.options)
    if origin.noisy:
        task = Noise(levels=[0.5]).apply(task, seed)
    return annotate(np.zeros(task.relation.shape), task)


def learner_verdicts(source: str, worlds: int, noise: float, rule: str, seed: int = 0) -> Iterator[LearnerVerdict]:
    """The verdicts on one learner; none where its rule has nothing to go by."""
    array = blank(source, worlds, seed)
    try:
        made = imitate(array, rule, noise, seed)
    except NotApplicable:
        return
    for verdict in judge(made, seed=seed):
        yield LearnerVerdict(source, worlds, noise, rule, right_verdict(rule, verdict.desideratum, array), verdict)


def grid(worlds: Iterable[int], noises: Iterable[float], only: Iterable[str] = ()) -> Iterator[LearnerVerdict]:
    """The verdicts on all learners, on all sources or on those that are named."""
    noises, only = list(noises), list(only)
    for size in worlds:
        for source in sources(size):
            if not only or source.name in only:
                for noise, rule in product(noises, RULES):
                    yield from learner_verdicts(source.name, size, noise, rule)


def counts(verdicts: Iterable[LearnerVerdict]) -> str:
    """How many are satisfied, violated and inconclusive: "12 s", "3 s 9 i"; empty for none."""
    number = Counter(one.given for one in verdicts)
    return " ".join(f"{number[name]} {name[0]}" for name in VERDICTS if number[name])


def rights(verdicts: Iterable[LearnerVerdict]) -> str:
    """The right verdicts of the sources, with their numbers where they differ."""
    by_source = {one.source: one.right or "open" for one in verdicts}
    number = Counter(by_source.values())
    return next(iter(number)) if len(number) == 1 else ", ".join(f"{count} {name}" for name, count in number.items())


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def overview(verdicts: Sequence[LearnerVerdict]) -> list[str]:
    """Learner by desideratum: the right verdict, and how many sources were given which, by worlds and noise."""
    cells = sorted({(one.worlds, one.noise) for one in verdicts})
    groups: dict[tuple[str, str, str], list[LearnerVerdict]] = {}
    for one in verdicts:
        groups.setdefault((one.rule, one.verdict.desideratum, one.kind), []).append(one)
    rows = []
    for (rule, desideratum, kind), group in sorted(groups.items(), key=lambda item: list(RULES).index(item[0][0])):
        given = [counts(one for one in group if (one.worlds, one.noise) == cell) for cell in cells]
        rows.append([spoken(rule), spoken(desideratum), kind, rights(group), *given])
    return table(["learner", "desideratum", "of", "right", *(f"{size}, {noise:.0%}" for size, noise in cells)], rows)


def by_source(verdicts: Iterable[LearnerVerdict], worlds: int, noise: float) -> list[str]:
    """Source and learner by desideratum at one size: the verdict given, and the right one where it is another."""
    these = [one for one in verdicts if (one.worlds, one.noise) == (worlds, noise)]
    names = list(dict.fromkeys(one.verdict.desideratum for one in these))
    given: dict[tuple[str, str], dict[str, str]] = {}
    for one in these:
        also = "" if one.right in (OPEN, one.given) else f" (right: {one.right})"
        given.setdefault((one.source, one.rule), {})[one.verdict.desideratum] = one.given + also
    rows = [[source, spoken(rule), *(cells.get(name, "") for name in names)] for (source, rule), cells in given.items()]
    return table(["data", "learner", *map(spoken, names)], rows)


def spoken(name: str) -> str:
    """A name as it is written in prose."""
    return name.replace("_", " ")


def describe(one: LearnerVerdict) -> str:
    """A verdict that is not the right one, in a line."""
    return f"{one.source}, {one.worlds} worlds, noise {one.noise:.0%}, {spoken(one.rule)}: {one.verdict}"


HEAD = """# Reference learners

What is a verdict worth? These learners are rules and not models, so that the right verdict on each is known
beforehand. A rule sees a task's relations, words, worlds and distances, and says what each stimulus does to each
probe; every cell has Gaussian noise, in shares of what is taught.

| learner | what it does | what it must not be satisfied with |
| --- | --- | --- |
| perfect | what is stated or follows rises, what is contradicted falls, the rest stays; images teach by nearness | |
| bag of words | raises a probe by the words that it shares with the stimulus | all: foils share the same |
| format | raises every probe by a level of its own, whatever the stimulus | all: foils have the same form |
| copying | raises the stimulus's words wherever they are the answer | all: foils have the same answer |
| negation blind | perfect, but what is contradicted rises too | negation |
| symmetric | perfect, but the converse rises too, and a noisy image teaches as it is taught | logic; noise invariance |
| faint | learns what is stated, and passes on a twentieth | logic and negation: reach and gap are below their bars |

From Python, on the coordinates of any annotated array:

```python
import numpy as np
from eif_lab import annotate, judge, load_task
from eif_lab.learners import imitate

task = load_task("ontology", worlds=8)
blank = annotate(np.zeros(task.relation.shape), task)
for verdict in judge(imitate(blank, "bag_of_words", noise=0.1), "logic"):
    print(verdict)
```

From the command line in place of a model, with any data and in any sweep; method, update and engine then have no say:

    eif-lab model=learner model.rule=bag_of_words model.noise=0.1 dataset=ontology

## The verdicts given

Written by `python -m benchmarks.learners`: the eight domains in invented words and in English, the four real sets,
digits and MNIST, and digits, MNIST and ontology with noise. "10, 2%" is 10 worlds (theories, relations, passages; 60
images; the sets end at 38 relations and 30 passages) and cell noise of 2 %. "12 s" says that 12 are satisfied, "v"
violated, "i" inconclusive.
Inconclusive is right where nothing was taught: what such a learner raises on the stated cloze it raises on its foils
as well; and for symmetry where no statement says anything about another. Open is what the rule does not decide: what
a faint learner passes on may or may not be seen through the noise, and a learner that raises the converse moves one
probe too many.

"""


def document(verdicts: Sequence[LearnerVerdict]) -> str:
    """The whole page."""
    wrong = [one for one in verdicts if one.wrong]
    missed = [one for one in verdicts if one.missed]
    summary = [
        f"Of {len(verdicts)} verdicts **{len(wrong)}** are satisfied where they must not be, or violated on the",
        f"perfect learner; **{len(missed)}** on the perfect one, from 20 worlds on and at noise up to 10 %, are not",
        "satisfied.",
        "",
        *(f"- {describe(one)}" for one in verdicts if one.wrong or one.missed),
        *[""] * bool(wrong or missed),
    ]
    sizes = ["## By data set, 20 worlds and 10 % noise", "", *by_source(verdicts, 20, 0.1), ""]
    return HEAD + "\n".join([*overview(verdicts), "", *summary, *sizes])


def main() -> None:
    """Judge the grid, and write the page; print a table alone where the grid is not the whole one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learners", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a source; may be given again for more")
    parser.add_argument("--quick", action="store_true", help="one source at 6 worlds, to try it")
    arguments = parser.parse_args()
    only: list[str] = arguments.only
    worlds: Sequence[int] = WORLDS
    noises: Sequence[float] = NOISE
    if arguments.quick:
        only, worlds, noises = ["negation"], (6,), (0.1,)
    verdicts = []
    for one in grid(worlds, noises, only):
        verdicts.append(one)
        if one.wrong or one.missed:
            print(describe(one), flush=True)
    if only:
        print("\n".join(overview(verdicts)))
    else:
        Path("docs/learners.md").write_text(document(verdicts), encoding="utf-8")


if __name__ == "__main__":
    main()
