"""How names, numbers, p-values and verdicts are written, wherever they are: one place for all rooms above."""

from __future__ import annotations

import math

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED, Verdict

MARKS = {SATISFIED: "✓", VIOLATED: "✗", INCONCLUSIVE: "?"}
"""Verdicts as signs, so that they need no colour."""

ASCII_MARKS = {SATISFIED: "+", VIOLATED: "x", INCONCLUSIVE: "?"}
"""The same for a terminal without Unicode."""

DECAYS = {
    "rank_correlation_": "within worlds",
    "within_class_": "within classes",
    "between_classes_": "between classes",
}
"""How the statistics of distance decay begin, and what each is of; what follows is the distance."""

LEAST_P = 0.001
"""A p-value at or below this is not printed exactly."""


def spaced(name: str) -> str:
    """A name with blanks for its underscores, at which a line can end."""
    return name.replace("_", " ")


def statistic_text(name: str) -> str:
    """A finding's statistic in words; one of distance says which distance, and between what it is compared.

    Examples:
        >>> statistic_text("converse_held")
        'converse held'
        >>> statistic_text("within_class_feature")
        'within classes, feature distance'
    """
    if name == "rank_correlation_class":  # of results of before: no decay, since of two values neither is further away
        return "same class against others"
    for beginning, compared in DECAYS.items():
        if name.startswith(beginning):
            return f"{compared}, {spaced(name.removeprefix(beginning))} distance"
    return spaced(name)


def number_text(value: float | str | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; a dash for None, and text unchanged."""
    if isinstance(value, str):
        return value
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def interval_text(low: float, high: float, digits: int) -> str:
    """An interval with ``digits`` significant digits: ``[0.38, 0.41]``."""
    return "no interval" if math.isnan(low) or math.isnan(high) else f"[{low:.{digits}g}, {high:.{digits}g}]"


def p_text(verdict: str, p_value: float, p_violated: float) -> str:
    """The p-value of the outcome: that of ``violated`` where that is the verdict, else that of ``satisfied``."""
    p = p_violated if verdict == VIOLATED else p_value
    return f"<= {LEAST_P:g}" if p <= LEAST_P else number_text(p, 2)


def p_clause(verdict: str, p_value: float, p_violated: float, threshold: float) -> str:
    """The p-value of the outcome with what it is against, which alone gives it a meaning.

    Args:
        verdict: The outcome.
        p_value: Against a true value at or below the bar.
        p_violated: Against one at or above it.
        threshold: The bar.

    Examples:
        >>> p_clause("violated", 0.9987, 0.0013, 0.1)
        'p = 0.0013 against 0.1 or more'
    """
    p = p_text(verdict, p_value, p_violated)
    if p == "-":
        return "no p-value"
    side = "more" if verdict == VIOLATED else "less"
    return f"p {p if p.startswith('<') else f'= {p}'} against {threshold:g} or {side}"


def verdict_text(verdict: str, how: str) -> str:
    """A verdict in words, with the way in which a violated claim fails: ``violated: absent``."""
    return f"{verdict}: {how}" if how else verdict


def bar_text(statistic: str, threshold: float, chance: float) -> str:
    """A finding's statistic with its bar, and with chance where that is neither zero nor unknown."""
    beside = f" (chance {chance:.2g})" if math.isfinite(chance) and chance != 0 else ""
    return f"{statistic_text(statistic)} > {threshold:g}{beside}"


def cell_text(verdict: Verdict, outcome: str, how: str) -> str:
    """A verdict in a table's cell: ``✓ 0.99``; a finding that is not the headline has its name: ``✗ reach 0.03 short``.

    Args:
        verdict: With its findings.
        outcome: Its own, or the one after a correction.
        how: How it fails, where it does.
    """
    one = verdict.decisive(outcome)
    name = "" if one is verdict.findings[0] else spaced(one.statistic)
    return " ".join(filter(None, [MARKS[outcome], name, number_text(one.effect, 2), how]))
