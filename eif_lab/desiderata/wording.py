"""Verdicts in plain words: one sentence each, that needs no knowledge of the statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

from eif_lab.desiderata.verdict import ABSENT, REVERSED, SATISFIED, SHORT, VIOLATED, Finding, Verdict

HOW_IN_WORDS = {
    REVERSED: "the wrong way round",
    ABSENT: "not above chance",
    SHORT: "above chance but too little",
}

SELF_EXPLANATORY = ("converse_held",)
"""Statistics whose sentence itself says how they fail."""


def explain(verdict: Verdict, unit: str = "nat") -> str:
    """The verdict in one sentence.

    Args:
        verdict: A desideratum's.
        unit: That of the readout judged.

    Examples:
        >>> gain = Finding("gain", 0.3, 0.2, 0.4, 0.001, 20, "worlds", 0.0)
        >>> reach = Finding("reach", 0.04, 0.03, 0.05, 0.99, 20, "worlds", 0.1, p_violated=0.001)
        >>> explain(Verdict("logic", "", [gain, reach], 0.05))
        'Violated: 4 % of what was taught arrives at what follows (bar 10 %), above chance but too little.'
    """
    outcome = verdict.outcome()
    if outcome == VIOLATED:
        failing = verdict.failing
        how = "" if failing.statistic in SELF_EXPLANATORY else f", {HOW_IN_WORDS[failing.how]}"
        return f"Violated: {in_words(failing, unit)}{how}."
    findings = "; ".join(in_words(finding, unit) for finding in verdict.findings)
    if outcome == SATISFIED:
        return f"Satisfied: {findings}."
    # What a note explains has numbers that mean nothing, such as shares of a strength that may be zero.
    return f"No verdict: {verdict.note}." if verdict.note else f"Inconclusive: {findings}; {why_inconclusive(verdict)}."


def why_inconclusive(verdict: Verdict) -> str:
    """Why there is no verdict."""
    first = verdict.findings[0]
    if any(math.isnan(finding.p_value) for finding in verdict.findings):
        return f"{first.sample} are too few for a verdict"
    unclear = next(one for one in verdict.findings if one.p_value > verdict.alpha)
    return f"{unclear.sample} do not decide on {readable(unclear.statistic)}"


def in_words(finding: Finding, unit: str = "nat") -> str:
    """A finding in words, with its bar."""
    name = finding.statistic
    if not math.isfinite(finding.effect):
        return f"{readable(name)} is not defined"
    for beginning, phrase in SENTENCES.items():
        if name.startswith(beginning):
            return phrase(finding, unit)
    return f"{readable(name)} is {finding.effect:.2g} {_bar(finding)}"


def readable(statistic: str) -> str:
    """The name of a statistic without underscores."""
    return statistic.replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if abs(share) < 0.995 else f"{100 * share:.0f} %"


def _bar(finding: Finding) -> str:
    return f"(bar {finding.threshold:g})"


def _gain(finding: Finding, unit: str) -> str:
    more = "more" if finding.effect >= 0 else "less"
    return f"what follows rises by {abs(finding.effect):.2g} {unit} {more} than sentences that do not follow"


def _reach(finding: Finding, _: str) -> str:
    return f"{_percent(finding.effect)} of what was taught arrives at what follows (bar {_percent(finding.threshold)})"


def _converse_held(finding: Finding, _: str) -> str:
    at_most = _percent(1 - finding.threshold)
    return f"the converse gets {_percent(1 - finding.effect)} of what was taught (at most {at_most})"


def _fall(finding: Finding, unit: str) -> str:
    falls = "falls" if finding.effect >= 0 else "rises"
    return f"what is contradicted {falls} by {abs(finding.effect):.2g} {unit} more than sentences that are not"


def _gap(finding: Finding, _: str) -> str:
    apart = f"{_percent(finding.effect)} of what was taught lies between what follows and what is contradicted"
    return f"{apart} (bar {_percent(finding.threshold)})"


def _strength(finding: Finding, unit: str) -> str:
    return f"what a stimulus states rises by {finding.effect:.2g} {unit} more than its foils"


def _symmetry(finding: Finding, _: str) -> str:
    return (
        f"what one sample teaches another and what it is taught by it correlate by {finding.effect:.2g} {_bar(finding)}"
    )


def _distance(finding: Finding, _: str) -> str:
    where, by = next(
        (words, finding.statistic.removeprefix(beginning))
        for beginning, words in (
            ("rank_correlation_", "within a world"),
            ("within_class_", "within a class"),
            ("between_classes_", "between classes"),
        )
        if finding.statistic.startswith(beginning)
    )
    return f"{where}, influence grows with nearness ({by}) with a correlation of {finding.effect:.2g} {_bar(finding)}"


def _precision(finding: Finding, _: str) -> str:
    others = readable(finding.statistic.removeprefix("precision_"))
    share = f"{_percent(finding.effect)} of the way from chance to perfect"
    return f"the size of influence tells what it should move from {others} {share} (bar {_percent(finding.threshold)})"


def _concentration(finding: Finding, _: str) -> str:
    return f"influence is {finding.effect:.2g} more concentrated than that of other stimuli {_bar(finding)}"


def _taught_less(finding: Finding, _: str) -> str:
    how = readable(finding.statistic.removeprefix("taught_less_"))
    return f"noise takes away {_percent(finding.effect)} of what is passed on {how} (bar {_percent(finding.threshold)})"


def _asymmetry(finding: Finding, _: str) -> str:
    how = readable(finding.statistic.removeprefix("asymmetry_"))
    more = f"clean teaches noisy {_percent(finding.effect)} more than the reverse {how}"
    return f"{more} (bar {_percent(finding.threshold)})"


SENTENCES: dict[str, Callable[[Finding, str], str]] = {
    "gain": _gain,
    "reach": _reach,
    "converse_held": _converse_held,
    "fall": _fall,
    "gap": _gap,
    "strength": _strength,
    "correlation": _symmetry,
    "rank_correlation_": _distance,
    "within_class_": _distance,
    "between_classes_": _distance,
    "precision_": _precision,
    "concentration": _concentration,
    "taught_less_": _taught_less,
    "asymmetry_": _asymmetry,
}
"""By the beginning of a statistic's name, what it says."""
