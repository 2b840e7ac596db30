"""How many words a probe shares with a stimulus: what a reader of words alone would go by."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import sparse

from eif_lab.desiderata.selection import clusters, texts

MOST_UNITS = 0.5
"""A word in the texts of more than this share of the worlds belongs to the language and not to the content."""


def shared_words(influence: xr.DataArray) -> Float[np.ndarray, "stimulus probe"]:
    """The number of content words that each probe shares with each stimulus.

    Args:
        influence: With the coordinates ``stimulus_label``, ``probe_label`` and ``relation``.
    """
    content = content_words(influence)
    of_stimulus, of_probe = (incidence(texts(influence, f"{side}_label"), content) for side in ("stimulus", "probe"))
    return (of_stimulus @ of_probe.T).toarray()


def content_words(influence: xr.DataArray) -> list[str]:
    """The words that do not stand in most worlds' texts: their stimuli and the probes that these have to do with.

    Where there are no worlds, each stimulus with its own probes counts as one. Of a single world all words do.

    Args:
        influence: With the coordinates ``stimulus_label``, ``probe_label`` and ``relation``.
    """
    labels = [texts(influence, f"{side}_label") for side in ("stimulus", "probe")]
    vocabulary = sorted({word for side in labels for text in side for word in words(text)})
    of_stimulus, of_probe = (incidence(side, vocabulary) for side in labels)
    units, _ = clusters(influence)
    member = sparse.csr_array((np.ones(len(units)), (units, np.arange(len(units)))))
    own = sparse.csr_array((texts(influence, "relation") != "unrelated").astype(float))
    in_unit = (member @ (of_stimulus + own @ of_probe)) > 0
    share = in_unit.mean(axis=0)
    content = np.flatnonzero((share <= MOST_UNITS) | (share.min(initial=1.0) > MOST_UNITS))
    return [vocabulary[place] for place in content]


def words(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.findall(r"\w+", text.lower()))


def incidence(sentences: Sequence[str] | np.ndarray, vocabulary: Sequence[str]) -> sparse.csr_array:
    """1 where a text (row) has a word of the vocabulary (column)."""
    place = {word: column for column, word in enumerate(vocabulary)}
    cells = [(row, place[word]) for row, text in enumerate(sentences) for word in words(text) if word in place]
    rows, columns = np.array(cells, dtype=int).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sentences), len(vocabulary)))
