"""Matched pairs: a probe beside one of its foils, under the same stimulus."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from eif_lab.desiderata import statistics
from eif_lab.desiderata.lexical import shared_words
from eif_lab.desiderata.selection import clusters, foils, texts

PAIRED = ("same_subject", "same_words")
"""The foils that differ from the probe in one thing only, and so make a pair with it."""


class Pairs(NamedTuple):
    """Cells of an array, two probes of one stimulus at a time.

    Attributes:
        rows: The stimuli.
        columns: The probes that a claim is about.
        others: What each is compared with.
    """

    rows: Int[np.ndarray, " pairs"]
    columns: Int[np.ndarray, " pairs"]
    others: Int[np.ndarray, " pairs"]


def matched_pairs(influence: xr.DataArray, relation: str) -> dict[str, Pairs]:
    """By the names of `PAIRED`, the probes of a relation that have such a foil, each with it."""
    columns_of, of_relation = foils(influence), texts(influence, "relation") == relation
    pairs = {}
    for name in PAIRED:
        others = columns_of.get(name, np.full(of_relation.shape, -1))
        rows, columns = np.nonzero(of_relation & (others >= 0))
        pairs[name] = Pairs(rows, columns, others[rows, columns])
    return pairs


def discrimination(influence: xr.DataArray, relation: str, sign: int = 1) -> dict[str, float]:
    """How often a probe of the relation moves beyond its foil in the claimed direction; 1/2 is chance.

    Args:
        influence: See `eif_lab.desiderata.selection.with_probe_numbers`.
        relation: That of the probes.
        sign: 1 where they are to rise above their foils, -1 where they are to fall below.

    Returns: ``auc_same_subject`` and ``auc_same_words``, ``P(I(probe) > I(foil)) + P(equal) / 2`` over the pairs with
        the foil of that name; ``auc`` over both; ``lexical_auc``, the same pairs by `shared_words` instead of
        influence; and ``matched_pairs``, their number. Pairs are averaged within a stimulus, stimuli within a world,
        then worlds. NaN where there are no such pairs, or no texts.
    """
    by_foil = matched_pairs(influence, relation)
    both = Pairs(*(np.concatenate(parts) for parts in zip(*by_foil.values())))
    has_labels = {"stimulus_label", "probe_label"} <= set(influence.coords)
    count = shared_words(influence) if has_labels else np.full(influence.shape, np.nan)
    return {
        "auc": auc(influence, sign * influence.values, both),
        **{f"auc_{name}": auc(influence, sign * influence.values, pairs) for name, pairs in by_foil.items()},
        "lexical_auc": auc(influence, sign * count, both),
        "matched_pairs": float(len(both.rows)),
    }


def auc(influence: xr.DataArray, values: Float[np.ndarray, "stimulus probe"], pairs: Pairs) -> float:
    """The share of pairs in which the value of the first is above that of the second, ties half, over worlds."""
    if not len(pairs.rows):
        return float("nan")
    won = (np.sign(values[pairs.rows, pairs.columns] - values[pairs.rows, pairs.others]) + 1) / 2
    units, _ = clusters(influence)
    by_stimulus = statistics.group_means(won, pairs.rows, len(units))
    paired = np.unique(pairs.rows)
    by_unit = statistics.group_means(by_stimulus[paired], units[paired], int(units.max()) + 1)
    return float(by_unit[np.unique(units[paired])].mean())
