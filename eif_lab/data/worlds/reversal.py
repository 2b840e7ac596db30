"""The reversal domain: someone is said to be king of a realm, and who the realm's king is is probed.

"dax is the king of zug ." entails "the king of zug is dax ." (Berglund et al., *The reversal curse*, arXiv 2309.12288).
That zug is the king of dax is the converse, which does not follow. The foils are about a name and a realm of which
nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from eif_lab.data.worlds.domain import Domain
from eif_lab.data.worlds.logic import Fact, Rule
from eif_lab.data.worlds.names import PROPER
from eif_lab.data.worlds.world import Case, Contrast, World


@dataclass
class Reversal(Domain):
    """From "dax is the king of zug" follows that the king of zug is dax."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule((Fact("?x", "rules", "?y"),), Fact("?y", "king", "?x")),
        Rule((Fact("?y", "king", "?x"),), Fact("?x", "rules", "?y")),
    )
    wordings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "rules": ("{subject} is{not} the king of", "{subject} does{not} rule over", "{subject} has{not} the crown of"),
        "king": (
            "the king of {subject} is{not}",
            "the ruler of {subject} is{not}",
            "the crown of {subject} is{not} for",
        ),
    }

    english: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "rules": (
            "{subject} is{not} the king of",
            "{subject} is{not} the ruler of",
            "it is{not} true that {subject} is the king of",
        ),
        "king": (
            "the king of {subject} is{not}",
            "the ruler of {subject} is{not}",
            "it is{not} true that the king of {subject} is",
        ),
    }

    @classmethod
    def vocabularies(cls, cases: int, random: Generator) -> Iterator[Sequence[str]]:
        """Every name is new, whether somebody's or a realm's."""
        while True:
            yield [PROPER] * cls.size(cases)

    @classmethod
    def size(cls, cases: int) -> int:
        """A name and a realm for each case and for the foils, two words for the neutral statement."""
        return 2 * (cases + 1) + 2

    @classmethod
    def world(cls, words: Sequence[str], cases: int) -> World:
        """Each name rules a realm of its own."""
        half = len(words) // 2 - 1
        names, realms = words[:half], words[half : 2 * half]

        def case(number: int) -> Case:
            name, realm = names[number], realms[number]
            return Case(
                stated=(Contrast(Fact(name, "rules", realm), realms[-1], names[-1]),),
                follows=(Contrast(Fact(realm, "king", name), names[-1], realms[-1]),),
                converse=(Contrast(Fact(realm, "rules", name), names[-1], realms[-1]),),
            )

        return World(
            background=(),
            cases=tuple(case(number) for number in range(cases)),
            neutral=(Fact(words[-2], "rules", words[-1]),),
            choices={"rules": tuple(realms), "king": tuple(names)},
            tops=tuple(realms),
            rules=cls.rules,
        )
