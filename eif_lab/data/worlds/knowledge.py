"""Invented worlds: what every knowledge domain is made of, and how its worlds become stimuli, probes and relations.

A world has background facts and cases. A case states something new about the world, names what should follow from that,
and for each thing that follows a matched foil: the same sentence about words that the stimulus does not connect. What a
stimulus says about a probe is derived, not declared: by forward chaining with the domain's rules (`logic`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Background, Task, Texts, background_in_context, concatenate
from eif_lab.data.worlds.logic import Fact, Rule, closure
from eif_lab.data.worlds.names import invent
from eif_lab.errors import rule_error
from eif_lab.options import option


@dataclass(frozen=True)
class Case:
    """One stimulus and what it should and should not move.

    Attributes:
        stated: The stimulus, one fact or several.
        follows: What is entailed, each with its matched foil.
        contradicts: What is denied beside the denial of what follows, each with its matched foil.
        converse: The same the other way round, which does not follow.
        foils: What does not follow either, and has no partner.
    """

    stated: tuple[Fact, ...]
    follows: tuple[tuple[Fact, Fact], ...] = ()
    contradicts: tuple[tuple[Fact, Fact], ...] = ()
    converse: tuple[Fact, ...] = ()
    foils: tuple[Fact, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[Fact, Fact], ...]:
        """All that follows or is contradicted, each with its foil: what follows is denied as well."""
        return self.follows + tuple((fact.denied(), foil.denied()) for fact, foil in self.follows) + self.contradicts


@dataclass(frozen=True)
class World:
    """One world of a domain.

    Attributes:
        background: What is known beforehand.
        cases: The stimuli with their probes.
        neutral: A statement like the stimuli about words that occur nowhere else.
        choices: For a relation, the objects that its questions choose among.
        tops: The words that hang directly below the world's root; the others hang where facts put them.
        rules: What follows from what.
    """

    background: tuple[Fact, ...]
    cases: tuple[Case, ...]
    neutral: tuple[Fact, ...]
    choices: Mapping[str, tuple[str, ...]]
    tops: tuple[str, ...]
    rules: tuple[Rule, ...]

    @cached_property
    def known(self) -> set[Fact]:
        """What follows from the background alone."""
        return closure(self.background, self.rules)

    @cached_property
    def learnt(self) -> list[set[Fact]]:
        """Per case, what follows from the background and the stimulus."""
        return [closure((*self.background, *case.stated), self.rules) for case in self.cases]

    def relation(self, number: int, fact: Fact) -> str:
        """What the stimulus of case ``number`` says about ``fact``."""
        case = self.cases[number]
        if fact in case.stated:
            return "direct"
        if fact in self.learnt[number]:
            return "unrelated" if fact in self.known else "entailed"
        if fact in case.converse:
            return "converse"
        if fact.denied() in self.learnt[number] - self.known:
            return "contradicted"
        return "foil" if fact in {foil for _, foil in case.pairs} | set(case.foils) else "unrelated"

    def candidates(self, fact: Fact, true: Collection[Fact]) -> tuple[str, ...]:
        """The objects that a question for this fact chooses among: its own, and those that are not true as well."""
        others = (fact._replace(object=word) for word in self.choices.get(fact.relation, ()))
        wrong = [other.object for other in others if other not in true and other.object not in fact[:3:2]]
        return (fact.object, *wrong)

    @cached_property
    def tree(self) -> tuple[dict[str, int], np.ndarray]:
        """Edges between any two words: (place of each word, (words + 1, words + 1)); the last one is the root.

        Words hang below each other by the facts of the background and of the stimuli, and ``tops`` hang below the root.
        """
        facts = [*self.background, *(fact for case in self.cases for fact in case.stated)]
        mentioned = (fact for case in self.cases for pair in case.pairs for fact in pair)
        extra = (fact for case in self.cases for fact in (*case.converse, *case.foils))
        names = [word for fact in (*facts, *mentioned, *extra) for word in (fact.subject, *fact.object.split())]
        place = {word: i for i, word in enumerate(dict.fromkeys((*self.tops, *names)))}
        edges = [(place[fact.subject], place[fact.object]) for fact in facts]
        edges += [(place[top], len(place)) for top in self.tops]
        one, other = np.array(edges).T
        graph = coo_array((np.ones(len(edges)), (one, other)), shape=(len(place) + 1,) * 2)
        steps = shortest_path(graph, directed=False, unweighted=True)
        lost = ~np.isfinite(steps[-1])  # what no fact connects hangs below the root as well
        steps[lost, -1] = steps[-1, lost] = 1
        through = steps[:, -1][:, None] + steps[-1][None, :]
        return place, np.where(np.isfinite(steps), steps, through)


class Query(NamedTuple):
    """A probe: a fact, asked as a cloze or read as a whole statement, made for a case of a world, or for several."""

    world: int
    case: int
    facts: tuple[Fact, ...]
    form: str = "cloze"

    @property
    def fact(self) -> Fact:
        """The fact asked for; of a statement of several the first."""
        return self.facts[0]


@dataclass
class Knowledge(Dataset):
    """What the domains have in common: how many worlds, how they are worded, and what is probed.

    A domain is a subclass that states its rules and wordings and makes a world out of words.

    Attributes:
        worlds: How many, each with words of its own.
        stimuli_per_world: Cases in each, beside one neutral statement.
        wording: Which of the domain's wordings is used, from 0; the `template` perturbation uses the others.
        view: ``probes`` for clozes of what follows and what does not; ``statements`` for the square array in which each
            statement of a world, and the negation of each consequence, is both stimulus and probe.
        background: Whether background facts are ``taught`` to the base model or stand in each probe's ``context``.
        rules: What follows from what.
        wordings: For each relation three ways to say it up to the object; ``{not}`` is where it is denied.
        closed: Whether, in a document for pre-training, what does not follow may be denied.
        alone: Whether each stimulus is only consistent without the others of its world.
    """

    kind: ClassVar[str] = "text"
    rules: ClassVar[tuple[Rule, ...]] = ()
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    closed: ClassVar[bool] = True
    alone: ClassVar[bool] = False

    worlds: int = option(20, at_least=1)
    stimuli_per_world: int = option(3, at_least=1)
    wording: int = option(0, at_least=0, at_most=2)
    view: str = option("probes", one_of=["probes", "statements"])
    background: str = option("taught", one_of=["taught", "context"])

    @classmethod
    def size(cls, cases: int) -> int:
        """How many words a world with so many cases needs."""
        raise NotImplementedError

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """A world over ``words``."""
        raise NotImplementedError

    @classmethod
    def prompt(cls, fact: Fact, wording: int = 0) -> str:
        """The sentence up to its object: "a dax is a"."""
        return cls.wordings[fact.relation][wording].format_map(
            {"subject": fact.subject, "not": " not" if fact.negated else ""}
        )

    @classmethod
    def sentence(cls, fact: Fact, wording: int = 0) -> str:
        """The whole sentence: "a dax is a blick ."."""
        return f"{cls.prompt(fact, wording)} {fact.object} ."

    @classmethod
    def text(cls, facts: Iterable[Fact], wording: int = 0) -> str:
        """Several sentences as one text."""
        return " ".join(cls.sentence(fact, wording) for fact in facts)

    def load(self, seed: int) -> Task:
        """The task that ``seed`` draws: other words for every seed.

        Raises:
            ConfigError: There are not enough invented words for so many worlds, or so large ones.
        """
        random = np.random.default_rng(seed)
        worlds: list[World] = []
        taken: set[str] = set()
        for number in range(self.worlds):
            try:
                words = invent(self.size(self.stimuli_per_world), random, unseen=True, taken=taken)
            except IndexError:
                most = f"be at most {number} with {self.stimuli_per_world} stimuli each"
                if number:
                    raise rule_error("dataset.worlds", most, self.worlds, f"Try {number}.") from None
                raise rule_error(
                    "dataset.stimuli_per_world", "leave a world enough words", self.stimuli_per_world
                ) from None
            taken |= set(words)
            worlds.append(self.world(words, self.stimuli_per_world))
        task = self.statements(worlds) if self.view == "statements" else self.probes(worlds)
        return background_in_context(task) if self.background == "context" else task

    def probes(self, worlds: Sequence[World]) -> Task:
        """Stimuli, and the probes that were made for them."""
        stimuli = [(w, c) for w, world in enumerate(worlds) for c in range(len(world.cases))]
        made = [query for w, c in stimuli for query in queries_of(worlds[w], w, c)]
        queries = list({(query.world, query.form, query.facts): query for query in reversed(made)}.values())[::-1]
        place = {(query.world, query.fact): j for j, query in enumerate(queries) if query.form == "cloze"}
        foil = np.full((len(stimuli), len(queries)), -1)
        for i, (w, c) in enumerate(stimuli):
            for fact, other in worlds[w].cases[c].pairs:
                foil[i, place[w, fact]] = place[w, other]
        return self._with_neutral(
            worlds,
            Task(
                stimuli=self._statements([(w, worlds[w].cases[c].stated) for w, c in stimuli]),
                probes=self._queries(worlds, queries),
                relation=np.array([[relation(worlds, *stimulus, query) for query in queries] for stimulus in stimuli]),
                distances={"path": path_lengths(worlds, [(w, worlds[w].cases[c].stated) for w, c in stimuli], queries)},
                foil=foil,
                background=self._background(worlds),
            ),
        )

    def statements(self, worlds: Sequence[World]) -> Task:
        """The square view: every statement, and the negation of every consequence, as stimulus and as probe.

        What one says about another is what follows from it with the rest of the background.
        """
        said: list[tuple[int, Fact]] = []
        for w, world in enumerate(worlds):
            consequences = [fact for case in world.cases for fact, _ in case.follows]
            stated = [fact for case in world.cases for fact in case.stated]
            denied = [fact.denied() for fact in consequences]
            said += [(w, fact) for fact in dict.fromkeys((*world.background, *stated, *consequences, *denied))]
        learnt = [closure({*worlds[w].background, fact}, worlds[w].rules) for w, fact in said]
        rest = [closure(set(worlds[w].background) - {fact}, worlds[w].rules) for w, fact in said]

        def says(i: int, j: int) -> str:
            (w, stated), (v, probed) = said[i], said[j]
            if i == j:
                return "direct"
            if w != v or probed in rest[i]:
                return "unrelated"
            if probed in learnt[i]:
                return "entailed"
            return "contradicted" if probed.denied() in learnt[i] or probed == stated.denied() else "unrelated"

        texts = self._statements([(w, (fact,)) for w, fact in said])
        every = range(len(said))
        queries = [Query(w, 0, (fact,)) for w, fact in said]
        return Task(
            stimuli=texts,
            probes=texts,
            relation=np.array([[says(i, j) for j in every] for i in every]),
            distances={"path": path_lengths(worlds, [(w, (fact,)) for w, fact in said], queries)},
            foil=np.full((len(said), len(said)), -1),
            background=self._background(worlds),
        )

    def _with_neutral(self, worlds: Sequence[World], task: Task) -> Task:
        """The task with each world's neutral statement as a further stimulus, unrelated to every probe."""
        neutral = self._statements([(w, world.neutral) for w, world in enumerate(worlds)], neutral=True)
        shape = len(worlds), len(task.probes)
        assert isinstance(task.stimuli, Texts)
        return Task(
            stimuli=concatenate([task.stimuli, neutral]),
            probes=task.probes,
            relation=np.concatenate([task.relation, np.full(shape, "unrelated")]),
            distances={name: np.concatenate([d, np.full(shape, np.nan)]) for name, d in task.distances.items()},
            foil=np.concatenate([task.foil, np.full(shape, -1)]),
            background=task.background,
        )

    def _statements(self, stated: Sequence[tuple[int, tuple[Fact, ...]]], neutral: bool = False) -> Texts:
        """Whole statements; ``wording_1``, ... hold the domain's other wordings, ``negation`` the denial."""
        others = [w for w in range(3) if w != self.wording]
        said = [self.text(facts, self.wording) for _, facts in stated]
        return Texts(
            prompts=("",) * len(stated),
            targets=tuple(said),
            ids=np.array(said),
            coords={
                "world": np.array([w for w, _ in stated]),
                "neutral": np.full(len(stated), neutral),
                "negation": np.array([self.text([f.denied() for f in facts], self.wording) for _, facts in stated]),
                **{
                    f"wording_{i}": np.array([self.text(facts, other) for _, facts in stated])
                    for i, other in enumerate(others, 1)
                },
            },
        )

    def _queries(self, worlds: Sequence[World], queries: Sequence[Query]) -> Texts:
        """A statement has the id of its stimulus; a cloze has its own, the sentence with a bar before the answer."""
        whole = [query.form == "statement" for query in queries]
        prompts = ["" if w else self.prompt(q.fact, self.wording) for w, q in zip(whole, queries)]
        targets = [self.text(q.facts, self.wording) if w else f" {q.fact.object}" for w, q in zip(whole, queries)]
        name = [target if w else f"{prompt} |{target}" for w, prompt, target in zip(whole, prompts, targets)]
        asked = [f"{self.prompt(q.fact.denied(), self.wording)} |{t}" for q, t in zip(queries, targets)]
        return Texts(
            prompts=tuple(prompts),
            targets=tuple(targets),
            ids=np.array(name),
            coords={
                "world": np.array([query.world for query in queries]),
                "form": np.array([query.form for query in queries]),
                "negates": np.array(
                    [text if q.fact.negated and not w else "" for text, q, w in zip(asked, queries, whole)]
                ),
            },
            candidates=tuple(
                () if w else answers(worlds[q.world].candidates(q.fact, worlds[q.world].learnt[q.case]))
                for w, q in zip(whole, queries)
            ),
        )

    def _background(self, worlds: Sequence[World]) -> Background | None:
        """Every background fact, and the question for it."""
        facts = [(w, fact) for w, world in enumerate(worlds) for fact in world.background]
        if not facts:
            return None
        coords = {"world": np.array([w for w, _ in facts])}
        said = tuple(self.sentence(fact, self.wording) for _, fact in facts)
        return Background(
            facts=Texts(("",) * len(facts), said, np.array(said), coords),
            questions=Texts(
                tuple(self.prompt(fact, self.wording) for _, fact in facts),
                tuple(f" {fact.object}" for _, fact in facts),
                np.array(said),
                coords,
                candidates=tuple(answers(worlds[w].candidates(fact, worlds[w].known)) for w, fact in facts),
            ),
        )


def queries_of(world: World, w: int, c: int) -> list[Query]:
    """The probes of a case: what is stated, what follows beside its foil, both denied, the converse, further foils."""
    case = world.cases[c]
    queries = [Query(w, c, case.stated, form="statement")]
    queries += [Query(w, c, (fact,)) for fact in case.stated]
    for fact, foil in case.pairs:
        queries += [Query(w, c, (fact,)), Query(w, c, (foil,))]
    return queries + [Query(w, c, (fact,)) for fact in (*case.converse, *case.foils)]


def relation(worlds: Sequence[World], w: int, c: int, query: Query) -> str:
    """What the stimulus of case ``c`` of world ``w`` says about a probe; nothing about another world's."""
    if query.world != w:
        return "unrelated"
    if query.form == "statement":
        return "direct" if query.facts == worlds[w].cases[c].stated else "unrelated"
    return worlds[w].relation(c, query.fact)


def answers(words: Iterable[str]) -> tuple[str, ...]:
    """Objects as they follow a prompt."""
    return tuple(f" {word}" for word in words)


def path_lengths(
    worlds: Sequence[World], stated: Sequence[tuple[int, tuple[Fact, ...]]], queries: Sequence[Query]
) -> np.ndarray:
    """Edges to walk from stimulus to probe, subject to subject and object to object: (stimuli, probes).

    Of a stimulus or a probe of several facts the nearest count. The worlds hang below one root, so that every distance
    is finite; it is symmetric, 0 between a statement and itself, and blind to negation and to the relation.
    """

    def ends(w: int, fact: Fact) -> list[tuple[int, int]]:
        place = worlds[w].tree[0]
        return [(place[fact.subject], place[word]) for word in fact.object.split()]

    def edges(w: int, one: int, v: int, other: int) -> float:
        first, second = worlds[w].tree[1], worlds[v].tree[1]
        return first[one, other] if w == v else first[one, -1] + 2 + second[other, -1]

    starts = [(w, [end for fact in facts for end in ends(w, fact)]) for w, facts in stated]
    goals = [(q.world, [end for fact in q.facts for end in ends(q.world, fact)]) for q in queries]
    return np.array(
        [
            [min(edges(w, a, v, c) + edges(w, b, v, d) for a, b in mine for c, d in theirs) for v, theirs in goals]
            for w, mine in starts
        ]
    )


def word_overlap(task: Task) -> float:
    """How much of an entailed probe its matched foil says as well: shared words over all words, averaged over pairs.

    The words of prompt and target are counted as often as they occur (a Jaccard index of multisets); 1 is the same
    words in another arrangement. NaN where no probe has a foil.
    """
    texts = task.probes
    if not isinstance(texts, Texts):
        return float("nan")
    said = [Counter(f"{prompt}{target}".split()) for prompt, target in zip(texts.prompts, texts.targets)]
    rows, columns = np.nonzero((task.foil >= 0) & (task.relation == "entailed"))
    pairs = [(said[j], said[task.foil[i, j]]) for i, j in zip(rows, columns)]
    shares = [sum((one & other).values()) / sum((one | other).values()) for one, other in pairs]
    return float(np.mean(shares)) if shares else float("nan")
