"""The table of a sweep, jobs by findings, and writing tables as parquet files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eif_lab.desiderata.evaluation import adjust
from eif_lab.desiderata.verdict import VIOLATED, Verdict
from eif_lab.files.checksums import clear_partial_writes, replace_file
from eif_lab.files.locks import folder_lock
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE, Manifest
from eif_lab.results.rows import (
    NUMBER,
    TEXT,
    VERDICT_COLUMNS,
    by_desideratum,
    judged_by_older_rule,
    typed_frame,
    verdict_of,
)

SWEEP_COLUMNS = {
    "job": TEXT,
    "path": TEXT,
    "overrides": TEXT,
    "strength": NUMBER,
    "strength_unit": TEXT,
    "strength_reached": NUMBER,
    "strength_target": NUMBER,
    "target_reached": "boolean",
    "desideratum": TEXT,
    "status": TEXT,
    "verdict": TEXT,
    "how": TEXT,
    "verdict_alone": TEXT,
    "finding": "Int64",
    "statistic": TEXT,
    "effect": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "threshold": NUMBER,
    "chance": NUMBER,
    "finding_verdict": TEXT,
    "finding_how": TEXT,
    "p_value": NUMBER,
    "p_adjusted": NUMBER,
    "p_violated": NUMBER,
    "p_violated_adjusted": NUMBER,
    "alpha": NUMBER,
    "n": "Int64",
    "unit": TEXT,
    "claim": TEXT,
    "rule": TEXT,
    "note": TEXT,
    "explanation": TEXT,
    "reason": TEXT,
}
COPIED = tuple(name for name in VERDICT_COLUMNS if name in SWEEP_COLUMNS and name not in ("verdict", "how"))
"""Columns that a row of the sweep copies from the job's own row of the finding."""


def sweep_table(jobs: Sequence[JobResults]) -> pd.DataFrame:
    """Jobs by findings in long form, with p-values corrected over the whole sweep (Benjamini-Hochberg, 1995).

    Every verdict of every job is one member of two families, which are corrected each by itself: the p-values of
    ``satisfied`` (the largest of its findings') and those of ``violated`` (the smallest, times their number).
    ``verdict`` is the rule of `Verdict.outcome` under ``p_adjusted`` and ``p_violated_adjusted``, ``verdict_alone``
    under the job's own p-values; ``how`` says how a violated one fails. A verdict has a row for each of its findings,
    with that one's effect, interval, n, threshold and chance, and its own verdict before the correction; ``finding``
    counts them, and 0 is the headline. A job that failed, does not apply or cannot be read has one row that says so.
    ``strength`` is what its stimuli taught, in ``strength_unit``. ``strength_target`` is what the learning rate was
    to reach, ``strength_reached`` what it did reach, and ``target_reached`` whether the method came near; they are
    undefined where nothing was asked for.

    A verdict that was stored as violated before that took a p-value stands as it was judged then.
    """
    blocks = [block for job, name in zip(jobs, distinct_names(jobs)) for block in _job_blocks(job, name)]
    tested = [(rows, verdict) for rows, verdict in blocks if verdict is not None]
    satisfied = adjust([verdict.p_value for _, verdict in tested])
    violated = adjust([verdict.p_violated for _, verdict in tested])
    for (rows, verdict), *corrected in zip(tested, satisfied, violated):
        for row in rows:
            row.update(_corrected(row, verdict, *corrected))
    return typed_frame([row for rows, _ in blocks for row in rows], SWEEP_COLUMNS)


def _corrected(row: Mapping[str, Any], verdict: Verdict, p_adjusted: float, p_violated: float) -> dict[str, Any]:
    outcome = VIOLATED if row["judged_before"] else verdict.outcome(p_adjusted, p_violated)
    how = verdict.failing.how if outcome == VIOLATED and not row["judged_before"] else ""
    return {"p_adjusted": p_adjusted, "p_violated_adjusted": p_violated, "verdict": outcome, "how": how}


def distinct_names(jobs: Sequence[JobResults]) -> list[str]:
    """The jobs' names; where several share one, with the overrides that they do not all share."""
    return unique_names([job.manifest.name for job in jobs], [list(map(str, job.manifest.overrides)) for job in jobs])


def unique_names(names: Sequence[str], overrides: Sequence[Sequence[str]]) -> list[str]:
    """The names; where several are the same, with the overrides that these do not all share."""
    shared: dict[str, set[str]] = {}
    for name, each in zip(names, overrides):
        shared[name] = shared.get(name, set(each)) & set(each)
    return [" ".join([name, *(one for one in each if one not in shared[name])]) for name, each in zip(names, overrides)]


def _job_blocks(job: JobResults, name: str) -> list[tuple[list[dict[str, Any]], Verdict | None]]:
    """The rows of each verdict with the verdict, and the rows of untested desiderata with None."""
    shared = {"job": name, "path": str(job.path), "overrides": " ".join(map(str, job.manifest.overrides))}
    shared |= _strength(job.manifest)
    if job.manifest.status != DONE:
        return [([{**shared, "status": job.manifest.status, "reason": job.manifest.reason}], None)]
    rows = job.verdict_rows
    blocks: list[tuple[list[dict[str, Any]], Verdict | None]] = [
        ([{**shared, **_sweep_row(row)} for row in group], verdict_of(group)) for group in by_desideratum(rows)
    ]
    columns = ("status", "desideratum", "reason")
    absent = [row for row in rows if row["status"] == NOT_APPLICABLE]
    return [*blocks, *(([{**shared, **{name: row[name] for name in columns}}], None) for row in absent)]


def _strength(manifest: Manifest) -> dict[str, Any]:
    """The strength that was reached, and its target."""
    effect, target = manifest.strength.effect, manifest.update.calibration
    known = {"strength": float("nan") if effect is None else effect, "strength_unit": manifest.unit}
    if target is None:
        return known
    return known | {
        "strength_target": target.target,
        "strength_reached": float("nan") if target.strength is None else target.strength,
        "target_reached": target.reached,
    }


def _sweep_row(row: Mapping[str, Any]) -> dict[str, Any]:
    copied = {name: row[name] for name in COPIED}
    return {**copied, "verdict_alone": row["verdict"], "judged_before": judged_by_older_rule(row)}


def write_frame(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, whole or not at all."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    with folder_lock(path.parent) as alone:
        if alone:
            clear_partial_writes(path)
        replace_file(path, buffer.getvalue())
