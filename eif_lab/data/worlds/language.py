"""The languages of the knowledge domains: which words a world is made of, and how its facts are said."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eif_lab.data.worlds.logic import Fact
from eif_lab.data.worlds.names import THING, invent, known_words, new_names

if TYPE_CHECKING:
    from eif_lab.data.worlds.domain import Domain

NEW = "?"
"""What the sort of a new word begins with; it stands in its place until one is drawn."""


class Language(Protocol):
    """What a domain's worlds are told in.

    Attributes:
        full_stop: What ends a sentence.
    """

    full_stop: str

    def wordings(self, domain: type[Domain]) -> Mapping[str, tuple[str, ...]]:
        """For each relation the ways to say it, up to the object."""

    def prompt(self, wording: str, fact: Fact) -> str:
        """A fact in a wording, up to its object."""

    def vocabularies(
        self, domain: type[Domain], cases: int, known: bool, random: np.random.Generator
    ) -> Iterator[Sequence[str]]:
        """For one world after another the words that are not new, in the order of `Domain.world`.

        Args:
            domain: Of the worlds.
            cases: In each world.
            known: Whether a model is to know the background from its pre-training.
            random: What is drawn with it.

        Yields: A word for each place, or where one is new its sort, which begins with `NEW`.

        Raises:
            IndexError: There are no words for a further world.
        """

    def names(
        self, sorts: Sequence[str], random: np.random.Generator, used: Collection[str], beside: Collection[str]
    ) -> list[str]:
        """A new word for each of the sorts.

        Args:
            sorts: What each is for.
            random: What they are drawn with.
            used: New words of other worlds.
            beside: The words that this world has.

        Raises:
            IndexError: Not as many are left.
        """


class Invented:
    """Every word is new, for models that are made here: "a zlake is a vruto ."."""

    full_stop = " ."

    def wordings(self, domain: type[Domain]) -> Mapping[str, tuple[str, ...]]:
        """Those of phi3-tiny's pre-training."""
        return domain.wordings

    def prompt(self, wording: str, fact: Fact) -> str:
        """``{not}`` is where a fact is denied."""
        return wording.format_map({"subject": fact.subject, "not": " not" if fact.negated else ""})

    def vocabularies(
        self, domain: type[Domain], cases: int, known: bool, random: np.random.Generator
    ) -> Iterator[Sequence[str]]:
        """Where the background is known, its words are always the same, those of `known_words`."""
        settled = domain.settled(cases) if known else [False] * domain.size(cases)
        for words in known_words(sum(settled)):
            left = iter(words)
            yield [next(left) if one else THING for one in settled]

    def names(
        self, sorts: Sequence[str], random: np.random.Generator, used: Collection[str], beside: Collection[str]
    ) -> list[str]:
        """Words that pre-training never shows."""
        return invent(len(sorts), random, unseen=True, used=used, beside=beside)


class English:
    """Ordinary sentences: what is known beforehand is said in English words, and only names are new."""

    full_stop = "."

    def wordings(self, domain: type[Domain]) -> Mapping[str, tuple[str, ...]]:
        """The domain's English ones."""
        return domain.english

    def prompt(self, wording: str, fact: Fact) -> str:
        """``{a}`` is the subject with its article; ``{not}``, ``{can}`` and ``{lies}`` deny it."""
        said = wording.format_map(
            {
                "subject": fact.subject,
                "a": f"{'an' if fact.subject[0] in 'aeiou' else 'a'} {fact.subject}",
                "not": " not" if fact.negated else "",
                "can": "cannot" if fact.negated else "can",
                "lies": "does not lie" if fact.negated else "lies",
            }
        )
        return said[0].upper() + said[1:]

    def vocabularies(
        self, domain: type[Domain], cases: int, known: bool, random: np.random.Generator
    ) -> Iterator[Sequence[str]]:
        """A seed draws which English words a world has, whether or not a model is taught about them."""
        yield from domain.vocabularies(cases, random)
        raise IndexError("no other world can be made of the lexicon")

    def names(
        self, sorts: Sequence[str], random: np.random.Generator, used: Collection[str], beside: Collection[str]
    ) -> list[str]:
        """No two open alike in a world, and none begins like one of another world."""
        return new_names(sorts, random, used)


LANGUAGES: Mapping[str, Language] = {"invented": Invented(), "english": English()}
"""The languages by the name that ``dataset.language`` gives them."""
