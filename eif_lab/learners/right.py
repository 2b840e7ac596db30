"""The right verdict on each reference learner, which follows from its rule and not from any test."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eif_lab.desiderata.selection import clean, related, same_sample, texts
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.learners.rules import has_words

WITHOUT_STRENGTH = ("bag_of_words", "format", "copying")
"""What these raise, their foils take away: of texts they learn nothing by our measure, and so have no verdict."""

OPEN = ""
"""Stands for a verdict that the rule does not decide: it depends on the noise, or lies on the bar."""

RIGHT = {
    ("negation_blind", "negation"): VIOLATED,
    ("symmetric", "sparsity"): OPEN,
    ("faint", "logic"): VIOLATED,
    ("faint", "negation"): VIOLATED,
    ("faint", "distance_decay"): OPEN,
    ("faint", "sparsity"): OPEN,
    ("faint", "symmetry"): OPEN,
    ("faint", "noise_invariance"): OPEN,
}
"""Where the right verdict on a learner that was taught something is not ``satisfied``, whatever the data."""


def right_verdict(rule: str, desideratum: str, array: xr.DataArray) -> str:
    """The verdict that is right on a reference learner.

    Args:
        rule: The learner's.
        desideratum: By its name in ``conf/desideratum``; one that applies to the array.
        array: With the coordinates that the learner goes by.

    Returns:
        ``satisfied``, ``violated``, ``inconclusive`` where there is nothing to judge, or `OPEN`.
    """
    if rule in WITHOUT_STRENGTH:
        return INCONCLUSIVE if has_words(array) else VIOLATED
    if desideratum == "symmetry" and has_words(array):
        return OPEN if statements_related(array) else INCONCLUSIVE
    if (rule, desideratum) == ("symmetric", "noise_invariance"):
        return OPEN if has_words(array) else VIOLATED
    if (rule, desideratum) == ("symmetric", "logic"):
        return VIOLATED if np.any(texts(array, "relation") == "converse") else SATISFIED
    if (rule, desideratum) == ("faint", "negation") and not has_gap(array):
        return OPEN
    return RIGHT.get((rule, desideratum), SATISFIED)


def has_gap(array: xr.DataArray) -> bool:
    """Whether some stimulus entails one probe and contradicts another, so that it has a gap between the two."""
    follows, contradicted = (texts(array, "relation") == name for name in ("entailed", "contradicted"))
    return bool(np.any(follows.any(axis=1) & contradicted.any(axis=1)))


def statements_related(array: xr.DataArray) -> bool:
    """Whether a clean sample that is both stimulus and probe says anything about another one, of its world if any."""
    array = clean(array)
    ids = [texts(array, f"{side}_id") for side in ("stimulus", "probe")]
    both = np.isin(ids[0], ids[1])[:, None] & np.isin(ids[1], ids[0])[None, :] & ~same_sample(array)
    if {"stimulus_world", "probe_world"} <= set(array.coords):
        both &= array["stimulus_world"].values[:, None] == array["probe_world"].values[None, :]
    return bool(np.any(both & related(array)))
