"""The table of a sweep, jobs by findings, and writing tables as parquet files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eif_lab.desiderata.evaluation import adjust
from eif_lab.desiderata.verdict import Verdict
from eif_lab.files.checksums import clear_cut_off, replace_file
from eif_lab.files.locks import alone_in
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE
from eif_lab.results.rows import NUMBER, TEXT, typed_frame, verdicts_of

SWEEP_COLUMNS = {
    "job": TEXT,
    "path": TEXT,
    "overrides": TEXT,
    "direct_influence": NUMBER,
    "direct_target": NUMBER,
    "target_reached": "boolean",
    "desideratum": TEXT,
    "status": TEXT,
    "verdict": TEXT,
    "verdict_alone": TEXT,
    "finding": "Int64",
    "statistic": TEXT,
    "effect": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "threshold": NUMBER,
    "p_value": NUMBER,
    "p_adjusted": NUMBER,
    "alpha": NUMBER,
    "n": "Int64",
    "unit": TEXT,
    "claim": TEXT,
    "rule": TEXT,
    "note": TEXT,
    "reason": TEXT,
}


def sweep_table(jobs: Sequence[JobResults]) -> pd.DataFrame:
    """Jobs by findings in long form, with p-values corrected over the whole sweep (Benjamini-Hochberg, 1995).

    Every verdict of every job is one member of the family; its p-value is the largest of its findings'. ``verdict``
    is the rule of `Verdict.outcome` under ``p_adjusted``, ``verdict_alone`` under the job's own p-values. A verdict has
    a row for each of its findings, with that one's effect, interval, n and threshold; ``finding`` counts them, and 0 is
    the headline. A job that failed, does not apply or cannot be read has one row that says so.
    ``direct_target`` is what direct influence was to be, in nats, and ``target_reached`` whether the method came near;
    both are undefined where nothing was asked for.
    """
    blocks = [block for job, name in zip(jobs, distinct_names(jobs)) for block in _job_blocks(job, name)]
    tested = [(rows, verdict) for rows, verdict in blocks if verdict is not None]
    for (rows, verdict), p_adjusted in zip(tested, adjust([verdict.p_value for _, verdict in tested])):
        for row in rows:
            row |= {"p_adjusted": p_adjusted, "verdict": verdict.outcome(p_adjusted)}
    return typed_frame([row for rows, _ in blocks for row in rows], SWEEP_COLUMNS)


def distinct_names(jobs: Sequence[JobResults]) -> list[str]:
    """The jobs' names; where several share one, with the overrides that they do not all share."""
    return told_apart([job.manifest.name for job in jobs], [list(map(str, job.manifest.overrides)) for job in jobs])


def told_apart(names: Sequence[str], overrides: Sequence[Sequence[str]]) -> list[str]:
    """The names; where several are the same, with the overrides that these do not all share."""
    shared: dict[str, set[str]] = {}
    for name, each in zip(names, overrides):
        shared[name] = shared.get(name, set(each)) & set(each)
    return [" ".join([name, *(one for one in each if one not in shared[name])]) for name, each in zip(names, overrides)]


def _job_blocks(job: JobResults, name: str) -> list[tuple[list[dict[str, Any]], Verdict | None]]:
    """The rows of each verdict with the verdict, and those of what was not tested with None."""
    manifest, target = job.manifest, job.manifest.update.calibration
    effect = manifest.direct_influence.effect
    shared = {
        "job": name,
        "path": str(job.path),
        "overrides": " ".join(map(str, manifest.overrides)),
        "direct_influence": float("nan") if effect is None else effect,
        **({"direct_target": target.target, "target_reached": target.reached} if target else {}),
    }
    if manifest.status != DONE:
        return [([{**shared, "status": manifest.status, "reason": manifest.reason}], None)]
    rows = job.verdict_rows
    blocks: list[tuple[list[dict[str, Any]], Verdict | None]] = [
        ([{**shared, **row} for row in _sweep_rows(verdict)], verdict) for verdict in verdicts_of(rows)
    ]
    columns = ("status", "desideratum", "reason")
    absent = [row for row in rows if row["status"] == NOT_APPLICABLE]
    return [*blocks, *(([{**shared, **{name: row[name] for name in columns}}], None) for row in absent)]


def _sweep_rows(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "desideratum": verdict.desideratum,
            "status": DONE,
            "verdict_alone": verdict.outcome(),
            "finding": number,
            "statistic": finding.statistic,
            "effect": finding.effect,
            "low": finding.low,
            "high": finding.high,
            "threshold": finding.threshold,
            "p_value": verdict.p_value,
            "alpha": verdict.alpha,
            "n": finding.n,
            "unit": finding.unit,
            "claim": verdict.claim,
            "rule": verdict.rule,
            "note": verdict.note,
        }
        for number, finding in enumerate(verdict.findings)
    ]


def write_frame(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, whole or not at all."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    with alone_in(path.parent) as alone:
        if alone:
            clear_cut_off(path)
        replace_file(path, buffer.getvalue())
