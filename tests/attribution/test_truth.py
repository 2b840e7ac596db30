"""The field's measures: equal to loops, to dattri's and bergson's own, and right where the answer is known."""

from __future__ import annotations

import csv
import doctest

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

from eif_lab.attribution import datamodeling_score, leave_one_out_correlation, removal_difference, top_sets
from eif_lab.errors import ConfigError

SAMPLES, PROBES, SETS = 24, 7, 40


@pytest.fixture
def arrays():
    """Scores, what was measured on sets, and the sets; the scores are right up to noise."""
    random = np.random.default_rng(0)
    effects = random.normal(size=(SAMPLES, PROBES))
    sets = random.random((SETS, SAMPLES)) < 0.5
    return effects + random.normal(size=effects.shape), sets @ effects, sets


# Against loops and other libraries


def test_the_datamodeling_score_is_the_loop_written_out(arrays):
    scores, measured, sets = arrays
    by_probe = [
        stats.spearmanr([scores[held, probe].sum() for held in sets], measured[:, probe]).statistic
        for probe in range(PROBES)
    ]
    found = datamodeling_score(scores, measured, sets)
    assert np.allclose(found.by_probe, by_probe) and np.isclose(found.value, np.mean(by_probe))
    assert 0.3 < found.value < 1


@pytest.mark.parametrize("correlation", ["spearman", "pearson"])
def test_leave_one_out_is_scipys_correlation_of_each_column(arrays, correlation):
    scores, _, _ = arrays
    truth = np.random.default_rng(1).normal(size=scores.shape).round(1)  # with ties
    known = stats.spearmanr if correlation == "spearman" else stats.pearsonr
    found = leave_one_out_correlation(scores, truth, correlation=correlation)
    assert np.allclose(found.by_probe, [known(scores[:, p], truth[:, p]).statistic for p in range(PROBES)])


def test_both_equal_dattris_own(arrays):
    metric = pytest.importorskip("dattri.metric", reason="dattri is not installed")
    import torch

    scores, measured, _ = arrays
    random = np.random.default_rng(2)
    members = np.stack([random.permutation(SAMPLES)[: SAMPLES // 2] for _ in range(SETS)])  # its sets are of one size
    sets = (members[:, :, None] == np.arange(SAMPLES)).any(axis=1)
    theirs, _ = metric.lds(torch.tensor(scores), (torch.tensor(measured), torch.tensor(members)))
    assert np.allclose(datamodeling_score(scores, measured, sets).by_probe, theirs)
    truth = random.normal(size=scores.shape)
    theirs, _ = metric.loo_corr(torch.tensor(scores), (torch.tensor(truth), torch.arange(SAMPLES)))
    assert np.allclose(leave_one_out_correlation(scores, truth, correlation="pearson").by_probe, theirs)


def test_the_datamodeling_score_is_what_bergson_reports(arrays, tmp_path):
    """It sums scores of what was left out, negative where they lower the loss, and compares losses."""
    validate = pytest.importorskip("bergson.validate", reason="bergson is not installed")
    import torch

    scores, _, _ = arrays
    random = np.random.default_rng(2)
    left_out = np.stack([random.permutation(SAMPLES)[:5] for _ in range(SETS)])
    sets = ~(left_out[:, :, None] == np.arange(SAMPLES)).any(axis=1)
    log_prob = sets @ random.normal(size=(SAMPLES, PROBES))
    diffs = (log_prob - log_prob.max(axis=0)).tolist()  # loss of the base less that without the set, as it has them
    sums = [(-scores[rows]).sum(axis=0).tolist() for rows in left_out]
    validate.report_multi_query_validation(str(tmp_path), diffs, sums, torch.zeros(PROBES), SETS)
    with (tmp_path / "summary.csv").open() as file:
        theirs = [float(row["spearman_corr"]) for row in csv.DictReader(file)]
    assert np.allclose(datamodeling_score(scores, log_prob, sets).by_probe, theirs, atol=1e-3)


# Where the answer is known


@pytest.fixture(scope="module")
def regression():
    """Least squares on any set of samples, to minus the losses on the probes."""
    random = np.random.default_rng(3)
    inputs, probes, weights = random.normal(size=(60, 4)), random.normal(size=(20, 4)), random.normal(size=4)
    outputs = inputs @ weights + random.normal(size=60)
    targets = probes @ weights + random.normal(size=20)

    def trained(members: np.ndarray) -> np.ndarray:
        fitted, *_ = np.linalg.lstsq(inputs[members], outputs[members], rcond=None)
        return -((probes @ fitted - targets) ** 2)

    everything = np.ones(60, dtype=bool)
    full = trained(everything)
    influence = np.stack([full - trained(np.arange(60) != sample) for sample in range(60)])
    return trained, full, influence


def test_exact_influence_ranks_sets_its_negative_the_other_way_and_shuffled_not_at_all(regression):
    trained, _, influence = regression
    random = np.random.default_rng(4)
    sets = np.stack([np.isin(np.arange(60), random.permutation(60)[:50]) for _ in range(100)])
    measured = np.stack([trained(held) for held in sets])
    right, turned, shuffled = (
        datamodeling_score(scores, measured, sets) for scores in (influence, -influence, random.permutation(influence))
    )
    assert right.value > 0.85 and right.intervals["sets"][0] > 0.7
    assert np.isclose(turned.value, -right.value)
    low, high = shuffled.intervals["sets"]
    assert low < 0 < high


def test_removing_what_scores_name_harms_more_than_removing_at_random(regression):
    trained, full, influence = regression
    random, shares = np.random.default_rng(5), (0.05, 0.1)

    def without(scores):
        return np.stack([trained(held) for held in ~top_sets(scores, shares).reshape(-1, 60)])

    control = without(random.permutation(influence))
    right = removal_difference(without(influence), full, shares, control=control)
    turned = removal_difference(without(-influence), full, shares, control=control)
    assert [one.name for one in right] == ["without_top_5%", "without_top_10%"]
    assert all(one.intervals["probes"][0] > 0 for one in right) and right[1].value > right[0].value
    assert all(one.intervals["probes"][1] < 0 for one in turned)
    plain = removal_difference(without(influence), full, shares)
    loop = [full[p] - trained(~top_sets(influence, shares)[1, p])[p] for p in range(20)]
    assert np.allclose(plain[1].by_probe, loop)


# Laws


def test_what_was_left_out_says_the_same_where_sets_are_of_one_size(arrays):
    scores, _, _ = arrays
    random = np.random.default_rng(6)
    sets = np.stack([np.isin(np.arange(SAMPLES), random.permutation(SAMPLES)[:9]) for _ in range(SETS)])
    measured = random.normal(size=(SETS, PROBES))
    members, left_out = datamodeling_score(scores, measured, sets), datamodeling_score(-scores, measured, ~sets)
    assert np.allclose(members.by_probe, left_out.by_probe)


def test_neither_a_positive_factor_nor_the_order_changes_anything(arrays):
    scores, measured, sets = arrays
    random = np.random.default_rng(7)
    rows, samples = random.permutation(SETS), random.permutation(SAMPLES)
    one = datamodeling_score(scores, measured, sets)
    other = datamodeling_score(1000 * scores[samples], measured[rows] + 5, sets[rows][:, samples])
    assert np.allclose(one.by_probe, other.by_probe)
    assert all(np.allclose(one.intervals[drawn], other.intervals[drawn]) for drawn in one.intervals)


def test_scores_that_tell_nothing_apart_count_as_zero_and_a_truth_that_does_not_vary_is_left_out(arrays):
    scores, measured, sets = (array.copy() for array in arrays)
    scores[:, 0], measured[:, 1] = 0, 3
    found = datamodeling_score(scores, measured, sets)
    assert found.by_probe[0] == 0 and np.isnan(found.by_probe[1])
    assert np.isclose(found.value, np.mean(np.delete(found.by_probe, 1)))


def test_equal_scores_tell_nothing_apart_though_their_sums_differ_by_rounding():
    random = np.random.default_rng(0)
    sets = np.stack([np.isin(np.arange(101), random.permutation(101)[:50]) for _ in range(60)])
    constants = np.append(random.normal(size=29), 0.3)[:, None]  # another one for each probe
    scores = constants.repeat(101, axis=1).T  # in the order of memory in which sums round differently
    sums, measured = np.einsum("ks,nsp->nkp", sets.astype(float), scores[None]), random.normal(size=(60, 30))
    assert np.ptp(sums, axis=1).max() > 0
    for correlation in ("spearman", "pearson"):
        assert (datamodeling_score(scores, measured, sets, correlation=correlation).by_probe == 0).all()


def test_with_a_control_what_was_trained_on_all_cancels(arrays):
    random, shares = np.random.default_rng(11), (0.1, 0.2)
    measured, control = random.normal(size=(2, 3, 2 * PROBES, PROBES))
    one = removal_difference(measured, random.normal(size=(3, PROBES)), shares, control=control)
    other = removal_difference(measured, np.zeros((3, PROBES)), shares, control=control)
    for a, b in zip(one, other):
        assert np.array_equal(a.by_probe, b.by_probe) and a.intervals == b.intervals and "seeds" in a.intervals
    once = removal_difference(measured[0], np.zeros((3, PROBES)), shares, control=control[0])
    assert all(set(share.intervals) == {"probes"} for share in once)  # nothing differs between seeds


def test_readings_are_taken_as_tensors_and_as_a_jobs_array(arrays):
    full, measured = np.random.default_rng(12).normal(size=(2, PROBES)), np.zeros((2, PROBES, PROBES))
    known = removal_difference(measured, full, [0.1])[0]
    tensor = torch.tensor(full, requires_grad=True)
    assert np.array_equal(removal_difference(measured, tensor, [0.1])[0].by_probe, known.by_probe)
    dims = ("seed", "step", "probe", "readout")
    whole = np.stack([np.stack([full + 1, full], axis=1), np.ones((2, 2, PROBES))], axis=-1)
    told = removal_difference(measured, xr.DataArray(whole, dims=dims), [0.1])[0]
    assert np.array_equal(told.by_probe, known.by_probe)


def test_a_sample_is_left_however_large_the_share():
    assert top_sets(np.array([[0.1], [0.3]]), [0.99]).tolist() == [[[False, True]]]


def test_seeds_are_averaged_first_and_have_an_interval(arrays):
    scores, measured, sets = arrays
    noise = np.random.default_rng(8).normal(scale=2, size=(4, SETS, PROBES))
    seeds = datamodeling_score(scores, measured + noise, sets)
    assert np.isclose(seeds.value, datamodeling_score(scores, (measured + noise).mean(axis=0), sets).value)
    assert set(seeds.intervals) == {"probes", "sets", "seeds"}
    low, high = seeds.intervals["seeds"]
    assert low < seeds.value < high


def test_a_job_s_array_is_taken_at_its_last_step_and_first_readout(arrays):
    scores, measured, sets = arrays
    dims = ("seed", "stimulus", "step", "probe", "readout")
    whole = np.random.default_rng(9).normal(size=(1, SETS, 2, PROBES, 2))
    whole[0, :, 1, :, 0] = measured
    assert datamodeling_score(scores, xr.DataArray(whole, dims=dims), sets).value == pytest.approx(
        datamodeling_score(scores, measured, sets).value
    )


# Intervals


def test_the_interval_over_probes_is_students_and_leaves_out_units_whole(arrays):
    scores, measured, sets = arrays
    found = datamodeling_score(scores, measured, sets)
    known = stats.t.interval(0.95, PROBES - 1, found.value, stats.sem(found.by_probe))
    assert np.allclose(found.intervals["probes"], known)
    twice = datamodeling_score(
        np.tile(scores, 2), np.tile(measured, 2), sets, probe_units=np.tile(np.arange(PROBES), 2)
    )
    assert np.allclose(twice.intervals["probes"], known)


def test_the_interval_over_rows_holds_the_true_correlation_as_often_as_it_says():
    """Of normal pairs with correlation r Spearman's is 6 / pi * asin(r / 2)."""
    random, r, draws = np.random.default_rng(10), 0.5, 400
    truth = 6 / np.pi * np.arcsin(r / 2)
    inside = 0
    for _ in range(draws):
        x, z = random.normal(size=(2, 40, 1))
        low, high = leave_one_out_correlation(x, r * x + np.sqrt(1 - r**2) * z).intervals["samples"]
        inside += low <= truth <= high
    assert stats.binomtest(inside, draws, 0.95).pvalue > 1e-3 or inside / draws > 0.92


# Mistakes


def named(values, stimuli=None, probes=None):
    """An array with ids."""
    rows, columns = (range(size) if ids is None else ids for size, ids in zip(values.shape, (stimuli, probes)))
    return xr.DataArray(
        values,
        {"stimulus_id": ("stimulus", [str(one) for one in rows]), "probe_id": ("probe", [str(one) for one in columns])},
        dims=("stimulus", "probe"),
    )


MISTAKES = {
    "numbers for a membership": (
        lambda s, m, k: datamodeling_score(s, m, k * 1.0),
        "membership must be true or false for each set and sample, (40, 24), got 'float64 of shape (40, 24)'.",
    ),
    "sets of other samples": (lambda s, m, k: datamodeling_score(s[1:], m, k), "membership must be true or false"),
    "other probes": (
        lambda s, m, k: datamodeling_score(s[:, 1:], m, k),
        "scores must have a column for each of 7 probes",
    ),
    "two sets": (lambda s, m, k: datamodeling_score(s, m[:2], k[:2]), "number of sets must be at least 3 to be ranked"),
    "a diverged cell": (lambda s, m, k: datamodeling_score(s, m * np.nan, k), "measured must be finite"),
    "text": (lambda s, m, k: datamodeling_score("scores.npy", m, k), "scores must be an array, got 'str'."),
    "rows of several lengths": (
        lambda s, m, k: leave_one_out_correlation([[1, 2], [3]], m),
        "scores must be one array",
    ),
    "other samples": (
        lambda s, m, k: leave_one_out_correlation(s, m),
        "measured must have a row for each of 24 samples",
    ),
    "samples in another order": (
        lambda s, m, k: leave_one_out_correlation(named(s), named(s, stimuli=range(23, -1, -1))),
        "measured must be about the samples of the scores, in their order, got '23 where they have 0'.",
    ),
    "probes of another draw": (
        lambda s, m, k: datamodeling_score(named(s), named(m, probes=range(1, 8)), k),
        "measured must be about the probes of the scores, in their order, got '1 where they have 0'.",
    ),
    "sets of samples in another order": (
        lambda s, m, k: datamodeling_score(
            named(s), m, xr.DataArray(k, {"sample": range(1, 25)}, dims=("stimulus", "sample"))
        ),
        "membership must be about the samples of the scores",
    ),
    "no such correlation": (
        lambda s, m, k: leave_one_out_correlation(s, s, correlation="kendall"),
        "correlation must be spearman or pearson, got 'kendall'.",
    ),
    "seeds of two kinds": (
        lambda s, m, k: datamodeling_score(np.stack([s, s]), np.stack([m, m, m]), k),
        "scores must have one seed, or the 3 of what was measured, got 2.",
    ),
    "units of other probes": (
        lambda s, m, k: datamodeling_score(s, m, k, probe_units=np.arange(6)),
        "probe_units must have a unit for each of 7 probes, got 'shape (6,)'.",
    ),
    "one number for all": (
        lambda s, m, k: removal_difference(m[:7], 1.0, [0.1]),
        "full must be an array, got 'float'.",
    ),
    "a scalar for all": (
        lambda s, m, k: removal_difference(m[:7], np.array(1.0), [0.1]),
        "full must be (probes,) or (seeds, probes), got 'shape ()'.",
    ),
    "a whole array for all": (
        lambda s, m, k: removal_difference(m[:7], xr.DataArray(m, dims=("stimulus", "probe")), [0.1]),
        "full must have the dim probe, got ('stimulus', 'probe').",
    ),
    "all that diverged": (
        lambda s, m, k: removal_difference(m[:7], torch.full((7,), torch.nan), [0.1]),
        "full must be finite",
    ),
    "no share": (lambda s, m, k: top_sets(s, []), "shares must be a list of at least one share, got []."),
    "a share alone": (lambda s, m, k: top_sets(s, 0.1), "shares must be an array, got 'float'."),
    "text for shares": (lambda s, m, k: top_sets(s, ["1%"]), "shares must be real numbers"),
    "a share alone, once removed": (
        lambda s, m, k: removal_difference(m[:7], m[0], 0.1),
        "shares must be an array, got 'float'.",
    ),
    "a single sample": (
        lambda s, m, k: top_sets(s[:1], [0.1]),
        "scores must be of at least 2 samples, so that one is left, got 1.",
    ),
    "a share of all": (lambda s, m, k: top_sets(s, [1]), "shares must be between 0 and 1, got 1."),
    "readings of other sets": (
        lambda s, m, k: removal_difference(m, m[0], [0.1]),
        "measured must be (shares * probes, probes), (7, 7), for each seed",
    ),
    "renamed dims": (
        lambda s, m, k: leave_one_out_correlation(xr.DataArray(s, dims=("a", "b")), s),
        "scores must have the dims stimulus and probe, got ('a', 'b').",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(arrays, mistake):
    call, line = MISTAKES[mistake]
    with pytest.raises(ConfigError) as told:
        call(*arrays)
    assert str(told.value).startswith(line) and "\n" not in str(told.value)


def test_the_examples_of_the_functions_print_what_they_say():
    from eif_lab.attribution import reading, truth

    for module in (reading, truth):
        failed, tried = doctest.testmod(module)
        assert tried and not failed
