"""Sparsity: a stimulus moves few probes, and those that it has to do with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from numpy.random import Generator

from eif_lab.desiderata import statistics
from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.selection import clean, foils, related, require_units, same_sample, texts
from eif_lab.desiderata.stand_ins import (
    FEWEST,
    Units,
    above_stand_ins,
    average_scores,
    own_and_chance,
    related_elsewhere,
    units_of,
)
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import NotApplicable
from eif_lab.options import option

OWN_SHARE = 0.2
"""The share of the probes that counts as a unit's own when concentration is measured, however many units there are."""


@dataclass
class Sparsity(Desideratum):
    """Few probes are moved, and the right ones.

    Everything is measured on a stimulus's row and, for comparison, on the rows of stimuli of other units (worlds,
    classes) put in its place, on the same probes (see `stand_ins`); averaged over a unit's stimuli, then over units.

    ``precision_<others>``: the average precision with which ``|I|`` tells the probes that a stimulus is related to from
    others, above that of the stand-ins, in shares of what is left to 1. Related are those that are entailed or
    contradicted; those that are stated only in data that have neither, since any learner moves what is stated, which
    would carry the test alone. The others are the stimulus's own foils, of the same subject and of the same words in
    one finding each, and its converse; where it has no foils, the unrelated probes of its world; of images the probes
    of one other class at a time. The number of worlds or classes therefore does not matter.

    ``concentration``: ``1 - mean |I| / sqrt(mean I^2)`` of a row, less that of the stand-ins: 0 where a stimulus's
    influence is as even, or as uneven, as that of stimuli which have nothing to do with these probes. The probes of
    the stimulus's own unit weigh a fifth, those of all other units four fifths, as though there were five units. It is
    left out where probes belong to no unit.

    Unit: the class, the world, or the stimulus where there is neither. Where noise was added, the clean samples are
    judged.

    Details: means over stimuli of the Gini and Hoyer indices and of the effective number of probes moved; the
    statistics and their chance before the difference is taken.

    Attributes:
        precision_threshold: Average precision above chance that counts as moving the right probes.
        concentration_threshold: Concentration above that of the stand-ins that counts as moving few.
    """

    group: ClassVar[str] = "desideratum.sparsity"
    claim: ClassVar[str] = "a stimulus moves few probes, and those that it has to do with"

    precision_threshold: float = option(0.3, at_least=0, below=1, hint="Try 0.3.")
    concentration_threshold: float = option(0.005, at_least=-1, below=1, hint="Try 0.005.")

    def judge(self, influence: xr.DataArray, generator: Generator) -> Verdict:
        """The verdict on a prepared array."""
        influence = clean(influence)
        influence = influence[(np.nan_to_num(influence.values) != 0).any(axis=1)]
        require_units(influence.sizes["stimulus"], "stimuli that moved a probe")
        units = units_of(influence)
        require_units(units.count, units.name, at_least=FEWEST)
        size = np.abs(influence.values)
        tables = {f"precision_{name}": table for name, table in precision_tables(influence, size, units).items()}
        if not tables:
            raise NotApplicable(f"{units.name} must have related probes and others, got fewer than {FEWEST} that do.")
        findings: list[Finding] = [
            self.finding(name, above_stand_ins(table, 1.0), len(table), units.name, self.precision_threshold)
            for name, table in tables.items()
        ]
        if units.columns is not None:
            elsewhere = related_elsewhere(influence, units)
            tables["concentration"] = table = concentrations(
                np.where(same_sample(influence) | elsewhere, np.nan, size), units
            )
            threshold = self.concentration_threshold
            findings.append(self.finding("concentration", above_stand_ins(table), len(table), units.name, threshold))
        details = {
            name: float(np.mean([index(row[~np.isnan(row)]) for row in size]))
            for name, index in (
                ("gini", statistics.gini),
                ("hoyer", statistics.hoyer),
                ("effective_number", statistics.effective_number),
            )
        }
        for name, table in tables.items():
            details[f"{name}_raw"], details[f"{name}_chance"] = own_and_chance(table)
        return Verdict("sparsity", self.claim, findings, self.alpha, details)


def precision_tables(
    influence: xr.DataArray, size: Float[np.ndarray, "stimulus probe"], units: Units
) -> dict[str, Float[np.ndarray, "units units"]]:
    """By what related probes are told from, the average precision by (target unit, scored unit)."""
    if units.name == "classes" and units.columns is not None:
        return {"other_classes": class_precisions(np.where(same_sample(influence), np.nan, size), units)}
    tables, elsewhere = {}, related_elsewhere(influence, units)
    for name, right, wrong in contrasts(influence, units):
        targets = np.flatnonzero(right.any(axis=1) & wrong.any(axis=1))
        if len(np.unique(units.rows[targets])) < FEWEST:
            continue
        scores = np.full((len(targets), len(size)), np.nan)
        for place, i in enumerate(targets):
            columns = np.flatnonzero(right[i] | wrong[i])
            itself = np.arange(len(size)) == i
            strangers = ~(elsewhere[:, columns] | np.isnan(size[:, columns])).any(axis=1) | itself
            scores[place, strangers] = average_precision(size[np.ix_(strangers, columns)], right[i, columns])
        tables[name] = average_scores(scores[np.arange(len(targets)), targets], scores, units.rows[targets], units)
    return tables


def contrasts(
    influence: xr.DataArray, units: Units
) -> Iterator[tuple[str, Bool[np.ndarray, "stimulus probe"], Bool[np.ndarray, "stimulus probe"]]]:
    """The comparisons: a name, the cells of the related probes, and those of the probes to distinguish them from."""
    relation, itself = texts(influence, "relation"), same_sample(influence)
    related_to = related(influence) & ~itself
    beyond = related_to & (relation != "direct")
    right = beyond if beyond.any() else related_to
    has_foils = False
    for name, foil in foils(influence).items():
        paired = right & (foil >= 0)
        if paired.any() and name != "neither":
            foiled = np.zeros(influence.shape, dtype=bool)
            rows, columns = np.nonzero(paired)
            foiled[rows, foil[rows, columns]] = True
            yield name, paired, (foiled | ((relation == "converse") & paired.any(axis=1, keepdims=True))) & ~paired
            has_foils = True
    if not has_foils:
        own = True if units.columns is None else units.rows[:, None] == units.columns[None, :]
        yield "unrelated", right, ~related_to & ~itself & own


def class_precisions(size: Float[np.ndarray, "stimulus probe"], units: Units) -> Float[np.ndarray, "units units"]:
    """Average precision with which rows tell a class's probes from another's, averaged over that other class.

    Args:
        size: Of influence, NaN where stimulus and probe are the same sample.
        units: The classes.
    """
    assert units.columns is not None
    n, members = units.count, [np.flatnonzero(units.columns == u) for u in range(units.count)]
    width = max(map(len, members))
    by_class = np.full((n, len(size), width), np.nan)  # classes differ in size, and NaN is left out of a ranking
    for columns, values in zip(members, by_class):
        values[:, : len(columns)] = size[:, columns]
    cells = (units.rows + n * np.arange(n)[:, None]).ravel()
    means = np.full((n, n), np.nan)
    for a, values in enumerate(by_class):
        both = np.concatenate([np.broadcast_to(values, by_class.shape), by_class], axis=2)
        scores = average_precision(both.reshape(-1, 2 * width), np.arange(2 * width) < width)
        by_other = statistics.group_means(scores, cells, n * n).reshape(n, n)
        by_other[a] = by_other[np.arange(n), np.arange(n)] = np.nan
        counted = np.isfinite(by_other)
        means[a] = statistics.divide(np.where(counted, by_other, 0.0).sum(axis=0), counted.sum(axis=0))
    scored = np.isfinite(np.diag(means))
    return means[np.ix_(scored, scored)]


def average_precision(
    scores: Float[np.ndarray, "rows items"], right: Bool[np.ndarray, " items"]
) -> Float[np.ndarray, " rows"]:
    """Average precision above chance: ``(AP - E AP) / (1 - E AP)``, 1 where every right item has a larger score.

    AP is the mean over right items of the share of right ones among the items ranked at least as high. Of tied items
    all orders count alike, and E AP, that of a random order, is what AP is where all are tied: 0 above chance. NaN is
    left out of the ranking; without a right item and another one the value is NaN.
    """
    chance = expected_precision(*((keep & ~np.isnan(scores)).sum(axis=1) for keep in (right, ~right)))
    return statistics.divide(ranked_precision(scores, right) - chance, 1 - chance)


def expected_precision(right: Int[np.ndarray, " rows"], wrong: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Average precision of so many right and wrong items in a random order; NaN without either.

    The item in place k is right with probability ``r / n``, and then a share ``(r - 1) / (n - 1)`` of those before it
    is. Source: Bestgen (2015), Exact expected average precision of the random baseline.
    """
    total = right + wrong
    places = 1.0 / np.arange(1, int(total.max(initial=1)) + 1)
    harmonic = np.concatenate([[0.0], np.cumsum(places)])[total]
    before = statistics.divide(right - 1, total - 1)
    return np.where((right > 0) & (wrong > 0), statistics.divide(harmonic + before * (total - harmonic), total), np.nan)


def ranked_precision(
    scores: Float[np.ndarray, "rows items"], right: Bool[np.ndarray, " items"]
) -> Float[np.ndarray, " rows"]:
    """Average precision of each row, the mean over all orders of tied items."""
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    hit = np.broadcast_to(right, scores.shape)[np.arange(len(scores))[:, None], order] & ~np.isnan(ranked)
    place = np.arange(scores.shape[1])
    first = np.ones(scores.shape, dtype=bool)
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    start = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    last = np.ones(scores.shape, dtype=bool)
    last[:, :-1] = first[:, 1:]
    end = np.minimum.accumulate(np.where(last, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    hits = np.concatenate([np.zeros((len(scores), 1)), np.cumsum(hit, axis=1)], axis=1)
    before = np.take_along_axis(hits, start, axis=1)
    tied, tied_right = end - start + 1, np.take_along_axis(hits, end + 1, axis=1) - before
    others = np.where(tied > 1, (place - start) * (tied_right - 1) / np.maximum(tied - 1, 1), 0.0)
    gained = np.where(tied_right > 0, tied_right / tied * (before + 1 + others) / (place + 1), 0.0)
    return statistics.divide(gained.sum(axis=1), hits[:, -1])


def concentrations(size: Float[np.ndarray, "stimulus probe"], units: Units) -> Float[np.ndarray, "units units"]:
    """How concentrated rows are, by (unit whose probes weigh a fifth, unit of the row).

    Args:
        size: Of influence, NaN where stimulus and probe are the same sample.
        units: The array's.
    """
    assert units.columns is not None
    member = np.eye(units.count + 1)[units.columns][:, :-1]
    home = np.eye(units.count)[units.rows]
    counted = ~np.isnan(size) @ member
    there = (counted > 0).astype(float)
    # A stand-in has to do with the probes of its own unit: they are not among the rest.
    rest = np.maximum(there.sum(axis=1, keepdims=True) - there - (1 - home) * (home * there).sum(1, keepdims=True), 0)
    moments = []
    for powers in (np.nan_to_num(size), np.nan_to_num(size) ** 2):
        mean = powers @ member / np.maximum(counted, 1)
        others = mean.sum(axis=1, keepdims=True) - mean - (1 - home) * (home * mean).sum(axis=1, keepdims=True)
        moments.append(OWN_SHARE * mean + (1 - OWN_SHARE) * statistics.divide(others, rest))
    scores = np.where(there > 0, 1 - statistics.divide(moments[0], np.sqrt(moments[1])), np.nan)
    table = np.stack([statistics.group_means(of, units.rows, units.count) for of in scores.T])
    scored = np.isfinite(np.diag(table))
    return table[np.ix_(scored, scored)]
