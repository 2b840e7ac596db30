"""The inheritance domain: kinds have members, a kind is given a property, and whether its members inherit it is probed.

"a bird is zug ." makes a robin zug, because a robin is a bird; it makes neither a trout zug nor an animal. The matched
foil is the property said of a member of the other kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.world import Case, World

KINDS, MEMBERS = 2, 2


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

    @classmethod
    def size(cls, cases: int) -> int:
        """One superkind, two kinds of two members, a property for each case, two words for the neutral statement."""
        return 1 + KINDS + KINDS * MEMBERS + max(2, cases) + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """The kinds are given properties in turn."""
        top, kinds, rest = words[0], words[1 : 1 + KINDS], words[1 + KINDS :]
        members = [rest[k * MEMBERS : (k + 1) * MEMBERS] for k in range(KINDS)]
        properties = rest[KINDS * MEMBERS : -2]

        def case(number: int) -> Case:
            kind, quality = number % KINDS, properties[number]
            pairs = zip(members[kind], members[1 - kind])
            return Case(
                stated=(Fact(kinds[kind], "has", quality),),
                follows=tuple((Fact(one, "has", quality), Fact(other, "has", quality)) for one, other in pairs),
                converse=(Fact(quality, "is", kinds[kind]),),
                foils=(Fact(top, "has", quality),),
            )

        return World(
            background=(
                *(Fact(kind, "is", top) for kind in kinds),
                *(Fact(member, "is", kinds[k]) for k in range(KINDS) for member in members[k]),
            ),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "has", words[-1]),),
            choices={"is": (top, *kinds), "has": tuple(properties)},
            tops=(top,),
            rules=cls.rules,
        )
