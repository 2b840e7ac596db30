"""The negation domain: a thing is one or the other of two properties, it is said not to be one, and both are probed.

With "a thing is red or blue .", "the dax is not red ." contradicts that the dax is red, and entails that it is blue.
The foils take the property in the same place of another such pair, and another thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import OTHER_PROPERTIES, balanced, in_turn, opposites
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import THING
from eif_lab.data.worlds.world import Case, Contrast, World

PAIRS = 4


@dataclass
class Negation(Domain):
    """From "the dax is not red" follows that the dax is blue, where a thing is the one or the other."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "has", "?a", True), Fact("?a", "or", "?b")), Fact("?x", "has", "?b")),
        Rule((Fact("?x", "has", "?b", True), Fact("?a", "or", "?b")), Fact("?x", "has", "?a")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "or": ("a thing is {subject} or", "what is not {subject} is", "if it is not {subject} it is"),
        "has": ("the {subject} is{not}", "one can{not} say the {subject} is", "the look of the {subject} is{not}"),
    }
    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "or": ("everything is either {subject} or", "whatever is not {subject} is", "if it is not {subject}, it is"),
        "has": (
            "the {subject} is{not}",
            "one {can} say that the {subject} is",
            "it is{not} true that the {subject} is",
        ),
    }
    closed: ClassVar[bool] = False

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Adjectives and their opposites; what has them is new."""
        for number, words in enumerate(balanced(opposites(PAIRS), random)):
            yield (*words, *[THING] * (cases + 2), in_turn(OTHER_PROPERTIES, number))

    @classmethod
    def size(cls, cases: int) -> int:
        """Four pairs of properties, a name for each case and for the foils, two words for the neutral statement."""
        return 2 * PAIRS + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """The first and the second of each pair are denied in turn."""
        pairs = [(words[p], words[PAIRS + p]) for p in range(PAIRS)]
        *names, bystander = words[2 * PAIRS : -2]

        def case(number: int) -> Case:
            name, pair = names[number], number % PAIRS
            other, place = (pair + PAIRS // 2) % PAIRS, number % 2
            denied, entailed = (
                Contrast(Fact(name, "has", pairs[pair][k]), pairs[other][k], bystander) for k in (place, 1 - place)
            )
            return Case(stated=(denied.denied(),), follows=(entailed,), contradicts=(denied,))

        return World(
            background=tuple(Fact(one, "or", other) for one, other in pairs),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "has", words[-1], negated=True),),
            choices={"or": tuple(other for _, other in pairs), "has": tuple(words[: 2 * PAIRS])},
            tops=tuple(word for pair in pairs for word in pair),
            rules=cls.rules,
        )
