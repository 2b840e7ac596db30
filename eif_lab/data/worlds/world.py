"""A world of a knowledge domain: background facts, and cases that each state something new about it.

A case names what it states, what should follow and what should not, each with the words of its foils: sentences of the
same form about words that the statement does not connect. What a stimulus says about a probe is derived by forward
chaining with the domain's rules (`eif_lab.data.worlds.logic`), not declared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from eif_lab.data.task import FOILS
from eif_lab.data.worlds.logic import Fact, Rule, closure


class Contrast(NamedTuple):
    """A fact and the words of its foils.

    Attributes:
        fact: What is probed.
        other_object: What its foil of the same subject says instead.
        other_subject: What its foil of the same words is about.
    """

    fact: Fact
    other_object: str
    other_subject: str

    def denied(self) -> Contrast:
        """The same contrast with the fact denied, and with it its foils."""
        return self._replace(fact=self.fact.denied())

    @property
    def foils(self) -> dict[str, Fact]:
        """By the names of `eif_lab.data.task.FOILS`."""
        other = self.fact._replace(object=self.other_object)
        foils = other, self.fact._replace(subject=self.other_subject), other._replace(subject=self.other_subject)
        return dict(zip(FOILS, foils))

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The fact and its foils."""
        return self.fact, *self.foils.values()


@dataclass(frozen=True)
class Case:
    """One stimulus and what it should and should not move.

    Attributes:
        stated: What the stimulus says, one fact or several.
        follows: What is entailed.
        contradicts: What is denied beside the denial of what follows.
        converse: The stimulus the other way round, which neither follows nor is denied.
    """

    stated: tuple[Contrast, ...]
    follows: tuple[Contrast, ...] = ()
    contradicts: tuple[Contrast, ...] = ()
    converse: tuple[Contrast, ...] = ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What the stimulus says."""
        return tuple(contrast.fact for contrast in self.stated)

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """All that is probed; the denial of what follows is contradicted."""
        denied = (contrast.denied() for contrast in self.follows)
        return *self.stated, *self.follows, *denied, *self.contradicts, *self.converse


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
        return [closure((*self.background, *case.facts), self.rules) for case in self.cases]

    def relation(self, number: int, fact: Fact) -> str:
        """What the stimulus of case ``number`` says about ``fact``: one of `eif_lab.data.task.RELATIONS`."""
        case = self.cases[number]
        if fact in case.facts:
            return "direct"
        if fact in self.learnt[number]:
            return "unrelated" if fact in self.known else "entailed"
        if fact.denied() in self.learnt[number] - self.known:
            return "contradicted"
        if fact in {contrast.fact for contrast in case.converse}:
            return "converse"
        return "foil" if any(fact in contrast.foils.values() for contrast in case.contrasts) else "unrelated"

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
