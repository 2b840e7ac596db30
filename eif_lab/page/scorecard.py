"""Verdicts as the page shows them: a job's, a sweep's scorecard, and findings of several jobs on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eif_lab.desiderata.verdict import VERDICTS
from eif_lab.page.arrays import shorten
from eif_lab.page.facts import effect_text
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE

LONGEST_NAME = 200
"""Characters of a job's name."""


def tested_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per finding; the first of a desideratum says how many share its cells."""
    findings: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted((row for row in rows if row["status"] == DONE), key=lambda row: row["finding"] or 0):
        findings.setdefault(row["desideratum"], []).append(row)
    return [
        {**row, "first": index == 0, "count": len(group), "interval": effect_text(row)}
        for group in findings.values()
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
    """Jobs by desiderata, with p-values corrected over the sweep; a cell is the rows of its findings in the table."""
    desiderata = [name for name in dict.fromkeys(table["desideratum"]) if name]
    rows = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        groups.setdefault((row["job"], row["path"]), []).append({**row, "interval": effect_text(row)})
    for (job, _), group in groups.items():
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in group:
            cells.setdefault(row["desideratum"], []).append(row)
        direct, reached = group[0]["direct_influence"], group[0]["target_reached"]
        rows.append(
            {
                "job": shorten(job, LONGEST_NAME),
                "direct": None if pd.isna(direct) else float(direct),
                "missed": reached is not pd.NA and not reached,
                "ended": cells[""][0] if "" in cells else None,
                "cells": [cells.get(name, []) for name in desiderata],
            }
        )
    return {"desiderata": desiderata, "rows": rows}


def comparisons(jobs: Sequence[JobResults], names: Sequence[str]) -> list[dict[str, Any]]:
    """For each finding that several jobs have: their effects with intervals on one scale.

    Returns:
        ``desideratum``, ``statistic``, and what `on_one_scale` gives.
    """
    findings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job, name in zip(jobs, names):
        for row in job.verdict_rows:
            if row["status"] == DONE and all(math.isfinite(row[key]) for key in ("effect", "low", "high")):
                findings.setdefault((row["desideratum"], row["statistic"]), []).append({**row, "job": name})
    return [
        {"desideratum": desideratum, "statistic": statistic, **on_one_scale(group)}
        for (desideratum, statistic), group in findings.items()
        if len(group) > 1
    ]


def on_one_scale(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Findings of one statistic as places on a scale that holds all of them and the threshold.

    Returns:
        ``threshold`` and its place ``at``; ``rows``, the findings with the ends and the width of their interval and the
        effect as places. Places are percentages of the scale.
    """
    ends = np.array([[row[key] for key in ("low", "high", "effect", "threshold")] for row in findings])
    low, span = float(ends.min()), float(np.ptp(ends)) or 1.0

    def place(value: float) -> float:
        return 2 + 96 * (value - low) / span

    rows = [
        {
            **row,
            "interval": effect_text(row),
            "left": place(row["low"]),
            "width": place(row["high"]) - place(row["low"]),
            "dot": place(row["effect"]),
        }
        for row in findings
    ]
    threshold = float(findings[0]["threshold"])
    return {"threshold": threshold, "at": place(threshold), "rows": rows}
