"""The views of a domain's worlds as a task: probes made for each stimulus, alone or beside what is known beforehand, or
a square array of statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from eif_lab.data.task import FOILS, Background, Task, Texts, concatenate
from eif_lab.data.worlds.distances import Statement, path_lengths
from eif_lab.data.worlds.logic import Fact, closure
from eif_lab.data.worlds.world import World
from eif_lab.errors import rule_error

BACKGROUND = "background"
"""The form of a probe that asks for what is known beforehand."""


class Wording(NamedTuple):
    """How a domain says its facts.

    Attributes:
        prompt: A fact to its sentence up to the object.
        text: Facts to whole sentences, as one text.
    """

    prompt: Callable[[Fact], str]
    text: Callable[[Iterable[Fact]], str]


class Query(NamedTuple):
    """A probe: a fact asked as a ``cloze``, or facts read as a whole ``statement``; made for a case of a world."""

    world: int
    case: int
    facts: tuple[Fact, ...]
    form: str = "cloze"

    @property
    def fact(self) -> Fact:
        """The fact asked for; of a statement of several facts the first."""
        return self.facts[0]

    @property
    def is_statement(self) -> bool:
        """Whether it is read as a whole."""
        return self.form == "statement"


def probes_view(worlds: Sequence[World], wording: Wording, others: Sequence[Wording]) -> Task:
    """Each case's statement as a stimulus, each world's neutral one, and the probes made for the cases.

    Args:
        worlds: The worlds of the task.
        wording: The wording of stimuli and probes.
        others: Further wordings of the stimuli, kept beside them.
    """
    stimuli = [(w, c) for w, world in enumerate(worlds) for c in range(len(world.cases))]
    repeated = [query for w, c in stimuli for query in queries_of(worlds[w], w, c)]
    queries = list({(query.world, query.form, query.facts): query for query in reversed(repeated)}.values())[::-1]
    place = {(query.world, query.fact): j for j, query in enumerate(queries) if not query.is_statement}
    foils = {name: np.full((len(stimuli) + len(worlds), len(queries)), -1) for name in FOILS}
    for i, (w, c) in enumerate(stimuli):
        for contrast in worlds[w].cases[c].contrasts:
            for name, foil in contrast.foils.items():
                foils[name][i, place[w, contrast.fact]] = place[w, foil]
    stated = [(w, worlds[w].cases[c].facts) for w, c in stimuli]
    neutral = [(w, world.neutral) for w, world in enumerate(worlds)]
    relations = [[relation(worlds, *stimulus, query) for query in queries] for stimulus in stimuli]
    unrelated = len(worlds), len(queries)
    lengths = path_lengths(worlds, stated, [(query.world, query.facts) for query in queries])
    return Task(
        stimuli=concatenate([statements(stated, wording, others), statements(neutral, wording, others, neutral=True)]),
        probes=questions(worlds, queries, wording),
        relation=np.concatenate([np.array(relations), np.full(unrelated, "unrelated")]),
        distances={"path": np.concatenate([lengths, np.full(unrelated, np.nan)])},
        foils=foils,
        background=background(worlds, wording),
    )


def retention_view(worlds: Sequence[World], wording: Wording, others: Sequence[Wording]) -> Task:
    """The view of probes, and beside them the questions of the background: what does a stimulus make a model forget?

    No stimulus says anything about these (`unrelated`), since they are known without it. A question that several worlds
    have, as English ones may, is a probe of the first of them.

    Args:
        worlds: The worlds of the task.
        wording: The wording of stimuli and probes.
        others: Further wordings of the stimuli, kept beside them.

    Raises:
        ConfigError: The worlds have no background.
    """
    task = probes_view(worlds, wording, others)
    if task.background is None:
        raise rule_error("dataset.view", "be probes or statements where nothing is known beforehand", "retention")
    asked = task.background.questions
    ids = np.array([f"{prompt} |{target}" for prompt, target in zip(asked.prompts, asked.targets)])
    asked = replace(asked, ids=ids).take(np.sort(np.unique(ids, return_index=True)[1]))
    coords = {"form": np.full(len(asked), BACKGROUND), "negates": np.full(len(asked), "")}
    asked = replace(asked, coords={**asked.coords, **coords})

    def beside(cells: np.ndarray, filling: object) -> np.ndarray:
        return np.concatenate([cells, np.full((len(cells), len(asked)), filling)], axis=1)

    return replace(
        task,
        probes=concatenate([task.texts[1], asked]),
        relation=beside(task.relation, "unrelated"),
        distances={name: beside(cells, np.nan) for name, cells in task.distances.items()},
        foils={name: beside(cells, -1) for name, cells in task.foils.items()},
    )


def statements_view(worlds: Sequence[World], wording: Wording, others: Sequence[Wording]) -> Task:
    """The square view: every statement, and the negation of every consequence, as stimulus and as probe.

    What one statement says about another is what follows from it with the rest of the background. What several worlds
    know beforehand, as English ones may, is a statement of the first of them.

    Args:
        worlds: The worlds of the task.
        wording: The wording of the statements.
        others: Further wordings of the statements, kept beside them.
    """
    world_of: dict[Fact, int] = {}
    for w, world in enumerate(worlds):
        consequences = [contrast.fact for case in world.cases for contrast in case.follows]
        stated = [fact for case in world.cases for fact in case.facts]
        denied = [fact.denied() for fact in consequences]
        world_of |= {fact: w for fact in (*world.background, *stated, *consequences, *denied) if fact not in world_of}
    facts = [(w, fact) for fact, w in world_of.items()]
    learnt = [closure({*worlds[w].background, fact}, worlds[w].rules) for w, fact in facts]
    rest = [closure(set(worlds[w].background) - {fact}, worlds[w].rules) for w, fact in facts]

    def relation_of(i: int, j: int) -> str:
        (w, stated), (v, probed) = facts[i], facts[j]
        if i == j:
            return "direct"
        if w != v or probed in rest[i]:
            return "unrelated"
        if probed in learnt[i]:
            return "entailed"
        return "contradicted" if probed.denied() in learnt[i] or probed == stated.denied() else "unrelated"

    stated_facts = [(w, (fact,)) for w, fact in facts]
    texts = statements(stated_facts, wording, others)
    every = range(len(facts))
    lengths = path_lengths(worlds, stated_facts, stated_facts)
    return Task(
        stimuli=texts,
        probes=texts,
        relation=np.array([[relation_of(i, j) for j in every] for i in every]),
        distances={"path": np.maximum(lengths, lengths.T)},
        background=background(worlds, wording),
    )


VIEWS: Mapping[str, Callable[[Sequence[World], Wording, Sequence[Wording]], Task]] = {
    "probes": probes_view,
    "retention": retention_view,
    "statements": statements_view,
}
"""The views by the name that ``dataset.view`` gives them."""


def queries_of(world: World, w: int, c: int) -> list[Query]:
    """The probes of a case: what is stated, what follows, its denial, the converse, each with its foils.

    Args:
        world: The world.
        w: Its number.
        c: The number of the case in it.
    """
    case = world.cases[c]
    clozes = (fact for contrast in case.contrasts for fact in contrast.facts)
    return [Query(w, c, case.facts, form="statement"), *(Query(w, c, (fact,)) for fact in clozes)]


def relation(worlds: Sequence[World], w: int, c: int, query: Query) -> str:
    """What the stimulus of case ``c`` of world ``w`` says about a probe; nothing about another world's."""
    if query.world != w:
        return "unrelated"
    if query.is_statement:
        return "direct" if query.facts == worlds[w].cases[c].facts else "unrelated"
    return worlds[w].relation(c, query.fact)


def statements(
    stated: Sequence[Statement], wording: Wording, others: Sequence[Wording], neutral: bool = False
) -> Texts:
    """Whole statements; ``wording_1``, ... hold the other wordings, ``negation`` the denial."""
    texts = [wording.text(facts) for _, facts in stated]
    return Texts(
        prompts=("",) * len(stated),
        targets=tuple(texts),
        ids=np.array(texts),
        coords={
            "world": np.array([w for w, _ in stated]),
            "neutral": np.full(len(stated), neutral),
            "negation": np.array([wording.text(fact.denied() for fact in facts) for _, facts in stated]),
            **{
                f"wording_{number}": np.array([other.text(facts) for _, facts in stated])
                for number, other in enumerate(others, 1)
            },
        },
    )


def questions(worlds: Sequence[World], queries: Sequence[Query], wording: Wording) -> Texts:
    """The probes as texts.

    A statement has the id of its stimulus; a cloze has its own, the sentence with a bar before the answer. The
    coordinate ``negates`` holds the id of the cloze that a negated one denies.
    """
    clozes = [not query.is_statement for query in queries]
    prompts = [wording.prompt(q.fact) if cloze else "" for cloze, q in zip(clozes, queries)]
    targets = [f" {q.fact.object}" if cloze else wording.text(q.facts) for cloze, q in zip(clozes, queries)]
    negates = [
        f"{wording.prompt(q.fact.denied())} |{target}" if cloze and q.fact.negated else ""
        for cloze, q, target in zip(clozes, queries, targets)
    ]
    return Texts(
        prompts=tuple(prompts),
        targets=tuple(targets),
        ids=np.array([f"{p} |{t}" if cloze else t for cloze, p, t in zip(clozes, prompts, targets)]),
        coords={
            "world": np.array([query.world for query in queries]),
            "form": np.array([query.form for query in queries]),
            "negates": np.array(negates),
        },
        candidates=tuple(
            answers(worlds[q.world].candidates(q.fact, worlds[q.world].learnt[q.case])) if cloze else ()
            for cloze, q in zip(clozes, queries)
        ),
    )


def background(worlds: Sequence[World], wording: Wording) -> Background | None:
    """Every background fact, and the question for it; None where the worlds have none."""
    facts = [(w, fact) for w, world in enumerate(worlds) for fact in world.background]
    if not facts:
        return None
    sentences = tuple(wording.text([fact]) for _, fact in facts)
    coords = {"world": np.array([w for w, _ in facts])}
    texts = Texts(("",) * len(facts), sentences, np.array(sentences), coords)
    queries = replace(
        texts,
        prompts=tuple(wording.prompt(fact) for _, fact in facts),
        targets=tuple(f" {fact.object}" for _, fact in facts),
        candidates=tuple(answers(worlds[w].candidates(fact, worlds[w].known)) for w, fact in facts),
    )
    return Background(facts=texts, questions=queries)


def answers(words: Iterable[str]) -> tuple[str, ...]:
    """Objects as they follow a prompt."""
    return tuple(f" {word}" for word in words)
