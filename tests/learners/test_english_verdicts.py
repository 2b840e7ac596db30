"""Verdicts on reference learners of English sentences are the right ones, as on invented words."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from eif_lab import annotate, judge, load_task
from eif_lab.data.contrast import less_control
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.desiderata.selection import clean, foils, same_sample, with_probe_numbers
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.learners import RULES, imitate
from eif_lab.learners.right import OPEN, right_verdict

NAMES = [domain.__name__.lower() for domain in DOMAINS]


@cache
def blank(name):
    task = load_task(name, language="english", worlds=20)
    return with_probe_numbers(annotate(np.zeros(task.relation.shape), task))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_what_must_not_be_satisfied_is_not_and_a_perfect_learner_is(name, rule):
    array = blank(name)
    found = [(one, right_verdict(rule, one.desideratum, array)) for one in judge(imitate(array, rule, 0.1))]
    assert {right for _, right in found} <= {SATISFIED, VIOLATED, INCONCLUSIVE, OPEN}
    assert not [str(one) for one, right in found if one.outcome() == SATISFIED and right not in (SATISFIED, OPEN)]
    if rule == "perfect":
        assert [str(one) for one, right in found if right not in (OPEN, one.outcome())] == []
        assert any(right == SATISFIED for _, right in found)


@pytest.mark.parametrize("rule", ["bag_of_words", "copying"])
@pytest.mark.parametrize("name", NAMES)
def test_capitals_articles_and_full_stops_teach_a_learner_of_words_nothing(name, rule):
    array = clean(blank(name))
    values = imitate(array, rule, noise=0.0).values
    assert values[same_sample(array)] == pytest.approx(1)
    held = less_control(values, foils(array))
    assert held[np.isfinite(held)] == pytest.approx(0, abs=1e-12)
