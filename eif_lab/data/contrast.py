"""Contrasts: a probe less its foils, cell by cell, and what a stimulus was taught by that measure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

SIGNS = {"same_subject": 1, "same_words": 1, "neither": -1}
"""What each foil adds to the control of a probe.

With all three, probe less control is a difference of differences: how far the answer gained on another one, about this
subject more than about another subject. Whatever a text does to every answer about its subject, to its own words
wherever they stand, or to every sentence of a form, cancels.
"""

ROUND_OFF = 1e-12
"""A difference smaller than this fraction of the row's largest influence is 0."""

Foils = Mapping[str, Int[np.ndarray, "stimuli probes"]]
"""By name, the column of each probe's foil; -1 where there is none."""


def foil_weights(foils: Foils) -> dict[str, Float[np.ndarray, "stimuli probes"]]:
    """By foil, what the influence on it weighs in the control of each cell; the weights of a cell sum to 1, or are 0.

    Where a probe lacks one of the three, its control is the mean of its foils of the same subject and the same words,
    as many as there are.
    """
    present = {name: np.asarray(columns) >= 0 for name, columns in foils.items()}
    if not present:
        return {}
    none = np.zeros(next(iter(present.values())).shape, dtype=bool)
    known = {name: present.get(name, none) for name in SIGNS}
    whole = np.logical_and.reduce(list(known.values()))
    single = {name: known[name] & ~whole for name in ("same_subject", "same_words")}
    count = np.maximum(sum(one.astype(int) for one in single.values()), 1)
    return {
        name: np.where(whole, sign, single.get(name, none) / count) for name, sign in SIGNS.items() if name in present
    }


def has_foils(foils: Foils, shape: tuple[int, int]) -> Bool[np.ndarray, "stimuli probes"]:
    """Which cells have a control."""
    return np.logical_or.reduce([np.zeros(shape, bool), *(weight != 0 for weight in foil_weights(foils).values())])


def less_control(values: Float[np.ndarray, "stimuli probes"], foils: Foils) -> Float[np.ndarray, "stimuli probes"]:
    """Each cell less its control; NaN where it has no foils."""
    less = values.astype(float)
    for name, weight in foil_weights(foils).items():
        foil = np.take_along_axis(values, np.maximum(foils[name], 0), axis=1)
        less -= np.where(weight != 0, weight * foil, 0.0)
    # What cancels leaves round-off behind, whose sign and spread would be tested as if they were measured.
    cancelled = np.abs(less) <= ROUND_OFF * np.abs(values).max(axis=1, initial=0.0, keepdims=True)
    return np.where(has_foils(foils, values.shape), np.where(cancelled, 0.0, less), np.nan)


def strength_weights(
    relation: np.ndarray, foils: Foils, same_sample: Bool[np.ndarray, "stimuli probes"]
) -> Float[np.ndarray, "stimuli probes"]:
    """Weights by which influence sums to what each stimulus was taught: ``strength = (weights * influence).sum(1)``.

    It is the mean over the clozes that it states, each less its control. A stimulus without such a cloze counts with
    itself, where it is among the probes, else with the mean of what it states; the row of one that has none of these
    is 0.

    Args:
        relation: (stimuli, probes), what each stimulus says about each probe.
        foils: Of the same task.
        same_sample: Where stimulus and probe are the same sample.
    """
    stated = relation == "direct"
    clozes = stated & has_foils(foils, relation.shape)
    held = clozes.any(axis=1, keepdims=True)
    instead = np.where(same_sample.any(axis=1, keepdims=True), same_sample, stated)
    positive = np.where(held, clozes, instead).astype(float)
    share = positive / np.maximum(positive.sum(axis=1, keepdims=True), 1)
    weights = share.copy()
    rows = np.arange(len(relation))[:, None]
    for name, weight in foil_weights(foils).items():
        np.subtract.at(weights, (rows, np.maximum(foils[name], 0)), np.where(held, share * weight, 0.0))
    return weights
