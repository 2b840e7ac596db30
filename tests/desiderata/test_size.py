"""The tests of relations keep their level and their intervals hold the truth, whatever else moves the array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.size import EFFECTS, TRUTHS, errors_of, normal, table
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.power import effects_of, simulate

DRAWS = 150


@pytest.mark.parametrize("kind", ["heavy tails", "all"])
@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: "+".join(truth.effects))
def test_neither_verdict_is_given_more_often_than_its_level_where_the_truth_is_at_the_bar(truth, kind):
    for count in (6, 20):
        for name, errors in errors_of(truth, EFFECTS[kind], count, DRAWS).items():
            # A test of level 5 % errs more often than this in one of 10,000 runs.
            drawn = round(errors.judged / errors.taught)
            most = stats.binom.ppf(0.9999, drawn, 0.05) / drawn
            assert max(errors.satisfied, errors.violated) <= most, (name, count, errors)
            if not np.isnan(errors.covered):
                assert errors.covered >= 1 - stats.binom.ppf(0.9999, errors.judged, 0.05) / errors.judged, (name, count)


def test_each_statistic_at_its_bar_errs_on_both_sides():
    """A test that never errs is none: over all of them some arrays are called satisfied, and some violated."""
    found = [one for truth in TRUTHS for one in errors_of(truth, normal, 10, DRAWS).values()]
    assert max(one.satisfied for one in found) > 0.01 < max(one.violated for one in found)


def test_ratio_by_the_jackknife_alone_would_be_one_sided():
    """Why ratios have Fieller's interval: with a noisy strength the t interval about the ratio misses on one side."""
    above = below = 0
    for seed in range(300):
        influence = effects_of(simulate({"entailed": 0.5}, noise=1.0, worlds=10, seed=seed))
        entailed, strength = influence.world_means(influence["entailed"], influence.strength)
        ratio = Logic().finding("reach", lambda counts: (counts @ entailed) / (counts @ strength), 10, "worlds", 0.5)  # noqa: B023
        above += ratio.p_value <= 0.05
        below += ratio.p_violated <= 0.05
    assert above < below / 2


def test_table_has_a_line_for_each_statistic_kind_and_size(monkeypatch):
    monkeypatch.setattr("benchmarks.size.EFFECTS", {"cells": normal})
    monkeypatch.setattr("benchmarks.size.WORLDS", (6,))
    lines = [line for line in table(3) if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == [
        f"| {name}" for name in ("gain", "reach", "converse_held", "logic, whole", "fall", "gap", "negation, whole")
    ]
