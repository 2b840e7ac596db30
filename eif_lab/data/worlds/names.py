"""Invented words: a syllable grammar that cannot make an English one.

Every word is two open syllables such as "zloke", the first with an onset that no English word begins with. Two thirds
of the words are kept back from pre-training, so that what a dataset calls its concepts is new to phi3-tiny.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from itertools import product
from zlib import crc32

import numpy as np

ONSETS = ("dl", "fn", "gv", "kv", "ml", "sr", "tl", "vl", "vr", "zl", "zr", "zv")
VOWELS = ("a", "e", "i", "o", "u")
CONSONANTS = ("k", "m", "p", "t")

SHOWN_ONE_IN = 3
"""One word in so many is shown in pre-training."""

OPENINGS = tuple(onset + vowel for onset, vowel in product(ONSETS, VOWELS))
ENDINGS = tuple(consonant + vowel for consonant, vowel in product(CONSONANTS, VOWELS))


@cache
def words(*, unseen: bool) -> tuple[str, ...]:
    """All words of the grammar that datasets use (``unseen``), or all that pre-training uses; no word is in both."""
    grammar = (opening + ending for opening, ending in product(OPENINGS, ENDINGS))
    return tuple(word for word in grammar if (crc32(word.encode()) % SHOWN_ONE_IN != 0) == unseen)


@cache
def endings(opening: str, *, unseen: bool) -> tuple[str, ...]:
    """The second syllables that follow an opening in `words`."""
    return tuple(word.removeprefix(opening) for word in words(unseen=unseen) if word.startswith(opening))


def opening_of(word: str) -> str:
    """The first syllable of an invented word."""
    return next(opening for opening in OPENINGS if word.startswith(opening))


def invent(
    count: int,
    random: np.random.Generator,
    *,
    unseen: bool,
    used: Collection[str] = frozenset(),
    beside: Collection[str] = (),
) -> list[str]:
    """``count`` words for one world, each with another opening, so that its first syllable tells a word from the rest.

    Args:
        count: How many.
        random: What they are drawn with.
        unseen: Whether they come from the part that pre-training never shows.
        used: Words that are not to be drawn again.
        beside: Words that the world has already; none is drawn that opens like one of these.

    Raises:
        IndexError: Fewer openings than that have a word left.
    """
    drawn: list[str] = []
    taken = {opening_of(word) for word in beside}
    for place in random.permutation(len(OPENINGS)):
        if len(drawn) == count:
            break
        opening = OPENINGS[place]
        if opening in taken:
            continue
        free = [opening + rest for rest in endings(opening, unseen=unseen) if opening + rest not in used]
        drawn += [free[random.integers(len(free))]] if free else []
    if len(drawn) < count:
        raise IndexError(f"no {count} words with different openings are left")
    return drawn


def known_words(count: int) -> Iterator[list[str]]:
    """For one world after another, ``count`` words that a model may know from pre-training; always the same.

    Raises:
        IndexError: No more worlds have a word left.
    """
    random = np.random.default_rng(0)
    used: set[str] = set()
    while True:
        drawn = invent(count, random, unseen=False, used=used)
        used |= set(drawn)
        yield drawn
