"""Theories with questions: a theory is known, one of its facts is the stimulus, and questions ask what follows.

What a stimulus says about a question is derived, by forward chaining over the theory's own rules (`logic`), and not
only in its own theory: sets of theories use the same few names again and again, so that one theory's
fact can decide a question about another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from eif_lab.data.task import FOILS, RELATED, Background, Task, Texts, background_in_context
from eif_lab.data.worlds.logic import Fact, Rule

TRUE, FALSE, UNKNOWN = " True", " False", " Unknown"
"""Answers, as they follow a question."""

ANYTHING = "?x"
"""The variable of rules."""


class Sentence(NamedTuple):
    """A sentence and what it says."""

    text: str
    meaning: Fact


@dataclass(frozen=True)
class Question:
    """A statement that is asked for.

    Attributes:
        statement: The statement; True and False are both probes.
        foils: By the names of `FOILS`, the place among the theory's questions of one that is like it and stays open;
            empty where there is none.
    """

    statement: Sentence
    foils: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Theory:
    """A background, a new fact, and questions.

    Attributes:
        name: Its name in the set.
        number: Its number in the set; the coordinate ``world``.
        background: The sentences of the theory without the stimulus.
        facts, rules: What those say.
        stimulus: The fact that was taken out.
        questions: What is asked, the stimulus first.
    """

    name: str
    number: int
    background: tuple[str, ...]
    facts: tuple[Fact, ...]
    rules: tuple[Rule, ...]
    stimulus: Sentence
    questions: tuple[Question, ...]

    @cached_property
    def consequences(self) -> dict[Fact, int]:
        """All facts that follow from the background alone, each with its round."""
        return rounds(self.facts, self.rules)

    def consequences_with(self, fact: Fact) -> dict[Fact, int]:
        """All facts that follow from the background and ``fact``, each with its round."""
        return rounds((*self.facts, fact), self.rules)


def with_foils(
    asked: Sequence[Sentence], foils: Callable[[Fact], Sequence[Fact]], say: Callable[[Fact], str]
) -> tuple[Question, ...]:
    """Questions with their foils, which are asked behind them.

    Args:
        asked: Statements that are to be asked.
        foils: A fact to its foils in the order of `FOILS`, or to none.
        say: A fact to its sentence.
    """
    meant = [one.meaning for one in asked]
    found = [foils(fact) for fact in meant]
    every = list(dict.fromkeys((*meant, *(foil for some in found for foil in some))))
    statements = [*asked, *(Sentence(say(fact), fact) for fact in every[len(asked) :])]
    places = [{name: every.index(foil) for name, foil in zip(FOILS, some)} for some in found]
    without: list[dict[str, int]] = [{}] * (len(statements) - len(asked))
    return tuple(Question(one, known) for one, known in zip(statements, [*places, *without]))


def open_foils(
    fact: Fact, subjects: Sequence[str], predicates: Sequence[tuple[str, str]], known: Mapping[Fact, int]
) -> tuple[Fact, ...]:
    """The first foils of a fact that stay open, in the order of `FOILS`: another predicate, another subject, and both.

    Args:
        fact: What is asked for.
        subjects: Whom the foils may be about.
        predicates: Relations with objects that they may claim.
        known: What can be derived.

    Returns:
        None, if there are none of which nothing is known.
    """
    own = fact.relation, fact.object
    for relation, object_ in predicates:
        other = fact._replace(relation=relation, object=object_)
        for subject in subjects:
            foils = other, fact._replace(subject=subject), other._replace(subject=subject)
            new = subject not in (fact.subject, fact.object, object_) and (relation, object_) != own
            if new and object_ != fact.subject and not any(one in known or one.denied() in known for one in foils):
                return foils
    return ()


def rounds(facts: Sequence[Fact], rules: Sequence[Rule]) -> dict[Fact, int]:
    """All facts that follow, with the first round of forward chaining in which it does: 0 for the facts themselves.

    Every rule is first said of each name. That is `closure`, many times faster, for rules whose one variable is the
    subject of a premise, as those of these sets are.
    """
    names = {fact.subject for fact in facts} | {rule.conclusion.subject for rule in rules}
    instances = {
        (frozenset(_about(name, premise) for premise in rule.premises), _about(name, rule.conclusion))
        for rule in rules
        for name in names - {ANYTHING}
    }
    reached = dict.fromkeys(facts, 0)
    number = 0
    while True:
        number += 1
        new = {conclusion for premises, conclusion in instances if premises <= reached.keys()} - reached.keys()
        if not new:
            return reached
        reached |= dict.fromkeys(new, number)


def _about(name: str, fact: Fact) -> Fact:
    subject, relation, object_, negated = fact
    return Fact(name if subject == ANYTHING else subject, relation, name if object_ == ANYTHING else object_, negated)


def answer(fact: Fact, known: dict[Fact, int]) -> str:
    """Whether ``fact`` is true or false by what is known; unknown where neither or both can be derived."""
    affirmed, denied = fact in known, fact.denied() in known
    return UNKNOWN if affirmed == denied else TRUE if affirmed else FALSE


class Probe(NamedTuple):
    """A question and one answer to it, or the stimulus as a statement (``question`` -1, ``answer`` empty)."""

    theory: int
    question: int
    statement: Sentence
    answer: str

    @property
    def claim(self) -> Fact:
        """The fact that the answer claims."""
        return self.statement.meaning.denied() if self.answer == FALSE else self.statement.meaning


def theory_task(theories: Sequence[Theory], question: str, candidates: tuple[str, ...], background: str) -> Task:
    """Stimuli, probes, relations, distances, foils and background.

    Of each theory the probes are its stimulus as a statement, and True and False as answers to every question. The
    distance ``steps`` is the number of rounds of forward chaining after which a probe follows from the stimulus, or is
    denied; NaN where neither is so, and between theories.

    Args:
        theories: Each is a world.
        question: What stands before each statement that is asked for.
        candidates: The answers to choose among.
        background: ``context`` to have each theory stand before its probes; ``taught`` to have it taught, each sentence
            then saying which theory it belongs to, because theories disagree about the same names.
    """
    taught = background == "taught"
    probes = [probe for place, theory in enumerate(theories) for probe in probes_of(place, theory)]
    shape = len(theories), len(probes)
    relation, steps = np.full(shape, "unrelated", "<U12"), np.full(shape, np.nan)
    for i, theory in enumerate(theories):
        stated = theory.stimulus.meaning
        learnt = [other.consequences_with(stated) for other in theories]
        for j, probe in enumerate(probes):
            same, after = i == probe.theory, learnt[probe.theory]
            if same or not taught:
                relation[i, j] = relation_of(
                    probe, theories[probe.theory].consequences, after, stated, same_theory=same
                )
            if same and relation[i, j] in RELATED:
                steps[i, j] = min(after[fact] for fact in (probe.claim, probe.claim.denied()) if fact in after)
    task = Task(
        stimuli=_stimuli(theories, taught),
        probes=_probes(theories, probes, question, candidates, taught),
        relation=relation,
        distances={"steps": steps},
        foils=_foils(theories, probes, relation),
        background=_background(theories, taught),
    )
    return task if taught else background_in_context(task)


def probes_of(place: int, theory: Theory) -> list[Probe]:
    """The probes of a theory: its statement, then each question with its two answers."""
    replies = ((q, one, reply) for q, one in enumerate(theory.questions) for reply in (TRUE, FALSE))
    questions = [Probe(place, q, one.statement, reply) for q, one, reply in replies]
    return [Probe(place, -1, theory.stimulus, ""), *questions]


def relation_of(
    probe: Probe, before: dict[Fact, int], after: dict[Fact, int], stated: Fact, *, same_theory: bool
) -> str:
    """The relation of a stimulus to a probe.

    Args:
        probe: Of a theory.
        before: What follows from that theory.
        after: What follows from that theory and the stimulus.
        stated: The stimulus.
        same_theory: Whether the stimulus belongs to that theory; only then are questions that stay open its foils.
    """
    if same_theory and probe.claim == stated:
        return "direct"
    decided = answer(probe.claim, after)
    if answer(probe.claim, before) == UNKNOWN and decided != UNKNOWN:
        return "entailed" if decided == TRUE else "contradicted"
    return "foil" if same_theory and decided == UNKNOWN else "unrelated"


def _foils(theories: Sequence[Theory], probes: Sequence[Probe], relation: np.ndarray) -> dict[str, np.ndarray]:
    """The foils of each cell, (stimuli, probes): the same answer to the question that is the foil; -1 for none."""
    place = {(probe.theory, probe.question, probe.answer): j for j, probe in enumerate(probes)}
    foils = {name: np.full(relation.shape, -1) for name in FOILS}
    for j, (i, question, _, reply) in enumerate(probes):
        if question >= 0 and relation[i, j] in RELATED:
            for name, other in theories[i].questions[question].foils.items():
                foils[name][i, j] = place[i, other, reply]
    return foils


def _with_name(theory: Theory, text: str, taught: bool) -> str:
    """A sentence that says, where theories are taught, which one it belongs to."""
    return f"In theory {theory.number}: {text}" if taught else text


def _statement_id(theory: Theory) -> str:
    return f"{theory.name}: {theory.stimulus.text}"


def _stimuli(theories: Sequence[Theory], taught: bool) -> Texts:
    return Texts(
        prompts=("",) * len(theories),
        targets=tuple(_with_name(theory, theory.stimulus.text, taught) for theory in theories),
        ids=np.array([_statement_id(theory) for theory in theories]),
        coords={"world": np.array([theory.number for theory in theories])},
    )


def _probes(
    theories: Sequence[Theory], probes: Sequence[Probe], question: str, candidates: tuple[str, ...], taught: bool
) -> Texts:
    """A statement has the id of its stimulus; a question has its own, the statement with its answer."""

    def name(probe: Probe, reply: str) -> str:
        theory = theories[probe.theory]
        return f"{theory.name}: {probe.statement.text}{reply}" if probe.answer else _statement_id(theory)

    prompts = [f"{question} {probe.statement.text}" if probe.answer else "" for probe in probes]
    return Texts(
        prompts=tuple(_with_name(theories[p.theory], text, taught) if text else "" for p, text in zip(probes, prompts)),
        targets=tuple(p.answer or _with_name(theories[p.theory], p.statement.text, taught) for p in probes),
        ids=np.array([name(probe, probe.answer) for probe in probes]),
        coords={
            "world": np.array([theories[probe.theory].number for probe in probes]),
            "form": np.array(["question" if probe.answer else "statement" for probe in probes]),
            "negates": np.array([name(probe, TRUE) if probe.answer == FALSE else "" for probe in probes]),
        },
        candidates=tuple(candidates if probe.answer else () for probe in probes),
    )


def _background(theories: Sequence[Theory], taught: bool) -> Background:
    """Every sentence, and the question for its last word among other last words that would not be true."""
    sentences = [(theory, text) for theory in theories for text in theory.background]
    coords = {"world": np.array([theory.number for theory, _ in sentences])}
    texts = tuple(_with_name(theory, text, taught) for theory, text in sentences)
    ids = np.array([f"{theory.name}: {text}" for theory, text in sentences])
    split = [text.rpartition(" ") for text in texts]
    return Background(
        facts=Texts(("",) * len(texts), texts, ids, coords),
        questions=Texts(
            prompts=tuple(prompt for prompt, _, _ in split),
            targets=tuple(f" {last}" for _, _, last in split),
            ids=ids,
            coords=coords,
            candidates=tuple(_last_words(theory, text) for theory, text in sentences),
        ),
    )


def _last_words(theory: Theory, text: str) -> tuple[str, ...]:
    """The last word of a sentence, and those of others of its theory that would not be true in its place."""
    prompt, _, right = text.rpartition(" ")
    others = dict.fromkeys(other.rpartition(" ")[2] for other in theory.background)
    return (f" {right}", *(f" {last}" for last in others if f"{prompt} {last}" not in theory.background))
