"""The right verdict on each reference learner, which follows from its rule and not from any test."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eif_lab.desiderata.selection import texts
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.learners.rules import has_words

UNTAUGHT = ("bag_of_words", "format", "copying")
"""What these raise, their foils take away: of texts they learn nothing by our measure, and so have no verdict."""

OPEN = ""
"""Stands for a verdict that the rule does not decide."""


def right_verdict(rule: str, desideratum: str, array: xr.DataArray) -> str:
    """The verdict that is right on a reference learner.

    Args:
        rule: The learner's.
        desideratum: By its name in ``conf/desideratum``; one that applies to the array.
        array: With the coordinates that the learner goes by.

    Returns:
        ``satisfied``, ``violated``, ``inconclusive`` where nothing was taught, or `OPEN`.
    """
    if rule in UNTAUGHT:
        return INCONCLUSIVE if has_words(array) else VIOLATED
    relation = texts(array, "relation")
    if rule == "negation_blind":
        return VIOLATED if desideratum == "negation" else SATISFIED
    if rule == "symmetric":
        backwards = desideratum == "logic" and bool(np.any(relation == "converse"))
        if desideratum == "sparsity" and has_words(array):
            return OPEN
        return VIOLATED if backwards or desideratum == "noise_invariance" else SATISFIED
    if rule == "faint":
        return VIOLATED if desideratum in ("logic", "negation") else OPEN
    return SATISFIED
