"""Every model of the table gets the loop's array from every engine, or one clear line."""

from __future__ import annotations

import pytest

from .case import Case
from .hold import ENGINES, hold
from .table import CASES

QUICK = [case for case in CASES if not case.slow]


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", [case for case in QUICK if case.refused is None], ids=lambda case: case.name)
def test_every_engine_gives_the_array_of_the_loop_or_refuses_in_one_line(case: Case):
    for engine in ENGINES:
        try:
            hold(case, engine)
        except Exception as error:
            raise AssertionError(f"engine {engine}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("case", [case for case in QUICK if case.refused is not None], ids=lambda case: case.name)
def test_what_cannot_be_measured_is_refused_in_one_line(case: Case):
    assert hold(case, "auto") == "refused"
