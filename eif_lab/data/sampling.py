"""Draws of samples."""

from __future__ import annotations

import numpy as np

from eif_lab.errors import rule_error


def draw_places(field: str, count: int, available: int, seed: int, what: str) -> list[int]:
    """``count`` of ``available`` places, in the order that ``seed`` gives: a smaller draw is the head of a larger one.

    Args:
        field: The option that says how many.
        count: How many are drawn.
        available: How many there are.
        seed: Of the draw.
        what: What there are so many of, for the error.

    Raises:
        ConfigError: There are too few.
    """
    must_suffice(field, count, available, what)
    return np.random.default_rng(seed).permutation(available)[:count].tolist()


def must_suffice(field: str, count: int, available: int, what: str) -> None:
    """Refuse a draw of more than there are. Arguments are those of `draw_places`.

    Raises:
        ConfigError: There are too few.
    """
    if count > available:
        rule = f"be at most {available} ({what})"
        raise rule_error(f"dataset.{field}", rule, count, f"Try {available}." if available else "")
