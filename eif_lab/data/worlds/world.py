"""A world of a knowledge domain: background facts, and cases that each state something new about it.

A case names what should follow from its statement, and for each thing that follows a matched foil: the same sentence
about words that the statement does not connect. What a stimulus says about a probe is derived by forward chaining with
the domain's rules (`eif_lab.data.worlds.logic`), not declared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from eif_lab.data.worlds.logic import Fact, Rule, closure


@dataclass(frozen=True)
class Case:
    """One stimulus and what it should and should not move.

    Attributes:
        stated: The stimulus, one fact or several.
        follows: What is entailed, each with its matched foil.
        contradicts: What is denied beside the denial of what follows, each with its matched foil.
        converse: The stimulus the other way round, which does not follow.
        foils: Further facts that do not follow and belong to no entailed one.
    """

    stated: tuple[Fact, ...]
    follows: tuple[tuple[Fact, Fact], ...] = ()
    contradicts: tuple[tuple[Fact, Fact], ...] = ()
    converse: tuple[Fact, ...] = ()
    foils: tuple[Fact, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[Fact, Fact], ...]:
        """All that follows or is contradicted, each with its foil: the denial of what follows is contradicted."""
        return self.follows + tuple((fact.denied(), foil.denied()) for fact, foil in self.follows) + self.contradicts


@dataclass(frozen=True)
class World:
    """One world of a domain.

    Attributes:
        background: What is known beforehand.
        cases: The stimuli with their probes.
        neutral: A statement in the form of the stimuli, about words that occur nowhere else.
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
        """For each case, what follows from the background and the stimulus."""
        return [closure((*self.background, *case.stated), self.rules) for case in self.cases]

    def relation(self, number: int, fact: Fact) -> str:
        """What the stimulus of case ``number`` says about ``fact``: one of `eif_lab.data.task.RELATIONS`."""
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
        """The objects that a question for a fact chooses among: the fact's, and those that would not be true.

        Args:
            fact: What is asked for.
            true: All that is true when the question is asked.
        """
        others = (fact._replace(object=word) for word in self.choices.get(fact.relation, ()))
        wrong = [
            other.object for other in others if other not in true and other.object not in (fact.subject, fact.object)
        ]
        return (fact.object, *wrong)
