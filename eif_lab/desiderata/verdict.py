"""Verdicts of desiderata: effect, interval, two p-values, n, the rule that was applied, and an outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

VERDICTS = SATISFIED, VIOLATED, INCONCLUSIVE = "satisfied", "violated", "inconclusive"

HOW = REVERSED, ABSENT, SHORT = "reversed", "absent", "short"
"""How a finding is violated: below chance, not above chance, above chance but below the bar."""


@dataclass(frozen=True)
class Finding:
    """One statistic with its bar.

    The claim is that ``effect`` is above ``threshold`` (statistics are oriented so that larger is better).

    Attributes:
        statistic: What was computed, such as ``reach``.
        effect: Its value.
        low, high: The interval's ends.
        p_value: One-sided, against an effect at or below the threshold: small where the claim holds.
        n: The number of independent units (worlds, classes, stimuli).
        unit: What those units are.
        threshold: The bar.
        p_violated: One-sided, against an effect at or above the threshold: small where the claim fails.
        chance: What the statistic is where the claim has nothing to do with the array.
        confidence: Two-sided level of the interval.
        runs: How many trainings it is the mean of (`eif_lab.desiderata.runs`).
        run_share: Of several runs, their share of the effect's variance; the rest is that of the units.
    """

    statistic: str
    effect: float
    low: float
    high: float
    p_value: float
    n: int
    unit: str
    threshold: float
    p_violated: float = math.nan
    chance: float = 0.0
    confidence: float = 0.95
    runs: int = 1
    run_share: float = math.nan

    @property
    def sample(self) -> str:
        """What it was found on: ``20 worlds``, or ``20 worlds, 5 runs``."""
        return f"{self.n} {self.unit}" + (f", {self.runs} runs" if self.runs > 1 else "")

    def verdict(self, alpha: float, p_value: float | None = None, p_violated: float | None = None) -> str:
        """``satisfied`` or ``violated`` where the p-value of that is at most alpha, else ``inconclusive``.

        Args:
            alpha: The level.
            p_value, p_violated: Corrected p-values that stand in for the finding's own.
        """
        if not math.isfinite(self.effect):
            return INCONCLUSIVE
        if (self.p_value if p_value is None else p_value) <= alpha:  # NaN is never below
            return SATISFIED
        return VIOLATED if (self.p_violated if p_violated is None else p_violated) <= alpha else INCONCLUSIVE

    def without_p_values(self) -> Finding:
        """The same finding, on which there is no verdict."""
        return replace(self, p_value=math.nan, p_violated=math.nan)

    @property
    def how(self) -> str:
        """How the claim fails where it does, one of `HOW`: the interval beside chance."""
        if self.high < self.chance:
            return REVERSED
        return SHORT if self.low > self.chance else ABSENT


@dataclass(frozen=True)
class Verdict:
    """A desideratum's findings, all of which must hold.

    ``satisfied`` is an intersection-union test: the largest p-value counts. ``violated`` needs one finding that fails,
    so that its smallest p-value counts, times their number (Bonferroni).

    Attributes:
        desideratum: Its name.
        claim: In words.
        findings: The first one is the headline.
        alpha: The level.
        details: Further numbers that carry no verdict, such as an AUC.
        note: Why there is no verdict, where there is none; empty otherwise.
    """

    desideratum: str
    claim: str
    findings: Sequence[Finding]
    alpha: float
    details: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if not self.findings:
            raise ValueError(f"a verdict needs at least one finding, {self.desideratum} has none")

    @property
    def p_value(self) -> float:
        """The p-value of ``satisfied``: the largest of the findings' p-values; NaN if any is NaN."""
        values = [finding.p_value for finding in self.findings]
        return max(values) if all(map(math.isfinite, values)) else math.nan

    @property
    def p_violated(self) -> float:
        """The p-value of ``violated``: the smallest of the findings', times their number; NaN where none has one."""
        values = [finding.p_violated for finding in self.findings if math.isfinite(finding.p_violated)]
        return min(1.0, min(values) * len(self.findings)) if values else math.nan

    def outcome(self, p_value: float | None = None, p_violated: float | None = None) -> str:
        """``satisfied`` or ``violated`` where the p-value of that is at most alpha, else ``inconclusive``.

        Args:
            p_value, p_violated: Corrected over a sweep; the verdict's own where None.
        """
        if (self.p_value if p_value is None else p_value) <= self.alpha:
            return SATISFIED
        return VIOLATED if (self.p_violated if p_violated is None else p_violated) <= self.alpha else INCONCLUSIVE

    @property
    def failing(self) -> Finding:
        """The finding that fails most clearly."""
        tested = [finding for finding in self.findings if math.isfinite(finding.p_violated)]
        return min(tested, key=lambda finding: finding.p_violated, default=self.findings[0])

    def decisive(self, outcome: str) -> Finding:
        """The finding that an outcome hangs on: the headline where all hold, else the one that fails or is undecided.

        Args:
            outcome: The verdict's own, or the one after a correction.
        """
        if outcome == VIOLATED:
            return self.failing
        tested = [finding for finding in self.findings if math.isfinite(finding.p_value)]
        if outcome == SATISFIED or len(tested) < len(self.findings):
            return self.findings[0]
        return max(tested, key=lambda finding: finding.p_value)

    def __str__(self) -> str:
        """The verdict in one line: outcome, how it fails, effect, interval, the p-value with its null, n, the note."""
        from eif_lab.desiderata.format import number_text, p_clause  # which knows the outcomes of this module

        outcome = self.outcome()
        one = self.decisive(outcome)
        description = f"{outcome}: {one.how}" if outcome == VIOLATED else outcome
        p = p_clause(outcome, one.p_value, one.p_violated, one.threshold)
        effect = f"{one.statistic} {one.effect:.3g} [{one.low:.3g}, {one.high:.3g}], chance {number_text(one.chance)}"
        line = f"{self.desideratum}: {description} ({effect}, {p}, {one.sample})"
        return f"{line}; {self.note}" if self.note else line

    def __repr__(self) -> str:
        return f"<{self}>"

    @property
    def rule(self) -> str:
        """The rule that was applied, in words."""
        parts = " and ".join(f"{f.statistic} > {f.threshold:g}" for f in self.findings)
        return f"{parts}: each p <= {self.alpha:g}; violated where one is below, at the same level"
