"""The implication domain: which property implies which is known; a thing has, or lacks, one, and both are probed.

In turn: "the dax is glim ." entails that it is brop (modus ponens); "the dax is not brop ." that it is not glim (modus
tollens); from "the dax is brop ." nothing follows, and that it is glim is the converse (affirming the consequent). The
foils take the property that stands in the same place of another implication, and another thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import OTHER_PROPERTIES, balanced, implications, in_turn
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import THING
from eif_lab.data.worlds.world import Case, Contrast, World

IMPLICATIONS = 4


@dataclass
class Implication(Domain):
    """From "if glim then brop" and "the dax is glim" follows that the dax is brop."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "has", "?a"), Fact("?a", "implies", "?b")), Fact("?x", "has", "?b")),
        Rule((Fact("?x", "has", "?b", True), Fact("?a", "implies", "?b")), Fact("?x", "has", "?a", True)),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "implies": ("if a thing is {subject} then it is", "whatever is {subject} is also", "all that is {subject} is"),
        "has": ("the {subject} is{not}", "one can{not} say the {subject} is", "the look of the {subject} is{not}"),
    }
    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "implies": ("if something is {subject}, it is", "whatever is {subject} is", "anything {subject} is also"),
        "has": (
            "the {subject} is{not}",
            "one {can} say that the {subject} is",
            "it is{not} true that the {subject} is",
        ),
    }
    closed: ClassVar[bool] = False

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Adjectives that imply weaker ones, about different things; what has them is new."""
        for number, words in enumerate(balanced(implications(IMPLICATIONS), random)):
            yield (*words, *[THING] * (cases + 2), in_turn(OTHER_PROPERTIES, number))

    @classmethod
    def size(cls, cases: int) -> int:
        """Four implications, a name for each case and for the foils, two words for the neutral statement."""
        return 2 * IMPLICATIONS + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """Modus ponens, modus tollens and the converse, in turn."""
        ifs, thens = words[:IMPLICATIONS], words[IMPLICATIONS : 2 * IMPLICATIONS]
        *names, bystander = words[2 * IMPLICATIONS : -2]

        def case(number: int) -> Case:
            name, place = names[number], number % IMPLICATIONS
            other = (place + IMPLICATIONS // 2) % IMPLICATIONS
            first, then = (
                Contrast(Fact(name, "has", properties[place]), properties[other], bystander)
                for properties in (ifs, thens)
            )
            if number % 3 == 0:
                return Case(stated=(first,), follows=(then,))
            if number % 3 == 1:
                return Case(stated=(then.denied(),), follows=(first.denied(),))
            return Case(stated=(then,), converse=(first,))

        return World(
            background=tuple(Fact(first, "implies", then) for first, then in zip(ifs, thens)),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "has", words[-1]),),
            choices={"implies": tuple(thens), "has": (*ifs, *thens)},
            tops=tuple(thens),
            rules=cls.rules,
        )
