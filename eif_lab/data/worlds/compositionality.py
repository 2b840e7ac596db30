"""The compositionality domain: a new thing is given a property and a shape, and whether both combine is probed.

"the dax is zlo . the dax is a vro ." makes the dax a zlo vro. The foils say the same of another thing, and exchange the
property or the shape, in turn, so that both are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import COLOURS, OTHER_LOOKS, SHAPES, balanced
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import THING
from eif_lab.data.worlds.world import Case, Contrast, World


@dataclass
class Compositionality(Domain):
    """From "the dax is red" and "the dax is a cube" follows that the dax is a red cube."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "has", "?c"), Fact("?x", "is", "?s")), Fact("?x", "both", "?c ?s")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "has": ("the {subject} is{not}", "one can{not} say the {subject} is", "the look of the {subject} is{not}"),
        "is": (
            "the {subject} is{not} a",
            "one can{not} say the {subject} is a",
            "the {subject} has{not} the shape of a",
        ),
        "both": (
            "the {subject} is{not} a",
            "one can{not} say the {subject} is a",
            "the {subject} has{not} the shape of a",
        ),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "has": (
            "the {subject} is{not}",
            "one {can} say that the {subject} is",
            "it is{not} true that the {subject} is",
        ),
        "is": (
            "the {subject} is{not} a",
            "one {can} say that the {subject} is a",
            "it is{not} true that the {subject} is a",
        ),
        "both": (
            "the {subject} is{not} a",
            "one {can} say that the {subject} is a",
            "it is{not} true that the {subject} is a",
        ),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Colours and shapes; the things are new."""
        sets = (balanced(combinations(words, max(2, cases)), random) for words in (COLOURS, SHAPES))
        for number, (colours, shapes) in enumerate(zip(*sets)):
            yield (*colours, *shapes, *[THING] * (max(2, cases) + 2), *OTHER_LOOKS[number % len(OTHER_LOOKS)])

    @classmethod
    def size(cls, cases: int) -> int:
        """A property, a shape and a name for each case, at least two; a name for the foils; a neutral statement."""
        return 3 * max(2, cases) + 1 + 3

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """Each new thing has a property and a shape of its own."""
        count = max(2, cases)
        properties, shapes, names = (words[k * count : (k + 1) * count] for k in range(3))
        bystander = words[3 * count]

        def case(number: int) -> Case:
            name, after = names[number], (number + 1) % count
            both = f"{properties[number]} {shapes[number]}"
            exchanged = ((properties[number], shapes[after]), (properties[after], shapes[number]))[number % 2]
            return Case(
                stated=(
                    Contrast(Fact(name, "has", properties[number]), properties[after], bystander),
                    Contrast(Fact(name, "is", shapes[number]), shapes[after], bystander),
                ),
                follows=(Contrast(Fact(name, "both", both), " ".join(exchanged), bystander),),
            )

        return World(
            background=(),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-3], "has", words[-2]), Fact(words[-3], "is", words[-1])),
            choices={
                "has": tuple(properties),
                "is": tuple(shapes),
                "both": tuple(f"{one} {shape}" for one in properties for shape in shapes),
            },
            tops=(*properties, *shapes),
            rules=cls.rules,
        )
