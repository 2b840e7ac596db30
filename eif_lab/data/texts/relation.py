"""A relation of the world with its facts and wordings, and the claims that its facts become in a wording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

GAP = "{}"
"""Where the subject stands in a wording; filled in as text, since a file's own formats could ask for any width."""

INVERSES = {
    "company_ceo": "{} is the CEO of",
    "country_capital_city": "{} is the capital of",
    "country_largest_city": "{} is the largest city in",
    "person_band_lead_singer": "The lead singer of {} is",
    "pokemon_evolutions": "{} evolves from",
    "superhero_person": "{} is the secret identity of",
}
"""Wordings with a gap for the object that the subject completes. The set has none; these are for relations in which an
object has, but for a few, one subject."""


class Fact(NamedTuple):
    """A subject and an object of a relation; true where the set holds it."""

    relation: str
    subject: str
    object: str

    @property
    def swapped(self) -> Fact:
        """Subject and object exchanged."""
        return self._replace(subject=self.object, object=self.subject)


class Claim(NamedTuple):
    """A fact in a wording; ``form`` is direct, paraphrase, inverse, converse or foil."""

    fact: Fact
    form: str
    prompt: str
    target: str
    candidates: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its id: the sentence with a bar before what is learnt or scored."""
        return f"{self.prompt} | {self.target}"


@dataclass(frozen=True)
class Case:
    """A stimulus with its probes: itself, what is entailed, and subject and object exchanged, each with its foils.

    Attributes:
        contrasts: Each probe with its foils, by name; the stimulus itself is the first.
    """

    contrasts: tuple[tuple[Claim, Mapping[str, Claim]], ...]

    @property
    def stated(self) -> Claim:
        """The stimulus, which is a probe as well."""
        return self.contrasts[0][0]

    @property
    def claims(self) -> list[Claim]:
        """All of them, each probe before its foils."""
        return [claim for probe, foils in self.contrasts for claim in (probe, *foils.values())]


@dataclass(frozen=True)
class Relation:
    """A file of the set.

    Attributes:
        name: The file's.
        symmetric: Whether the fact holds with subject and object exchanged.
        wordings: Prompts with a gap for the subject, no two the same; the first words the stimuli.
        facts: Subjects with their objects.
    """

    name: str
    symmetric: bool
    wordings: tuple[str, ...]
    facts: tuple[Fact, ...]

    @classmethod
    def read(cls, name: str, record: Mapping[str, Any]) -> Relation:
        """A relation from the contents of its file.

        Raises:
            ValueError: A wording does not have exactly one gap, or a subject or an object is no text.
        """
        facts = tuple(dict.fromkeys(Fact(name, one["subject"], one["object"]) for one in record["samples"]))
        wordings = tuple(dict.fromkeys((*record["prompt_templates"], *record["prompt_templates_zs"])))
        for wording in wordings:
            if not isinstance(wording, str) or wording.count(GAP) != 1:
                raise ValueError(f"a wording with one {GAP}, not {wording!r}")
        for text in (text for fact in facts for text in fact):
            if not isinstance(text, str):
                raise ValueError(f"subjects and objects that are texts, not {text!r}")
        return cls(name, record["properties"]["symmetric"] is True, wordings, facts)

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """The objects of the facts, each once."""
        return tuple(dict.fromkeys(fact.object for fact in self.facts))

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The subjects of the facts, each once."""
        return tuple(dict.fromkeys(fact.subject for fact in self.facts))

    @cached_property
    def fact_set(self) -> frozenset[Fact]:
        """All facts, to look one up."""
        return frozenset(self.facts)

    @cached_property
    def clear(self) -> tuple[Fact, ...]:
        """The facts whose subject has one object only."""
        times = Counter(fact.subject for fact in self.facts)
        return tuple(fact for fact in self.facts if times[fact.subject] == 1)

    def foils(self, fact: Fact, facts: Sequence[Fact]) -> list[Fact]:
        """The fact with another object, with another subject, and with both, none of which holds, either way round.

        Where there are none such, the last may hold; there are none where the others do.

        Args:
            fact: Of this relation.
            facts: Those that others are taken from first, ``fact`` among them.
        """
        place = facts.index(fact)
        near = dict.fromkeys((*facts[place + 1 :], *facts[:place], *self.facts))
        objects = {one.object: None for one in near if not self.holds(fact.subject, one.object)}
        subjects = {one.subject: None for one in near if not self.holds(one.subject, fact.object)}
        pairs = [(subject, object_) for object_ in objects for subject in subjects if subject != fact.subject]
        if not pairs:
            return []
        subject, object_ = next((pair for pair in pairs if not self.holds(*pair)), pairs[0])
        other = fact._replace(object=object_)
        return [other, fact._replace(subject=subject), other._replace(subject=subject)]

    def holds(self, subject: str, object_: str) -> bool:
        """Whether the set has this fact, or the one with subject and object exchanged."""
        fact = Fact(self.name, subject, object_)
        return not self.fact_set.isdisjoint((fact, fact.swapped))

    def ask_object(self, fact: Fact, form: str, wording: int = 0) -> Claim:
        """The fact as a wording that the object completes."""
        return Claim(fact, form, self.wordings[wording].replace(GAP, fact.subject), fact.object)

    def ask_subject(self, fact: Fact, form: str) -> Claim:
        """The fact as a wording of its object that the subject completes."""
        return Claim(fact, form, INVERSES[self.name].replace(GAP, fact.object), fact.subject)
