"""A job's verdicts as rows of a table, and the rows as verdicts again.

Rows that were stored earlier lack some of the columns `ADDED`: of those before 2026-11-29 nothing is known of how a
finding failed, and their verdicts stand as they were judged then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from eif_lab.desiderata.verdict import VIOLATED, Finding, Verdict
from eif_lab.desiderata.wording import explain
from eif_lab.results.manifest import DONE, NOT_APPLICABLE

TEXT = "string"
NUMBER = "float64"
VERDICT_COLUMNS = {
    "desideratum": TEXT,
    "status": TEXT,
    "verdict": TEXT,
    "how": TEXT,
    "p_value": NUMBER,
    "p_violated": NUMBER,
    "alpha": NUMBER,
    "claim": TEXT,
    "rule": TEXT,
    "note": TEXT,
    "explanation": TEXT,
    "details": TEXT,
    "reason": TEXT,
    "finding": "Int64",
    "statistic": TEXT,
    "effect": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "finding_p_value": NUMBER,
    "finding_p_violated": NUMBER,
    "n": "Int64",
    "unit": TEXT,
    "threshold": NUMBER,
    "chance": NUMBER,
    "finding_verdict": TEXT,
    "finding_how": TEXT,
    "confidence": NUMBER,
    "runs": "Int64",
    "run_share": NUMBER,
}
ADDED = (
    "how", "p_violated", "explanation", "finding_p_violated", "chance", "finding_how",
    "confidence", "runs", "run_share",
)  # fmt: skip
"""Columns that rows stored before there were two p-values, or verdicts over runs, lack."""

VERDICT_SCHEMA = pa.schema(
    [(name, {TEXT: pa.string(), NUMBER: pa.float64()}.get(kind, pa.int64())) for name, kind in VERDICT_COLUMNS.items()]
)
GAPS: Mapping[str, Any] = {
    name: "" if kind == TEXT else float("nan") for name, kind in VERDICT_COLUMNS.items() if kind != "Int64"
}
"""The placeholder of a missing value; for whole numbers it is None."""


def verdict_frame(verdicts: Iterable[Verdict], not_applicable: Mapping[str, str], unit: str = "nat") -> pd.DataFrame:
    """One row per finding, with its desideratum's verdict beside it; one row per desideratum that does not apply.

    Args:
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no meaning for this job.
        unit: That of the readout judged.

    Returns:
        The columns of `VERDICT_COLUMNS`. ``verdict``, ``how``, ``p_value`` and ``p_violated`` are the desideratum's,
        ``finding_verdict`` and so on the row's own; ``how`` is empty where nothing is violated, ``explanation`` is the
        verdict in a sentence, ``details`` a JSON object.
    """
    rows = [row for verdict in verdicts for row in _finding_rows(verdict, unit)]
    rows += [
        {"desideratum": name, "status": NOT_APPLICABLE, "reason": reason} for name, reason in not_applicable.items()
    ]
    return typed_frame(rows, VERDICT_COLUMNS)


def read_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """The verdicts that `verdict_frame` wrote down, so that one rule decides before and after storage."""
    return verdicts_of(frame.to_dict("records"))


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """The rows of a `verdict_frame` that was stored as parquet, read without pandas: a sweep has thousands of them.

    Returns:
        Plain values by column; NaN for a number that is not there.

    Raises:
        ValueError: It is no such frame.
    """
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        absent = [name for name in ADDED if name not in file.schema_arrow.names]
        stored = [name for name in VERDICT_COLUMNS if name not in absent]
        schema = pa.schema([VERDICT_SCHEMA.field(name) for name in stored])
        rows = file.read(stored, use_threads=False).select(stored).cast(schema).to_pylist()
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(str(error)) from None
    for row in rows:
        # pandas stores NaN, and what is not there, as a gap
        row |= {name: gap for name, gap in GAPS.items() if row.get(name) is None}
        if row["status"] == DONE and (row["n"] is None or not isinstance(json.loads(row["details"]), dict)):
            raise ValueError(f"no numbers of {row['desideratum']}")
    return rows


def verdicts_of(rows: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts of the rows that were tested, in the order in which they come."""
    return [verdict_of(group) for group in by_desideratum(rows)]


def by_desideratum(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The rows that were tested, those of a desideratum together, its headline first."""
    findings: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == DONE:
            findings.setdefault(row["desideratum"], []).append(row)
    return [sorted(group, key=lambda row: row["finding"] or 0) for group in findings.values()]


def judged_by_older_rule(row: Mapping[str, Any]) -> bool:
    """Whether a row was judged as violated when that took no p-value of its own."""
    return row["verdict"] == VIOLATED and math.isnan(row["p_violated"])


def _finding_rows(verdict: Verdict, unit: str) -> list[dict[str, Any]]:
    outcome = verdict.outcome()
    shared = {
        "desideratum": verdict.desideratum,
        "status": DONE,
        "verdict": outcome,
        "how": verdict.failing.how if outcome == VIOLATED else "",
        "p_value": verdict.p_value,
        "p_violated": verdict.p_violated,
        "alpha": verdict.alpha,
        "claim": verdict.claim,
        "rule": verdict.rule,
        "note": verdict.note,
        "explanation": explain(verdict, unit),
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
            "finding_p_violated": finding.p_violated,
            "n": finding.n,
            "unit": finding.unit,
            "threshold": finding.threshold,
            "chance": finding.chance,
            "finding_verdict": finding.verdict(verdict.alpha),
            "finding_how": finding.how if finding.verdict(verdict.alpha) == VIOLATED else "",
            "confidence": finding.confidence,
            "runs": finding.runs,
            "run_share": finding.run_share,
        }
        for index, finding in enumerate(verdict.findings)
    ]


def verdict_of(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """The verdict that the rows of one desideratum are of, in the order of `by_desideratum`."""
    first = rows[0]
    names = ("statistic", "effect", "low", "high", "unit", "threshold", "chance", "run_share")
    findings = [
        Finding(
            **{name: row[name] for name in names},
            p_value=row["finding_p_value"],
            p_violated=row["finding_p_violated"],
            n=int(row["n"]),
            confidence=Finding.confidence if math.isnan(row["confidence"]) else row["confidence"],
            runs=row.get("runs") or 1,
        )
        for row in rows
    ]
    return Verdict(
        desideratum=first["desideratum"],
        claim=first["claim"],
        findings=findings,
        alpha=float(first["alpha"]),
        details=json.loads(first["details"]),
        note=first["note"],
    )


def typed_frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """The rows under fixed columns and types, empty text where a row has none, also where there is no row at all."""
    frame = pd.DataFrame(rows, columns=list(columns))
    texts = [name for name, kind in columns.items() if kind == TEXT]
    frame[texts] = frame[texts].fillna("")
    return frame.astype(dict(columns))
