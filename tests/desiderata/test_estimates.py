"""Standard errors, ratios and p-values against their textbook forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.statistics import Estimate, fieller_interval, jackknife, pair_jackknife, unit_values


def mean_of(values):
    return lambda counts: counts @ values / counts.sum(axis=1)


def test_jackknife_of_a_mean_is_students_test():
    values = np.random.default_rng(0).normal(0.3, 1.0, size=9)
    estimate = jackknife(mean_of(values), 9)
    assert estimate.interval(0.9) == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(0.9))
    for bar in (-0.5, 0.0, 1.0):
        above, below = (stats.ttest_1samp(values, bar, alternative=side).pvalue for side in ("greater", "less"))
        assert estimate.p_values(bar) == pytest.approx((above, below))


def test_estimate_without_spread_is_certain_and_one_at_the_bar_says_nothing():
    assert Estimate(1.0, 0.0, 5).p_values(0.5) == (0.0, 1.0)
    assert Estimate(1.0, 0.0, 5).p_values(2.0) == (1.0, 0.0)
    assert Estimate(1.0, 0.0, 5).p_values(1.0) == (1.0, 1.0)


def test_single_unit_has_no_error():
    estimate = jackknife(mean_of(np.array([2.0])), 1)
    assert estimate.value == 2.0 and np.isnan(estimate.p_values(0.0)).all()


def test_ends_of_fiellers_interval_are_the_ratios_at_which_the_test_just_rejects():
    random = np.random.default_rng(0)
    bottom = random.normal(1.0, 0.5, size=8)
    top = 0.3 * bottom + random.normal(0.0, 0.2, size=8)
    for ratio in fieller_interval(top, bottom, 0.9):
        assert stats.ttest_1samp(top - ratio * bottom, 0).pvalue == pytest.approx(0.1)


def test_ratio_to_what_may_be_zero_has_no_interval():
    top, bottom = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 1.0, 2.0])
    assert np.isnan(fieller_interval(top, bottom, 0.95)).all()
    assert np.isnan(fieller_interval(top[:1], bottom[:1], 0.95)).all()


@pytest.mark.parametrize("pairs", [False, True])
def test_values_by_unit_have_the_statistics_for_means_and_the_jackknifes_error(pairs):
    random = np.random.default_rng(4)
    square = random.normal(1.0, 0.5, size=(9, 9)) * (1 - np.eye(9))
    top, bottom = (
        lambda counts, part=part: np.array([c @ part @ c / (c.sum() ** 2 - c @ c) for c in counts])
        for part in (square + square**2, square)
    )
    numerator, denominator = unit_values(top, bottom, 9, pairs=pairs)
    once = np.ones((1, 9))
    assert (numerator.mean(), denominator.mean()) == pytest.approx((top(once)[0], bottom(once)[0]))
    ratio = numerator.mean() / denominator.mean()
    residual = numerator - ratio * denominator
    estimate = (pair_jackknife if pairs else jackknife)(lambda counts: top(counts) - ratio * bottom(counts), 9)
    assert residual.std(ddof=1) / 3 == pytest.approx(estimate.error)


def test_values_by_unit_of_a_mean_are_its_values():
    top, bottom = np.random.default_rng(5).normal(1.0, 0.2, size=(2, 7))
    values = unit_values(mean_of(top), mean_of(bottom), 7, pairs=False)
    np.testing.assert_allclose(values, [top, bottom])


def test_ratio_is_satisfied_or_violated_where_the_whole_interval_is_on_one_side():
    """Of one-sided tests at 2.5 % and 95 % intervals: they are the same question."""
    random, test = np.random.default_rng(3), Logic(alpha=0.025)
    for _ in range(200):
        bottom = random.normal(1.0, 0.4, size=8)
        top = 0.2 * bottom + random.normal(0.0, 0.2, size=8)
        found = test.ratio("reach", top, bottom, unit="worlds", threshold=0.1)
        assert (found.verdict(0.025) == "satisfied") == (found.low > 0.1)
        assert (found.verdict(0.025) == "violated") == (found.high < 0.1)


def test_fewer_units_than_the_least_have_an_interval_and_no_p_values():
    values = np.array([1.0, 1.1, 0.9, 1.2, 1.05])
    found = Logic().mean("gain", values, "worlds")
    assert found.low > 0 and np.isnan(found.p_value) and np.isnan(found.p_violated)
    assert Logic(least_units=5).mean("gain", values, "worlds").p_value < 0.01
