"""Statistics, intervals and nulls against their definitions written as loops, and against other libraries."""

import numpy as np
import pytest
from scipy import stats
from skbio.diversity.alpha import gini_index, inv_simpson
from sklearn.metrics import roc_auc_score
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


def test_auc_agrees_with_scikit_learn_with_ties(random):
    positive, negative = random.integers(0, 5, 30) + 1.0, random.integers(0, 5, 20) + 0.0
    expected = roc_auc_score([1] * 30 + [0] * 20, np.concatenate([positive, negative]))
    assert statistics.auc(positive, negative) == pytest.approx(expected)


def test_correlation_counts_a_weighted_cell_as_often_as_its_weight(random):
    x, y, weights = random.normal(size=12), random.normal(size=12), random.integers(0, 4, 12)
    expected = stats.pearsonr(np.repeat(x, weights), np.repeat(y, weights)).statistic
    assert statistics.correlation(x, y, weights.astype(float)) == pytest.approx(expected)
    assert np.isnan(statistics.correlation(np.full(12, 0.1), y))


def test_row_spearman_is_scipys_on_the_rows_written_out(random):
    x, y = random.integers(0, 6, (7, 5)) + 0.0, random.integers(0, 4, (7, 5)) + 0.0
    cells = random.random((7, 5)) < 0.8
    drawn = [np.arange(7), random.integers(0, 7, 7), random.integers(0, 7, 7)]
    found = statistics.row_spearman(x, y, cells, np.array([np.bincount(rows, minlength=7) for rows in drawn], float))
    expected = [stats.spearmanr(x[rows][cells[rows]], y[rows][cells[rows]]).statistic for rows in drawn]
    np.testing.assert_allclose(found, expected)


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


def test_bootstrap_interval_is_scipys_percentile_interval_at_the_expanded_level(random):
    values = random.exponential(size=25)
    low, high = statistics.bootstrap_interval(lambda w: w @ values / 25, 25, 0.9, 20_000, random)
    tail = stats.norm.cdf(-np.sqrt(25 / 24) * stats.t.ppf(0.95, 24))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=1 - 2 * tail, method="percentile", rng=random
    ).confidence_interval
    np.testing.assert_allclose([low, high], expected, atol=0.02)


def test_bootstrap_interval_covers_with_few_units_what_plain_percentiles_miss():
    draws, units, random = 600, 6, np.random.default_rng(3)
    covered = plain = 0
    for _ in range(draws):
        values = random.normal(size=units)
        low, high = statistics.bootstrap_interval(lambda w: w @ values / units, units, 0.9, 199, random)  # noqa: B023
        means = values[random.integers(0, units, (199, units))].mean(axis=1)
        covered += low <= 0 <= high
        plain += np.quantile(means, 0.05) <= 0 <= np.quantile(means, 0.95)
    bound = stats.binom.ppf(0.001, draws, 0.9)
    assert plain < bound <= covered


def test_bootstrap_interval_is_undefined_where_most_resamples_are(random):
    assert np.isnan(statistics.bootstrap_interval(lambda w: np.full(len(w), np.nan), 9, 0.95, 99, random)).all()
    assert np.isnan(statistics.bootstrap_interval(lambda w: w[:, 0], 1, 0.95, 99, random)).all()


def test_adjusted_p_values_equal_statsmodels_and_pass_over_missing_ones(random):
    p_values = random.random(15) ** 3
    expected = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(adjust(p_values), expected)
    with_gaps = np.insert(p_values, [0, 4, 15], np.nan)
    np.testing.assert_array_equal(np.isnan(adjust(with_gaps)), np.isnan(with_gaps))
    np.testing.assert_allclose(adjust(with_gaps)[~np.isnan(with_gaps)], expected)
    assert np.isnan(adjust([np.nan])).all()
