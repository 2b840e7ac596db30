"""Verdicts as the page shows them: each job's on each desideratum, corrected over the sweep, with its findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eif_lab.desiderata.format import bar_text, number_text, p_clause, p_text, spaced, verdict_text
from eif_lab.desiderata.verdict import VIOLATED
from eif_lab.page.arrays import shorten
from eif_lab.page.facts import effect_text, mark
from eif_lab.results.bounds import beside
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE
from eif_lab.results.rows import by_desideratum

LONGEST_TIP = 600
"""Characters of a text beside the pointer."""

Rows = Sequence[Mapping[str, Any]]

Learners = Mapping[str, Rows]
"""The bounding learners' rows, as `eif_lab.results.bounds.Bounds.of` returns them."""

Corrected = Mapping[tuple[str, str], Mapping[str, Any]]
"""A sweep's rows of headline findings, by the path of the job and the desideratum."""


@dataclass(frozen=True)
class Judged:
    """What became of one desideratum in one job.

    Attributes:
        desideratum: Its name.
        verdict: One of `VERDICTS`, after the correction over the sweep; `NOT_APPLICABLE` where it was not tested.
        how: How it is violated; empty otherwise.
        p: The p-value of the verdict and what it is against; empty where it was not tested.
        told: What that means, in a sentence; or why it does not apply.
        note: Why there is no verdict; empty where there is one.
        findings: Rows of `eif_lab.results.rows`, the headline first, with texts for the table.
    """

    desideratum: str
    verdict: str
    how: str = ""
    p: str = ""
    told: str = ""
    note: str = ""
    findings: Rows = ()

    @property
    def effect(self) -> float | None:
        """The headline finding's; None where there is none."""
        effect = self.findings[0]["effect"] if self.findings else math.nan
        return effect if math.isfinite(effect) else None

    @property
    def failing(self) -> str:
        """The finding that is violated, with its effect, where that is another than the headline."""
        one = decisive(self.findings, self.verdict) if self.verdict == VIOLATED else None
        if one is None or one is self.findings[0]:
            return ""
        return f"{spaced(one['statistic'])} {number_text(one['effect'])}"

    @property
    def words(self) -> str:
        """The verdict with its sign: ``✗ violated: short``."""
        return mark(self.verdict, self.how)

    @property
    def tip(self) -> str:
        """What stands beside the pointer, a line each: the verdict, its findings, its p-value and units."""
        lines = [f"{spaced(self.desideratum)}: {self.words}"]
        lines += [f"{row['bar']}: {row['interval']}" for row in self.findings]
        if self.findings:
            lines.append(f"{self.p}; {self.findings[0]['n']} {self.findings[0]['unit']}")
        return shorten("\n".join(lines + ([self.told] if self.told else [])), LONGEST_TIP)


def corrected_rows(table: pd.DataFrame | None) -> Corrected:
    """The headline rows of a sweep's table; none for a single job, whose p-values stand as they are."""
    if table is None:
        return {}
    headlines = table[(table["status"] == DONE) & (table["finding"] == 0)]
    return {(row["path"], row["desideratum"]): row for row in headlines.to_dict("records")}


def judged_job(job: JobResults, learners: Learners, corrected: Corrected) -> list[Judged]:
    """The verdicts of a job, those that do not apply last.

    Args:
        job: Whose verdicts.
        learners: Of its bounding learners, which stand beside its findings.
        corrected: What `corrected_rows` returns.
    """
    bounds = beside(learners)
    tested = [
        judged(group, bounds, corrected.get((str(job.path), group[0]["desideratum"])))
        for group in by_desideratum(job.verdict_rows)
    ]
    absent = [row for row in job.verdict_rows if row["status"] == NOT_APPLICABLE]
    return [*tested, *(Judged(row["desideratum"], NOT_APPLICABLE, told=row["reason"]) for row in absent)]


def judged_learner(rows: Rows) -> list[Judged]:
    """The verdicts on a bounding learner, none of which is corrected."""
    return [judged(group, {}, None) for group in by_desideratum(rows)]


def judged(group: Rows, bounds: Mapping[tuple[str, str], Rows], corrected: Mapping[str, Any] | None) -> Judged:
    """One verdict from the rows of its findings.

    Args:
        group: The headline first.
        bounds: Findings of bounding learners by desideratum and statistic.
        corrected: The sweep's row of it, whose verdict counts; None where nothing is corrected.
    """
    first = group[0]
    verdict, how = (first["verdict"], first["how"]) if corrected is None else (corrected["verdict"], corrected["how"])
    p, p_violated = ("p_value", "p_violated") if corrected is None else ("p_adjusted", "p_violated_adjusted")
    of = first if corrected is None else corrected
    told = first["explanation"]
    if verdict != first["verdict"]:
        alone = f"{verdict_text(first['verdict'], first['how'])} before the correction over the sweep"
        told = f"{alone} ({told})" if told else alone
    return Judged(
        desideratum=first["desideratum"],
        verdict=verdict,
        how=how if verdict == VIOLATED else "",
        p=p_clause(verdict, of[p], of[p_violated], decisive(group, verdict)["threshold"]),
        told=told,
        note="" if first["note"] in told else first["note"],
        findings=[finding(row, bounds.get((row["desideratum"], row["statistic"]), ())) for row in group],
    )


def decisive(group: Rows, verdict: str) -> Mapping[str, Any]:
    """The finding that a verdict hangs on: the one that fails most clearly, or whose claim is least clear."""
    sign, key = (1, "finding_p_violated") if verdict == VIOLATED else (-1, "finding_p_value")
    return min((row for row in group if math.isfinite(row[key])), key=lambda row: sign * row[key], default=group[0])


def finding(row: Mapping[str, Any], bounds: Rows) -> dict[str, Any]:
    """A finding with its texts; ``bounds`` are those of the bounding learners, with theirs."""
    return {
        **row,
        "interval": effect_text(row),
        "bar": bar_text(row["statistic"], row["threshold"], row["chance"]),
        "p": p_text(row["finding_verdict"], row["finding_p_value"], row["finding_p_violated"]),
        "bounds": {one["rule"]: {**one, "interval": effect_text(one)} for one in bounds},
    }
