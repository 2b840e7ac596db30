"""The transitivity domain: two chains of heights are known, a new name is put on top of one, and the rest is probed.

"A comes up to B ." says that A is at least as tall. With B coming up to C, and C to D, A comes up to C and D. Two may
be as tall, so that "B comes up to A .", the converse, neither follows nor is denied. The foils are about the same place
of the other chain, and a name of which nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.lexicon import OTHER_PLACES, balanced, chains_of_places, in_turn
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import PROPER
from eif_lab.data.worlds.world import Case, Contrast, World

CHAINS, LINKS = 2, 3


@dataclass
class Transitivity(Domain):
    """From "A is at least as tall as B" follows that A is at least as tall as C, if B is."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "reaches", "?y"), Fact("?y", "reaches", "?z")), Fact("?x", "reaches", "?z")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "reaches": ("{subject} comes{not} up to", "{subject} is{not} at or above", "{subject} does{not} reach"),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "reaches": (
            "all of {subject} {lies} in",
            "whatever is in {subject} is{not} in",
            "if you are in {subject}, you are{not} in",
        ),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Cities, what each lies in, and that part of the world; what is put into a city is a new place."""
        for number, words in enumerate(balanced(chains_of_places(), random)):
            yield (*words, *[PROPER] * (cases + 2), in_turn(OTHER_PLACES, number))

    @classmethod
    def size(cls, cases: int) -> int:
        """Two chains of three, a name for each case and for the foils, two words for the neutral statement."""
        return CHAINS * LINKS + cases + 1 + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """New names go on top of the chains in turn."""
        chains = [words[c * LINKS : (c + 1) * LINKS] for c in range(CHAINS)]
        *names, bystander = words[CHAINS * LINKS : -2]

        def case(number: int) -> Case:
            name, chain, other = names[number], chains[number % CHAINS], chains[(number + 1) % CHAINS]
            return Case(
                stated=(Contrast(Fact(name, "reaches", chain[0]), other[0], bystander),),
                follows=tuple(Contrast(Fact(name, "reaches", chain[k]), other[k], bystander) for k in range(1, LINKS)),
                converse=(Contrast(Fact(chain[0], "reaches", name), bystander, other[0]),),
            )

        return World(
            background=tuple(Fact(one, "reaches", next_one) for chain in chains for one, next_one in pairwise(chain)),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "reaches", words[-1]),),
            choices={"reaches": tuple(words[:-2])},
            tops=tuple(chain[-1] for chain in chains),
            rules=cls.rules,
        )
