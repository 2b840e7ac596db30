"""What every desideratum returns: effect, interval, p-value, n, the rule that was applied, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

VERDICTS = SATISFIED, VIOLATED, INCONCLUSIVE = "satisfied", "violated", "inconclusive"


@dataclass(frozen=True)
class Finding:
    """One statistic with its threshold.

    The claim is that ``effect`` is above ``threshold`` (statistics are oriented so that larger is better).

    Attributes:
        statistic: What was computed, such as ``auc``.
        effect: Its value.
        low, high: The interval's ends.
        p_value: One-sided, against the null that the test names.
        n: The number of independent units resampled (stimuli, worlds).
        unit: What those units are.
        threshold: What the effect is compared with.
    """

    statistic: str
    effect: float
    low: float
    high: float
    p_value: float
    n: int
    unit: str
    threshold: float

    def verdict(self, alpha: float, p_value: float | None = None) -> str:
        """``satisfied`` when the whole interval is above the threshold and p <= alpha, ``violated`` when the whole
        interval is at or below the threshold, else ``inconclusive``.

        Args:
            alpha: The level.
            p_value: A corrected p-value that stands in for the finding's own.
        """
        p = self.p_value if p_value is None else p_value
        if not all(map(_finite, (self.effect, self.low, self.high, p))):
            return INCONCLUSIVE
        if self.low > self.threshold and p <= alpha:
            return SATISFIED
        return VIOLATED if self.high <= self.threshold else INCONCLUSIVE


@dataclass(frozen=True)
class Verdict:
    """A desideratum's findings, all of which must hold (an intersection-union test: the largest p-value counts).

    Attributes:
        desideratum: Its name.
        claim: In words.
        findings: The first one is the headline.
        alpha: The level.
        details: Further numbers that carry no verdict, such as a decay length.
        note: Why the verdict is about nothing, where it is; empty otherwise.
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
        """The largest of the findings' p-values; NaN if any is NaN."""
        values = [finding.p_value for finding in self.findings]
        return max(values) if all(map(_finite, values)) else float("nan")

    def outcome(self, p_value: float | None = None) -> str:
        """``satisfied`` if every finding is, ``violated`` if any is, else ``inconclusive``.

        Args:
            p_value: A p-value corrected over a sweep; it replaces the smaller ones of the findings.
        """
        outcomes = [f.verdict(self.alpha, None if p_value is None else max(f.p_value, p_value)) for f in self.findings]
        if VIOLATED in outcomes:
            return VIOLATED
        return SATISFIED if all(outcome == SATISFIED for outcome in outcomes) else INCONCLUSIVE

    def __str__(self) -> str:
        """The verdict in one line: outcome, the headline's effect with its interval, p-value, n, and the note."""
        one = self.findings[0]
        effect = f"{one.statistic} {one.effect:.3g} [{one.low:.3g}, {one.high:.3g}] against {one.threshold:g}"
        line = f"{self.desideratum}: {self.outcome()} ({effect}, p = {self.p_value:.2g}, {one.n} {one.unit})"
        return f"{line}; {self.note}" if self.note else line

    @property
    def rule(self) -> str:
        """The rule that was applied, in words."""
        parts = " and ".join(f"{f.statistic} > {f.threshold:g}" for f in self.findings)
        return f"{parts}: whole interval above, p <= {self.alpha:g}"


def _finite(value: float) -> bool:
    return math.isfinite(value)
