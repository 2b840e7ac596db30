r"""The ontology domain: kinds with abilities are known, a new name is given a kind, and what follows is probed.

A world has two superkinds, two kinds under each, and an ability for each kind::

    superkind 0 -- kind 0 -- ability 0          superkind 1 -- kind 2 -- ability 2
               \- kind 1 -- ability 1                      \- kind 3 -- ability 3

"a dax is a blick ." makes a dax whatever a blick is, and able to do whatever a blick can; that a blick is a dax is the
converse, which does not follow. The foils take kind, ability and superkind of the kind's counterpart, kind (k + 2) mod
4, which is under the other superkind, and a name of which nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import OTHER_KINDS, balanced, in_turn, kinds_with_abilities
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import THING
from eif_lab.data.worlds.world import Case, Contrast, World

KINDS = 4


@dataclass
class Ontology(Domain):
    """From "a dax is a blick" follows that a dax can do what a blick can, and is what a blick is."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "is", "?y"), Fact("?y", "is", "?z")), Fact("?x", "is", "?z")),
        Rule((Fact("?x", "is", "?y"), Fact("?y", "can", "?z")), Fact("?x", "can", "?z")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "is": ("a {subject} is{not} a", "every {subject} is{not} a kind of", "to be a {subject} is{not} to be a"),
        "can": ("a {subject} can{not}", "every {subject} is{not} able to", "what is a {subject} can{not}"),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "is": ("{a} is{not} a", "{a} is{not} a kind of", "if something is {a}, it is{not} a"),
        "can": ("{a} {can}", "{a} is{not} able to", "if something is {a}, it {can}"),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Kinds of what lives and of what is made, with what they can do; names are new."""
        for number, words in enumerate(balanced(kinds_with_abilities(), random)):
            yield (*words, *[THING] * (cases + 2), in_turn(OTHER_KINDS, number))

    @classmethod
    def size(cls, cases: int) -> int:
        """Two superkinds, four kinds with an ability each, a name for each case and the foils, a neutral statement."""
        return 2 + 2 * KINDS + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """New names are given the kinds in turn."""
        superkinds, kinds, abilities = words[:2], words[2 : 2 + KINDS], words[2 + KINDS : 2 + 2 * KINDS]
        *names, bystander = words[2 + 2 * KINDS : -2]

        def case(number: int) -> Case:
            name, kind = names[number], number % KINDS
            other = (kind + 2) % KINDS
            return Case(
                stated=(Contrast(Fact(name, "is", kinds[kind]), kinds[other], bystander),),
                follows=(
                    Contrast(Fact(name, "can", abilities[kind]), abilities[other], bystander),
                    Contrast(Fact(name, "is", superkinds[kind // 2]), superkinds[other // 2], bystander),
                ),
                converse=(Contrast(Fact(kinds[kind], "is", name), bystander, kinds[other]),),
            )

        return World(
            background=(
                *(Fact(kind, "is", superkinds[k // 2]) for k, kind in enumerate(kinds)),
                *(Fact(kind, "can", abilities[k]) for k, kind in enumerate(kinds)),
            ),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "is", words[-1]),),
            choices={"is": (*superkinds, *kinds), "can": tuple(abilities)},
            tops=tuple(superkinds),
            rules=cls.rules,
        )
