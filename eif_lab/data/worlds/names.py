"""New words: a syllable grammar that cannot make an English one, and one of names for English sentences.

Every invented word is two open syllables such as "zloke", the first with an onset that no English word begins with. Two
thirds of the words are kept back from pre-training, so that what a dataset calls its concepts is new to phi3-tiny.

Names for English sentences read like English words and are none: "tovlek" for a kind or a thing, "Tovlek" for somebody
or a place, "tovlish" for a property.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
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
    return drawn_apart(
        count,
        random,
        OPENINGS,
        lambda opening: [opening + ending for ending in endings(opening, unseen=unseen)],
        used=used,
        taken={opening_of(word) for word in beside},
    )


def drawn_apart(
    count: int,
    random: np.random.Generator,
    openings: Sequence[str],
    words_of: Callable[[str], list[str]],
    *,
    used: Collection[str],
    taken: Collection[str] = frozenset(),
) -> list[str]:
    """``count`` words, each with another opening.

    Args:
        count: How many.
        random: What they are drawn with.
        openings: What words open with.
        words_of: The words that open so.
        used: Words that are not to be drawn again.
        taken: Openings that are not to be drawn.

    Raises:
        IndexError: Fewer openings than that have a word left.
    """
    drawn: list[str] = []
    for place in random.permutation(len(openings)):
        if len(drawn) == count:
            break
        if openings[place] in taken:
            continue
        free = [word for word in words_of(openings[place]) if word not in used]
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


THING, PROPER, QUALITY = "?thing", "?proper", "?quality"
"""What a name is for: a kind or a thing ("tovlek"), somebody or a place ("Tovlek"), a property ("tovlish")."""

NAME_OPENINGS = tuple(consonant + vowel for consonant, vowel in product("bdfgklmprstvwz", VOWELS))
CLUSTERS = ("zl", "zm", "zn", "vl", "vn", "lz", "rz", "nz", "mz", "bz")
CLOSINGS = ("ek", "ip", "ob", "et", "ax", "ab", "op", "ud")


def new_names(sorts: Sequence[str], random: np.random.Generator, used: Collection[str] = frozenset()) -> list[str]:
    """A name for each of the sorts, for one world; they all open differently.

    Args:
        sorts: Each `THING`, `PROPER` or `QUALITY`.
        random: What they are drawn with.
        used: Names that other worlds have; a name shares its first four letters with none of them, whatever its sort.

    Raises:
        IndexError: Not as many are left.
    """
    gone = {word[:4].lower() for word in used}
    stems = drawn_apart(
        len(sorts), random, NAME_OPENINGS, lambda opening: [opening + cluster for cluster in CLUSTERS], used=gone
    )
    closings = [CLOSINGS[number] for number in random.integers(len(CLOSINGS), size=len(stems))]
    return [
        f"{stem}ish" if sort == QUALITY else f"{stem.capitalize() if sort == PROPER else stem}{closing}"
        for sort, stem, closing in zip(sorts, stems, closings)
    ]
