"""A relation of the world with its facts and wordings, and the claims that its facts become in a wording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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


class Claim(NamedTuple):
    """A fact in a wording; ``form`` is direct, paraphrase, foil, inverse or converse."""

    fact: Fact
    form: str
    prompt: str
    target: str
    candidates: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its id: the sentence with a bar before what is learnt or scored."""
        return f"{self.prompt} | {self.target}"


@dataclass(frozen=True)
class Case:
    """A stimulus with its probes.

    Attributes:
        stated: The stimulus, which is a probe as well.
        pairs: What is entailed, each with its matched foil, if there is one.
        converse: Subject and object exchanged.
    """

    stated: Claim
    pairs: tuple[tuple[Claim, Claim | None], ...]
    converse: Claim

    @property
    def claims(self) -> list[Claim]:
        """All of them, entailed ones before their foils."""
        return [self.stated, *(claim for pair in self.pairs for claim in pair if claim), self.converse]


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
    def known(self) -> frozenset[Fact]:
        """All facts, to look one up."""
        return frozenset(self.facts)

    @cached_property
    def clear(self) -> tuple[Fact, ...]:
        """The facts whose subject has one object only."""
        times = Counter(fact.subject for fact in self.facts)
        return tuple(fact for fact in self.facts if times[fact.subject] == 1)

    def ask_object(self, fact: Fact, wording: int, form: str, candidates: tuple[str, ...]) -> Claim:
        """The fact as a wording that the object completes."""
        return Claim(fact, form, self.wordings[wording].replace(GAP, fact.subject), fact.object, candidates)

    def ask_subject(self, fact: Fact, form: str, candidates: tuple[str, ...]) -> Claim:
        """The fact as a wording of its object that the subject completes."""
        return Claim(fact, form, INVERSES[self.name].replace(GAP, fact.object), fact.subject, candidates)
