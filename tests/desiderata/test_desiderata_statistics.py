"""Statistics, intervals and nulls against their definitions written as loops, and against other libraries."""

import numpy as np
import pytest
from skbio.diversity.alpha import gini_index, inv_simpson
from statsmodels.stats.multitest import multipletests

from eif_lab.desiderata import statistics
from eif_lab.desiderata.evaluation import adjust

pytestmark = pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")


@pytest.fixture
def random():
    return np.random.default_rng(7)


def test_hoyer_follows_its_definition_and_spans_zero_to_one(random):
    rows = random.normal(size=(4, 9))
    expected = [(3 - sum(abs(row)) / np.sqrt(sum(row**2))) / 2 for row in rows]
    np.testing.assert_allclose(statistics.hoyer(rows), expected)
    np.testing.assert_allclose(statistics.hoyer(np.array([[2.0, -2, 2], [0, 0, -5]])), [0, 1], atol=1e-12)
    assert np.isnan(statistics.hoyer(np.zeros(3)))


def test_gini_is_half_the_relative_mean_difference_and_agrees_with_scikit_bio(random):
    for row in (np.array([1.0, 2, 3, 4]), random.normal(size=30), np.array([0.0, 0, 7])):
        size = abs(row)
        difference = np.mean([abs(a - b) for a in size for b in size])
        assert statistics.gini(row) == pytest.approx(difference / (2 * size.mean()))
        assert statistics.gini(row) == pytest.approx(gini_index(size, method="trapezoids"))


def test_effective_number_is_the_inverse_simpson_index(random):
    row = random.normal(size=20)
    assert statistics.effective_number(row) == pytest.approx(inv_simpson(abs(row)))
    assert statistics.effective_number(np.array([3.0, -3, 3, 0])) == pytest.approx(3)


def test_transpose_correlation_is_that_of_the_resample_written_out(random):
    square = random.normal(size=(6, 6)) + 3
    for rows in (np.arange(6), random.integers(0, 6, 6)):
        pairs = [(i, j) for i in rows for j in rows if i != j]
        expected = np.corrcoef([square[i, j] for i, j in pairs], [square[j, i] for i, j in pairs])[0, 1]
        found = statistics.transpose_correlation(square, np.arange(6), np.bincount(rows, minlength=6)[None] * 1.0)
        assert found[0] == pytest.approx(expected)


def test_transpose_correlation_of_resampled_clusters_pairs_samples_within_each_copy_of_their_cluster(random):
    square, units = random.normal(size=(7, 7)), np.array([0, 0, 0, 1, 1, 2, 2])
    drawn = [0, 0, 2]
    copies = [(i, copy) for copy, cluster in enumerate(drawn) for i in np.flatnonzero(units == cluster)]
    pairs = [(i, j) for i, a in copies for j, b in copies if i != j and (a == b or units[i] != units[j])]
    expected = np.corrcoef([square[i, j] for i, j in pairs], [square[j, i] for i, j in pairs])[0, 1]
    found = statistics.transpose_correlation(square, units, np.array([[2.0, 0, 1]]))
    assert found[0] == pytest.approx(expected)


def test_transpose_correlation_is_undefined_where_nothing_varies_off_the_diagonal():
    square = np.full((5, 5), 0.1) + np.diag(np.arange(5.0))
    assert np.isnan(statistics.transpose_correlation(square, np.arange(5), np.ones((1, 5)))[0])


def test_adjusted_p_values_equal_statsmodels_and_pass_over_missing_ones(random):
    p_values = random.random(15) ** 3
    expected = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(adjust(p_values), expected)
    with_gaps = np.insert(p_values, [0, 4, 15], np.nan)
    np.testing.assert_array_equal(np.isnan(adjust(with_gaps)), np.isnan(with_gaps))
    np.testing.assert_allclose(adjust(with_gaps)[~np.isnan(with_gaps)], expected)
    assert np.isnan(adjust([np.nan])).all()
