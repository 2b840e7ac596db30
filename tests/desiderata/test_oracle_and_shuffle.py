"""The proof that the tests can pass and fail: oracles, shuffles, nulls with structure, order and scale."""

import numpy as np
import pytest
from annotated_arrays import ORACLES, images, noisy_images, shuffled, white
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.selection import prepare
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import SATISFIED

pytestmark = pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")

DRAWS, ALPHA = 200, 0.05
MANY = {"logic": 1000, "negation": 1000}
"""The tests on which every statement about language rests are tried more often."""


def most(draws):
    """A test of level 5 % rejects more often than this, 23 times in 200 and 77 in 1,000, in one of 10,000 runs."""
    return stats.binom.ppf(0.9999, draws, ALPHA)


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_is_satisfied_for_every_seed(name):
    desideratum, make = ORACLES[name]
    outcomes = {seed: desideratum(resamples=199).evaluate(make(seed), seed).outcome() for seed in range(25)}
    assert set(outcomes.values()) == {SATISFIED}


@pytest.mark.parametrize("name", ORACLES)
def test_shuffled_array_is_satisfied_no_more_often_than_alpha(name):
    desideratum, make = ORACLES[name]
    # At a threshold at which chance alone must be told from the claim, the p-value and the interval carry the level.
    lenient = {
        "symmetry": {"threshold": 0.0},
        "distance_decay": {"threshold": 0.0},
        "sparsity": {"share_threshold": 0.0},
        "noise_invariance": {"less_threshold": 0.0, "asymmetry_threshold": 0.0},
        "logic": {"reach_threshold": 0.0, "converse_threshold": 0.0},
        "negation": {"gap_threshold": 0.0},
    }[name]
    # With 99 resamples p-values are multiples of 1/100, so that 5 % is a level they can attain; the interval, coarser
    # than with more, can only make the rule stricter.
    test, array, draws = desideratum(resamples=99, alpha=ALPHA, **lenient), prepare(make(0)), MANY.get(name, DRAWS)
    verdicts = (test.judge(shuffled(array, draw), np.random.default_rng(draw)) for draw in range(draws))
    assert sum(verdict.outcome() == SATISFIED for verdict in verdicts) <= most(draws)


@pytest.mark.parametrize("name", ORACLES)
def test_shuffled_array_is_not_satisfied_at_the_default_thresholds(name):
    desideratum, make = ORACLES[name]
    test, array = desideratum(resamples=99), make(0)
    assert all(test.evaluate(shuffled(array, draw), draw).outcome() != SATISFIED for draw in range(25))


def with_sample_effects(influence, seed):
    """White noise in which some stimuli teach more and some probes learn more, whatever stands in the cell."""
    random = np.random.default_rng(seed)
    rows, columns = random.normal(size=(influence.shape[0], 1)), random.normal(size=(1, influence.shape[1]))
    return influence.copy(data=2 * rows + 2 * columns + random.normal(size=influence.shape))


def with_fragile_probes(influence, seed):
    """White noise in which a few probes move under every stimulus, with classes of unequal size."""
    random = np.random.default_rng(seed)
    fragile = np.exp(1.5 * random.normal(size=(1, influence.shape[1])))
    data = fragile * random.normal(size=influence.shape)
    return influence.copy(data=data).isel(stimulus=slice(0, 10))


def with_noisy_samples(influence, seed):
    """Samples teach and learn more or less at each noise level by chance: noise has an effect, but no direction."""
    random = np.random.default_rng(seed)
    rows, columns = random.normal(size=(influence.shape[0], 1)), random.normal(size=(1, influence.shape[1]))
    return influence.copy(data=20 + rows + 2 * columns + random.normal(size=influence.shape))


NULLS = {
    "symmetry, white noise": (Symmetry, images, white, "correlation"),
    "symmetry, sample effects": (Symmetry, images, with_sample_effects, "correlation"),
    "distance decay, white noise": (ORACLES["distance_decay"][0], images, white, "rank_correlation"),
    "distance decay, sample effects": (ORACLES["distance_decay"][0], images, with_sample_effects, "rank_correlation"),
    "sparsity, fragile probes": (Sparsity, images, with_fragile_probes, "share_on_related"),
    "sparsity, Gaussian rows": (Sparsity, images, white, "hoyer_above_gaussian"),
    "noise, taught less": (NoiseInvariance, noisy_images, with_noisy_samples, "taught_less"),
    "noise, asymmetry": (NoiseInvariance, noisy_images, with_noisy_samples, "asymmetry"),
}


@pytest.mark.parametrize("name", NULLS)
def test_p_values_under_the_null_are_no_smaller_than_uniform(name):
    desideratum, make, null, statistic = NULLS[name]
    test, array = desideratum(resamples=99), make(0)
    p_values = []
    for draw in range(DRAWS):
        findings = {f.statistic: f for f in test.evaluate(null(array, draw), draw).findings}
        p_values.append(findings[statistic].p_value)
    p_values = np.array(p_values)
    assert np.isfinite(p_values).mean() > 0.9
    for level in (0.05, 0.2, 0.5):
        assert (p_values <= level).sum() <= stats.binom.ppf(0.9999, DRAWS, level)
    # No smaller than uniform, but not always large either: the test can reject.
    assert np.nanmin(p_values) < 0.2


def reordered(influence, seed):
    """The array as the data in another order would give it: probes counted anew, foils pointing to the new places."""
    random = np.random.default_rng(seed)
    rows, columns = (random.permutation(size) for size in influence.shape)
    place = np.append(np.argsort(columns), -1)
    moved = influence.isel(stimulus=rows, probe=columns)
    foils = {name: (("stimulus", "probe"), place[moved[name].values]) for name in moved.coords if "foil_" in str(name)}
    return moved.assign_coords(foils, stimulus=np.arange(len(rows)), probe=np.arange(len(columns)))


@pytest.mark.parametrize("name", ORACLES)
@given(order=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_order_of_stimuli_and_probes_does_not_matter(name, order):
    desideratum, make = ORACLES[name]
    test, array = desideratum(resamples=49), make(1)
    one, other = test.evaluate(array, 0), test.evaluate(reordered(array, order), 0)
    for found, again in zip(one.findings, other.findings):
        for field in ("effect", "low", "high", "p_value", "n"):
            assert getattr(found, field) == pytest.approx(getattr(again, field), rel=1e-9)
    assert dict(one.details) == pytest.approx(dict(other.details), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ORACLES)
@given(scale=st.floats(1e-9, 1e9), draw=st.integers(0, 50), shuffle=st.booleans())
@settings(max_examples=10, deadline=None)
def test_scale_of_the_array_changes_no_verdict(name, scale, draw, shuffle):
    desideratum, make = ORACLES[name]
    array = shuffled(make(draw), draw) if shuffle else make(draw)
    test = desideratum(resamples=49)
    one, other = test.evaluate(array, 0), test.evaluate(array.copy(data=array.values * scale), 0)
    assert one.outcome() == other.outcome()
    for found, again in zip(one.findings, other.findings):
        assert found.effect == pytest.approx(again.effect, rel=1e-6)
        assert found.p_value == pytest.approx(again.p_value, nan_ok=True)


@pytest.mark.parametrize("name", ORACLES)
def test_same_seed_gives_the_same_verdict_and_zero_is_a_seed_like_any_other(name):
    desideratum, make = ORACLES[name]
    test, array = desideratum(resamples=49), shuffled(make(0), 0)
    again, zero, one = (test.evaluate(array, seed) for seed in (0, 0, 1))
    assert repr(again) == repr(zero) != repr(one)


@pytest.mark.parametrize("name", ORACLES)
def test_stimuli_that_diverged_are_dropped_and_n_says_so(name):
    desideratum, make = ORACLES[name]
    array = make(0)
    diverged = array.copy(data=array.values.copy())
    diverged.values[0, 0], diverged.values[1, -1] = np.nan, np.inf
    test = desideratum(resamples=199)
    whole, part = test.evaluate(array, 0), test.evaluate(diverged, 0)
    assert [f.n for f in part.findings] == [f.n - 2 for f in whole.findings]
    assert part.outcome() == SATISFIED
