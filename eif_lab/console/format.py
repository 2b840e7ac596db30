"""How names, numbers and verdicts are written, on the console and on the page."""

from __future__ import annotations

import math

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED

MARKS = {SATISFIED: "✓", VIOLATED: "✗", INCONCLUSIVE: "?"}
"""Verdicts as signs, so that they need no colour."""

ASCII_MARKS = {SATISFIED: "+", VIOLATED: "x", INCONCLUSIVE: "?"}
"""The same for a terminal without Unicode."""


def spaced(name: str) -> str:
    """A name with blanks for its underscores, at which a line can end."""
    return name.replace("_", " ")


def number_text(value: float | str | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash where there is none, and text as it is."""
    if isinstance(value, str):
        return value
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def interval_text(low: float, high: float, digits: int) -> str:
    """An interval with so many significant digits: ``[0.38, 0.41]``."""
    return f"[{low:.{digits}g}, {high:.{digits}g}]"
