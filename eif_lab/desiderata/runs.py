"""Verdicts over runs: trainings on the same samples that differ in all that is random.

A run draws the base model, what the method adds to it, and the order of batches. The units (worlds, classes, stimuli)
of one run vary, and so do the runs; a verdict over runs is to hold for other units and for other runs. Its effect is
the mean over runs. On either side of it the half-width of the units, the root of the mean square of each run's own, and
Student's over the runs' effects are added in squares: MOVER, the method of variance estimates recovery. All runs have
the same units, so that averaging over runs takes nothing off the units' half-width; where runs also differ from unit to
unit, that part is counted twice, and the interval is wider than it need be, never narrower.

The p-values go with the interval: the standard error towards the bar is the half-width of that side over the t
quantile, with degrees of freedom by Welch and Satterthwaite.

Source: Zou and Donner (2008), Construction of confidence limits about effect measures, Statistics in Medicine 27;
Donner and Zou (2012), Closed-form confidence intervals for functions of the normal mean and standard deviation,
Statistical Methods in Medical Research 21; Satterthwaite (1946), An approximate distribution of estimates of variance
components.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from eif_lab.desiderata.statistics import Estimate
from eif_lab.desiderata.verdict import Finding, Verdict

log = logging.getLogger(__name__)


def of_every_run(runs: Sequence[Mapping[str, Verdict]]) -> list[list[Verdict]]:
    """The verdicts that every run has, those of a desideratum together; what only some runs have is left out, and
    logged.

    Args:
        runs: Of each run the verdicts by name.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    found = {name: [run[name] for run in runs if name in run] for name in names}
    for name, each in found.items():
        if not have_same_findings(each, len(runs)):
            log.info("%s has no verdict over %d runs: it does not have the same findings in each", name, len(runs))
    return [each for each in found.values() if have_same_findings(each, len(runs))]


def have_same_findings(verdicts: Sequence[Verdict], runs: int) -> bool:
    """Whether there is a verdict of every run, each with the same statistics."""
    statistics = {tuple(finding.statistic for finding in verdict.findings) for verdict in verdicts}
    return len(verdicts) == runs and len(statistics) == 1


def over_runs(verdicts: Sequence[Verdict]) -> Verdict:
    """One desideratum's verdict over runs; that of a single run as it is.

    A finding without p-values in one run, because too little was taught there or units are too few, has none here.
    Details are means over the runs.

    Args:
        verdicts: Of each run, with the same findings.
    """
    first = verdicts[0]
    if len(verdicts) == 1:
        return first
    findings = [finding_over_runs(each) for each in zip(*(verdict.findings for verdict in verdicts), strict=True)]
    shared = [name for name in first.details if all(name in verdict.details for verdict in verdicts)]
    details = {name: float(np.mean([verdict.details[name] for verdict in verdicts])) for name in shared}
    notes = [verdict.note for verdict in verdicts if verdict.note]
    note = f"in {len(notes)} of {len(verdicts)} runs: {notes[0]}" if notes else ""
    return replace(first, findings=findings, details=details, note=note)


def finding_over_runs(findings: Sequence[Finding]) -> Finding:
    """One statistic over runs; that of a single run as it is.

    Args:
        findings: Of each run, against the same bar.
    """
    first = findings[0]
    if len(findings) == 1:
        return first
    effects, units = np.array([one.effect for one in findings]), min(one.n for one in findings)
    effect, confidence = float(effects.mean()), first.confidence
    runs = Error(float(effects.std(ddof=1)) / math.sqrt(len(effects)), len(effects) - 1)
    below, above = (
        Error.of_half_widths(half_widths, units - 1, confidence)
        for half_widths in (effects - [one.low for one in findings], [one.high for one in findings] - effects)
    )
    under, over = (Estimate(effect, *side.added(runs, confidence)) for side in (below, above))
    p_value, p_violated = under.p_values(first.threshold)[0], over.p_values(first.threshold)[1]
    own = (below.size**2 + above.size**2) / 2
    total = own + runs.size**2
    return replace(
        first,
        effect=effect,
        low=under.interval(confidence)[0],
        high=over.interval(confidence)[1],
        p_value=math.nan if any(math.isnan(one.p_value) for one in findings) else p_value,
        p_violated=math.nan if any(math.isnan(one.p_violated) for one in findings) else p_violated,
        n=units,
        chance=float(np.mean([one.chance for one in findings])),
        runs=len(findings),
        run_share=runs.size**2 / total if total > 0 else math.nan,
    )


class Error(NamedTuple):
    """A standard error with its degrees of freedom."""

    size: float
    freedom: float

    @classmethod
    def of_half_widths(cls, half_widths: np.ndarray, freedom: int, confidence: float) -> Error:
        """That of intervals of the same units, from the root of the mean square of their half-widths."""
        if freedom < 1:
            return cls(math.nan, 1)
        return cls(float(np.sqrt(np.mean(half_widths**2))) / _quantile(freedom, confidence), freedom)

    def added(self, other: Error, confidence: float) -> Error:
        """Both, their half-widths added in squares."""
        variances = self.size**2, other.size**2
        square = variances[0] ** 2 / self.freedom + variances[1] ** 2 / other.freedom
        freedom = sum(variances) ** 2 / square if square > 0 else self.freedom
        half_width = math.hypot(*(one.size * _quantile(one.freedom, confidence) for one in (self, other)))
        return Error(half_width / _quantile(freedom, confidence), freedom)


def _quantile(freedom: float, confidence: float) -> float:
    return float(special.stdtrit(freedom, (1 + confidence) / 2))
