"""Verdicts as rows: a job's frame, back to verdicts, and a sweep's table with corrected p-values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from eif_lab.desiderata import Finding, Verdict, adjust

DONE, FAILED, NOT_APPLICABLE = "done", "failed", "not applicable"

HOW_RUN = ("tracker", "workers", "plan", "cache")
"""Options that say how a job is run, and not which job it is."""

TEXT = "string"
NUMBER = "float64"
VERDICT_COLUMNS = {
    "desideratum": TEXT,
    "status": TEXT,
    "verdict": TEXT,
    "p_value": NUMBER,
    "alpha": NUMBER,
    "claim": TEXT,
    "rule": TEXT,
    "note": TEXT,
    "details": TEXT,
    "reason": TEXT,
    "finding": "Int64",
    "statistic": TEXT,
    "effect": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "finding_p_value": NUMBER,
    "n": "Int64",
    "unit": TEXT,
    "threshold": NUMBER,
    "finding_verdict": TEXT,
}
VERDICT_SCHEMA = pa.schema(
    [(name, {TEXT: pa.string(), NUMBER: pa.float64()}.get(kind, pa.int64())) for name, kind in VERDICT_COLUMNS.items()]
)
GAPS: Mapping[str, Any] = {
    name: "" if kind == TEXT else float("nan") for name, kind in VERDICT_COLUMNS.items() if kind != "Int64"
}
"""What stands for a value that is not there; of whole numbers None does."""
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


@runtime_checkable
class Job(Protocol):
    """What a sweep's table asks of a job."""

    @property
    def path(self) -> Any:
        """Its directory."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What it is and how it ended."""

    @property
    def verdict_rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of its `verdict_frame`."""


def verdict_frame(verdicts: Iterable[Verdict], not_applicable: Mapping[str, str]) -> pd.DataFrame:
    """One row per finding, with its desideratum's verdict beside it; one row per desideratum that does not apply.

    Args:
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no meaning for this job.

    Returns:
        The columns of `VERDICT_COLUMNS`. ``p_value`` and ``verdict`` are the desideratum's, ``finding_p_value`` and
        ``finding_verdict`` the row's own; ``details`` is a JSON object.
    """
    rows = [row for verdict in verdicts for row in _finding_rows(verdict)]
    rows += [
        {"desideratum": name, "status": NOT_APPLICABLE, "reason": reason} for name, reason in not_applicable.items()
    ]
    return _frame(rows, VERDICT_COLUMNS)


def read_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """The verdicts that `verdict_frame` wrote down, so that one rule decides before and after storage."""
    return _verdicts_of(frame.to_dict("records"))


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """The rows of a `verdict_frame` that was stored as parquet, read without pandas: a sweep has thousands of them.

    Returns:
        Plain values by column; NaN for a number that is not there.

    Raises:
        ValueError: It is no such frame.
    """
    try:
        table = parquet.ParquetFile(pa.BufferReader(content)).read(list(VERDICT_COLUMNS), use_threads=False)
        rows = table.select(list(VERDICT_COLUMNS)).cast(VERDICT_SCHEMA).to_pylist()
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(str(error)) from None
    for row in rows:
        # pandas stores NaN, and what is not there, as a gap
        row |= {name: gap for name, gap in GAPS.items() if row[name] is None}
        if row["status"] == DONE and (row["n"] is None or not isinstance(json.loads(row["details"]), dict)):
            raise ValueError(f"no numbers of {row['desideratum']}")
    return rows


def _verdicts_of(rows: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts of the rows that were tested, in the order in which they come."""
    findings: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == DONE:
            findings.setdefault(row["desideratum"], []).append(row)
    return [_verdict_of(sorted(own, key=lambda row: row["finding"] or 0)) for own in findings.values()]


def sweep_table(jobs: Sequence[Job]) -> pd.DataFrame:
    """Jobs by findings in long form, with p-values corrected over the whole sweep (Benjamini-Hochberg, 1995).

    Every verdict of every job is one member of the family; its p-value is the largest of its findings'. ``verdict``
    is the rule of `Verdict.outcome` under ``p_adjusted``, ``verdict_alone`` under the job's own p-values. A verdict has
    a row for each of its findings, with that one's effect, interval, n and threshold; ``finding`` counts them, and 0 is
    the headline. A job that failed or does not apply has one row that says so.
    ``direct_target`` is what direct influence was to be, in nats, and ``target_reached`` whether the method came near;
    both are undefined where nothing was asked for.
    """
    blocks = [block for job, name in zip(jobs, distinct_names(jobs)) for block in _job_blocks(job, name)]
    tested = [(rows, verdict) for rows, verdict in blocks if verdict is not None]
    for (rows, verdict), p_adjusted in zip(tested, adjust([verdict.p_value for _, verdict in tested])):
        for row in rows:
            row |= {"p_adjusted": p_adjusted, "verdict": verdict.outcome(p_adjusted)}
    return _frame([row for rows, _ in blocks for row in rows], SWEEP_COLUMNS)


def _finding_rows(verdict: Verdict) -> list[dict[str, Any]]:
    shared = {
        "desideratum": verdict.desideratum,
        "status": DONE,
        "verdict": verdict.outcome(),
        "p_value": verdict.p_value,
        "alpha": verdict.alpha,
        "claim": verdict.claim,
        "rule": verdict.rule,
        "note": verdict.note,
        "details": json.dumps({name: float(value) for name, value in verdict.details.items()}),
    }
    return [
        {
            **shared,
            "finding": index,
            "statistic": finding.statistic,
            "effect": finding.effect,
            "low": finding.low,
            "high": finding.high,
            "finding_p_value": finding.p_value,
            "n": finding.n,
            "unit": finding.unit,
            "threshold": finding.threshold,
            "finding_verdict": finding.verdict(verdict.alpha),
        }
        for index, finding in enumerate(verdict.findings)
    ]


def _verdict_of(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    first = rows[0]
    names = ("statistic", "effect", "low", "high", "unit", "threshold")
    findings = [
        Finding(**{name: row[name] for name in names}, p_value=row["finding_p_value"], n=int(row["n"])) for row in rows
    ]
    return Verdict(
        desideratum=first["desideratum"],
        claim=first["claim"],
        findings=findings,
        alpha=float(first["alpha"]),
        details=json.loads(first["details"]),
        note=first["note"],
    )


def distinct_names(jobs: Sequence[Job]) -> list[str]:
    """The jobs' names; where several share one, with the overrides that they do not all share."""
    names = [str(job.manifest["name"]) for job in jobs]
    overrides = [[str(one) for one in job.manifest.get("overrides") or []] for job in jobs]
    shared: dict[str, set[str]] = {}
    for name, own in zip(names, overrides):
        shared[name] = shared.get(name, set(own)) & set(own)
    return [" ".join([name, *(one for one in own if one not in shared[name])]) for name, own in zip(names, overrides)]


def _job_blocks(job: Job, name: str) -> list[tuple[list[dict[str, Any]], Verdict | None]]:
    """The rows of each verdict with the verdict, and those of what was not tested with None."""
    manifest = job.manifest
    shared = {
        "job": name,
        "path": str(job.path),
        "overrides": " ".join(map(str, manifest.get("overrides") or [])),
        "direct_influence": _effect(manifest.get("direct_influence")),
        **_target(manifest.get("update")),
    }
    if manifest["status"] != DONE:
        return [([{**shared, "status": manifest["status"], "reason": manifest.get("reason", "")}], None)]
    rows = job.verdict_rows
    blocks: list[tuple[list[dict[str, Any]], Verdict | None]] = [
        ([{**shared, **row} for row in _sweep_rows(verdict)], verdict) for verdict in _verdicts_of(rows)
    ]
    told = ("status", "desideratum", "reason")
    absent = [row for row in rows if row["status"] == NOT_APPLICABLE]
    return [*blocks, *(([{**shared, **{name: row[name] for name in told}}], None) for row in absent)]


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


def _effect(told: Any) -> float:
    """The manifest's direct influence, which is a number or a finding with interval; NaN where it has none."""
    value = told.get("effect") if isinstance(told, Mapping) else told
    return float("nan") if value is None else float(value)


def _target(update: Any) -> dict[str, Any]:
    """What the manifest's calibration was to reach, and whether it did; nothing where there was none."""
    found = (update or {}).get("calibration")
    return {"direct_target": found["target"], "target_reached": found["reached"]} if found else {}


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """The rows under fixed columns and types, empty text where a row has none, also where there is no row at all."""
    frame = pd.DataFrame(rows, columns=list(columns))
    texts = [name for name, kind in columns.items() if kind == TEXT]
    frame[texts] = frame[texts].fillna("")
    return frame.astype(dict(columns))
