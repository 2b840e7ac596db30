"""The rows of a sweep's seeds as the page shows them: each finding over jobs that differ in nothing but their seeds."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from eif_lab.desiderata.format import bar_text
from eif_lab.page.arrays import shorten
from eif_lab.results.job import JobResults
from eif_lab.results.seeds import seeds_table
from eif_lab.results.sweep import SweepResults

LONGEST_NAME = 200
"""Characters of a group's name."""


def groups_over_seeds(results: JobResults | SweepResults) -> list[list[dict[str, Any]]]:
    """The rows of `eif_lab.results.seeds.seeds_table` with texts for the template, those of one group together."""
    if isinstance(results, JobResults):
        return []
    rows = [
        {
            **row,
            "job": shorten(str(row["job"]), LONGEST_NAME),
            "effect": row["mean"],
            "bar": bar_text(row["statistic"], row["threshold"], 0.0),
            "on": f"{row['seeds']} {'runs' if row['verdict'] else 'draws of samples'}",
            "share": "" if math.isnan(row["run_share"]) else f"{row['run_share']:.0%}",
        }
        for row in seeds_table(results.jobs, results.table).to_dict("records")
    ]
    return [list(group) for _, group in groupby(rows, key=lambda row: (row["job"], row["data_seed"]))]
