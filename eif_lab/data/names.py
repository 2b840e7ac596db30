"""Invented words: a syllable grammar that cannot make an English one.

Every word is two open syllables such as "zloke", the first with an onset that no English word begins with. Half of the
words is kept back from pre-training, so that what a dataset calls its concepts is new to phi3-tiny.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from zlib import crc32

import numpy as np

ONSETS = ("dl", "fn", "gv", "kv", "ml", "sr", "tl", "vl", "vr", "zl", "zr", "zv")
VOWELS = ("a", "e", "i", "o", "u")
CONSONANTS = ("b", "d", "f", "g", "h", "j", "k", "l", "m", "p", "r", "s", "t", "v", "w", "z")


@cache
def words(*, unseen: bool) -> tuple[str, ...]:
    """All words of the grammar that datasets use (``unseen``), or all that pre-training uses; no word is in both."""
    grammar = ("".join(parts) for parts in product(ONSETS, VOWELS, CONSONANTS, VOWELS))
    return tuple(word for word in grammar if (crc32(word.encode()) % 2 == 0) == unseen)


def invent(count: int, random: np.random.Generator, *, unseen: bool) -> list[str]:
    """``count`` different words.

    Args:
        count: How many; at most ``len(words(unseen=unseen))``.
        random: What they are drawn with.
        unseen: Whether they come from the part that pre-training never shows.
    """
    pool = words(unseen=unseen)
    return [pool[i] for i in random.choice(len(pool), size=count, replace=False)]
