"""The keys under which every tracker has a run's numbers: runs are sorted and grouped by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED, Finding, Verdict

NAMED = ("model", "dataset", "method", "perturbation")
"""Groups whose choice a run's config names under `config_key`."""

OF_JOB = ("strength", "low/strength", "high/strength", "pairs_per_second", "seconds")
OF_DESIDERATUM = (
    "verdict", "how", "score", "effect", "low", "high", "threshold", "chance", "p_value", "p_violated", "n",
)  # fmt: skip
OF_FINDING = ("effect", "low", "high", "threshold", "chance", "p_value", "p_violated")
SCORES = {SATISFIED: 1, INCONCLUSIVE: 0, VIOLATED: -1}
"""Verdicts as numbers, because a chart draws no words."""

CHARTS = DONE, SHARE, RATE = "stimuli_done", "share_done", "stimuli_per_second"
"""Logged while a job measures."""

SHOWN = [
    "desideratum", "verdict", "how", "statistic", "effect", "low", "high", "threshold", "chance", "finding_p_value",
    "finding_p_violated", "finding_verdict", "finding_how", "n", "unit", "explanation",
]  # fmt: skip
"""Columns of `eif_lab.results.rows.verdict_frame` that a tracker's table has, in its order."""

MEDIA = HEAT_MAP, VERDICTS, BY_RELATION, BY_CLASS = "influence", "verdicts", "mean_by_relation", "mean_by_class"
"""A picture and tables, for trackers that show such."""

OF_SWEEP = SCORECARD, FINDINGS = "scorecard", "findings"
"""Tables of a sweep as a whole, with verdicts that are corrected over it."""

BESIDE_LEARNERS = "beside_learners"
"""Of a sweep and a desideratum: bars of one effect of all jobs and of the reference learners."""


def config_key(part: str) -> str:
    """The key of a run's config that names its choice of a group: ``model`` -> ``model_name``."""
    return f"{part}_name"


def desideratum_key(what: str, desideratum: str) -> str:
    """The key of a run's summary for one quantity of a desideratum: ``effect/symmetry``."""
    return f"{what}/{desideratum}"


def finding_key(what: str, desideratum: str, statistic: str) -> str:
    """The key of a run's summary for one quantity of a finding: ``effect/logic/reach``."""
    return f"{what}/{desideratum}/{statistic}"


def summary_keys(desiderata: Iterable[str]) -> list[str]:
    """The keys of the summary of any job with these desiderata; those of findings (`finding_key`) come behind them."""
    return [*OF_JOB, *(desideratum_key(what, name) for name in desiderata for what in OF_DESIDERATUM)]


def summarise(
    strength: Finding, verdicts: Sequence[Verdict], *, pairs_per_second: float, seconds: float
) -> dict[str, Any]:
    """A job's summary: `summary_keys` of its verdicts, and for each finding `OF_FINDING`, each with its value.

    Verdicts and p-values are the job's own: those that are corrected over a sweep are in its table, once all jobs are
    done, and in a run of the sweep (`eif_lab.results.trackers.tracker.SweepTracker`).

    Args:
        strength: What was taught, with its interval.
        verdicts: What the desiderata returned; effect, interval, threshold, chance and n are those of the first
            finding, ``how`` is that of the finding that fails, and empty where none does.
        pairs_per_second: (stimulus, probe) pairs measured per second.
        seconds: The whole job.
    """
    of_job = (strength.effect, strength.low, strength.high, pairs_per_second, seconds)
    summary: dict[str, Any] = dict(zip(OF_JOB, of_job, strict=True))
    for verdict in verdicts:
        outcome, first = verdict.outcome(), verdict.findings[0]
        how = verdict.failing.how if outcome == VIOLATED else ""
        values = (
            outcome, how, SCORES[outcome], first.effect, first.low, first.high, first.threshold, first.chance,
            verdict.p_value, verdict.p_violated, first.n,
        )  # fmt: skip
        summary |= {
            desideratum_key(what, verdict.desideratum): value
            for what, value in zip(OF_DESIDERATUM, values, strict=True)
        }
    findings = [(verdict.desideratum, finding) for verdict in verdicts for finding in verdict.findings]
    return summary | {
        finding_key(what, desideratum, finding.statistic): getattr(finding, what)
        for desideratum, finding in findings
        for what in OF_FINDING
    }


def progress_point(
    stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
) -> dict[str, float]:
    """One point of the live charts: how far, how fast, and the running means."""
    return {
        DONE: stimuli_done,
        SHARE: stimuli_done / stimuli_total,
        RATE: stimuli_per_second,
        **{f"running/{name}": value for name, value in running.items()},
    }
