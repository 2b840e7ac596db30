"""Verdicts as the page shows them: a job's, a sweep's scorecard, and findings of several jobs on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eif_lab.console.format import bar_text, p_text
from eif_lab.desiderata.verdict import VERDICTS, VIOLATED
from eif_lab.page.arrays import shorten
from eif_lab.page.facts import effect_text
from eif_lab.results.bounds import beside
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE
from eif_lab.results.rows import by_desideratum

LONGEST_NAME = 200
"""Characters of a job's name."""


Learners = Mapping[str, Sequence[Mapping[str, Any]]]
"""The bounding learners' rows, as `eif_lab.results.bounds.Bounds.of` returns them."""


def tested_rows(rows: Sequence[Mapping[str, Any]], learners: Learners) -> list[dict[str, Any]]:
    """One row per finding, with the bounding learners' own; the first says how many share a desideratum's cells."""
    bounds = beside(learners)
    return [
        {
            **row,
            "first": index == 0,
            "count": len(group),
            "interval": effect_text(row),
            "bar": bar_text(row["statistic"], row["threshold"], row["chance"]),
            "p": p_text(row["finding_verdict"], row["finding_p_value"], row["finding_p_violated"]),
            "bounds": [
                {**one, "interval": effect_text(one)} for one in bounds.get((row["desideratum"], row["statistic"]), [])
            ],
        }
        for group in by_desideratum(rows)
        for index, row in enumerate(group)
    ]


def tally(table: pd.DataFrame) -> list[dict[str, Any]]:
    """How many jobs have each verdict on each desideratum, after the correction over the sweep."""
    first = table[(table["status"] == DONE) & (table["finding"] == 0)]
    counts = first.groupby(["desideratum", "verdict"], sort=False).size()
    return [
        {"desideratum": name, **{one: int(counts.get((name, one), 0)) for one in VERDICTS}}
        for name in dict.fromkeys(first["desideratum"])
    ]


def scorecard(table: pd.DataFrame) -> dict[str, Any]:
    """Jobs by desiderata, with p-values corrected over the sweep; a cell is the rows of its findings in the table.

    Args:
        table: The sweep's, and below it rows of bounding learners, which have no path.
    """
    desiderata = [name for name in dict.fromkeys(table["desideratum"]) if name]
    rows = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        p = p_text(row["verdict"], row["p_adjusted"], row["p_violated_adjusted"])
        bar = bar_text(row["statistic"], row["threshold"], row["chance"])
        how = row["finding_how"] if row["verdict"] == VIOLATED else ""
        texts = {"interval": effect_text(row), "p": p, "bar": bar, "failing": how}
        groups.setdefault((row["job"], row["path"]), []).append({**row, **texts})
    for (job, path), group in groups.items():
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in group:
            cells.setdefault(row["desideratum"], []).append(row)
        strength, reached = group[0]["strength"], group[0]["target_reached"]
        rows.append(
            {
                "job": shorten(job, LONGEST_NAME),
                "learner": not path,
                "strength": None if pd.isna(strength) else float(strength),
                "unit": group[0]["strength_unit"],
                "missed": bool(path and pd.notna(reached) and not reached),
                "ended": cells[""][0] if "" in cells else None,
                "cells": [cells.get(name, []) for name in desiderata],
            }
        )
    return {"desiderata": desiderata, "rows": rows}


def comparisons(jobs: Sequence[JobResults], names: Sequence[str], learners: Sequence[Learners]) -> list[dict[str, Any]]:
    """For each finding that several jobs have: their effects with intervals on one scale.

    Args:
        jobs: Of a sweep.
        names: Theirs.
        learners: Of each job the bounding learners' rows.

    Returns:
        ``desideratum``, ``statistic``, and what `on_one_scale` gives.
    """
    findings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job, name, each in zip(jobs, names, learners):
        bounds = beside(each)
        for row in job.verdict_rows:
            if row["status"] == DONE and all(math.isfinite(row[key]) for key in ("effect", "low", "high")):
                finding = row["desideratum"], row["statistic"]
                known = [one for one in bounds.get(finding, []) if math.isfinite(one["effect"])]
                findings.setdefault(finding, []).append({**row, "job": name, "bounds": known})
    return [
        {"desideratum": desideratum, "statistic": statistic, **on_one_scale(group)}
        for (desideratum, statistic), group in findings.items()
        if len(group) > 1
    ]


def on_one_scale(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Findings of one statistic as places on a scale that holds all of them, their bounds, the threshold and chance.

    Returns:
        ``threshold`` and its place ``at``; ``rows``, the findings with the ends and the width of their interval, the
        effect, chance and the bounding learners' effects as places. Places are percentages of the scale; that of
        chance is None where it is not known.
    """
    ends = np.array([[row[key] for key in ("low", "high", "effect", "threshold", "chance")] for row in findings])
    marked = np.array([one["effect"] for row in findings for one in row["bounds"]])
    known = np.concatenate([ends[np.isfinite(ends)], marked])
    low, span = float(known.min()), float(np.ptp(known)) or 1.0

    def place(value: float) -> float:
        return 2 + 96 * (value - low) / span

    rows = [
        {
            **row,
            "interval": effect_text(row),
            "left": place(row["low"]),
            "width": place(row["high"]) - place(row["low"]),
            "dot": place(row["effect"]),
            "chance_at": place(row["chance"]) if math.isfinite(row["chance"]) else None,
            "bounds": [{**one, "at": place(one["effect"]), "interval": effect_text(one)} for one in row["bounds"]],
        }
        for row in findings
    ]
    threshold = float(findings[0]["threshold"])
    return {"threshold": threshold, "at": place(threshold), "rows": rows}
