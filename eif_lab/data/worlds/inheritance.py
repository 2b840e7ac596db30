"""The inheritance domain: kinds have members, a kind is given a property, and whether its members inherit it is probed.

A world has two superkinds, two kinds under each, and a member of each kind. "a bird is zug ." makes a robin zug,
because a robin is a bird. That an animal is zug, a bird being an animal, is the converse, which does not follow:
another kind of animal is known. The foils are about a kind of the other superkind, its member, that superkind, and
another property.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import MADE_KINDS, NATURAL_KINDS, OTHER_KINDS, balanced, in_turn, pairs_of_members
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import QUALITY
from eif_lab.data.worlds.world import Case, Contrast, World

SUPERKINDS, KINDS = 2, 4


@dataclass
class Inheritance(Domain):
    """From "a bird is zug" follows that a robin, which is a bird, is zug."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "is", "?y"), Fact("?y", "is", "?z")), Fact("?x", "is", "?z")),
        Rule((Fact("?x", "is", "?y"), Fact("?y", "has", "?z")), Fact("?x", "has", "?z")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "is": ("a {subject} is{not} a", "every {subject} is{not} a kind of", "to be a {subject} is{not} to be a"),
        "has": ("a {subject} is{not}", "every {subject} is{not} always", "what is a {subject} is{not}"),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "is": ("{a} is{not} a", "{a} is{not} a kind of", "if something is {a}, it is{not} a"),
        "has": ("{a} is{not}", "it is{not} true that {a} is", "if something is {a}, it is{not}"),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Kinds of what is made and of what is not, with a member each; properties are new."""
        halves = (balanced(pairs_of_members(kinds), random) for kinds in (NATURAL_KINDS, MADE_KINDS))
        for number, (one, other) in enumerate(zip(*halves)):
            known = [word for words in zip(one, other) for word in words]
            yield (*known, *[QUALITY] * (cases + 1), in_turn(OTHER_KINDS, number), QUALITY)

    @classmethod
    def size(cls, cases: int) -> int:
        """Two superkinds, four kinds with a member each, a property for each case and the foils, a neutral one."""
        return SUPERKINDS + 2 * KINDS + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """The kinds are given properties in turn, the superkinds taking turns."""
        superkinds, rest = words[:SUPERKINDS], words[SUPERKINDS:]
        kinds, members, properties = rest[:KINDS], rest[KINDS : 2 * KINDS], rest[2 * KINDS : -2]

        def case(number: int) -> Case:
            # the next kind is under the other superkind
            stated, follows, converse = (
                Contrast(
                    Fact(level[number % len(level)], "has", properties[number]),
                    properties[-1],
                    level[(number + 1) % len(level)],
                )
                for level in (kinds, members, superkinds)
            )
            return Case(stated=(stated,), follows=(follows,), converse=(converse,))

        return World(
            background=(
                *(Fact(kind, "is", superkinds[k % SUPERKINDS]) for k, kind in enumerate(kinds)),
                *(Fact(member, "is", kind) for member, kind in zip(members, kinds)),
            ),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "has", words[-1]),),
            choices={"is": (*superkinds, *kinds), "has": tuple(properties)},
            tops=tuple(superkinds),
            rules=cls.rules,
        )
