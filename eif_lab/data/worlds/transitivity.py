"""The transitivity domain: two chains of heights are known, a new name is put on top of one, and the rest is probed.

"A is taller than B ." with B taller than C, and C than D, makes A taller than C and D, and C not taller than A. The
matched foil compares A with the same place of the other chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.world import Case, World

CHAINS, LINKS = 2, 3


@dataclass
class Transitivity(Domain):
    """From "A is taller than B" follows that A is taller than C, which B is taller than."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "taller", "?y"), Fact("?y", "taller", "?z")), Fact("?x", "taller", "?z")),
        Rule((Fact("?x", "taller", "?y"),), Fact("?y", "taller", "?x", negated=True)),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "taller": ("{subject} is{not} taller than", "{subject} is{not} of more height than", "{subject} does{not} top"),
    }
    closed: ClassVar[bool] = False

    @classmethod
    def size(cls, cases: int) -> int:
        """Two chains of three, a name for each case, two words for the neutral statement."""
        return CHAINS * LINKS + cases + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """New names go on top of the chains in turn."""
        chains = [words[c * LINKS : (c + 1) * LINKS] for c in range(CHAINS)]
        names = words[CHAINS * LINKS : -2]

        def case(number: int) -> Case:
            name, chain, other = names[number], chains[number % CHAINS], chains[(number + 1) % CHAINS]
            return Case(
                stated=(Fact(name, "taller", chain[0]),),
                follows=tuple(
                    (Fact(name, "taller", chain[k]), Fact(name, "taller", other[k])) for k in range(1, LINKS)
                ),
                converse=(Fact(chain[0], "taller", name),),
                foils=(Fact(chain[1], "taller", name),),
            )

        return World(
            background=tuple(Fact(one, "taller", next_one) for chain in chains for one, next_one in pairwise(chain)),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "taller", words[-1]),),
            choices={"taller": tuple(words[:-2])},
            tops=tuple(chain[-1] for chain in chains),
            rules=cls.rules,
        )
