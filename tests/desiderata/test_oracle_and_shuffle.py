"""The proof that the tests can pass and fail: oracles, shuffles, nulls with structure, order and scale."""

import numpy as np
import pytest
from annotated_arrays import ORACLES, images, noisy_images, shuffled, white, worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.relation_test import RelationEffects
from eif_lab.desiderata.selection import prepare
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.results.bounds import IN_NATS

pytestmark = pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")

DRAWS, ALPHA = 100, 0.05
MANY = {"logic": 1000, "negation": 1000}
"""The tests on which every statement about language rests are tried more often."""


def most(draws):
    """A test of level 5 % rejects more often than this, 15 times in 100 and 77 in 1,000, in one of 10,000 runs."""
    return stats.binom.ppf(0.9999, draws, ALPHA)


def judged(test, array, draw):
    """The verdict on a prepared array; of relations without its details, which take most of the time."""
    if isinstance(test, Logic | Negation):
        return test.verdict(RelationEffects.measure(array))
    return test.judge(array, np.random.default_rng(draw))


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_is_satisfied_for_every_seed(name):
    desideratum, make = ORACLES[name]
    outcomes = {seed: desideratum().evaluate(make(seed), seed).outcome() for seed in range(25)}
    assert set(outcomes.values()) == {SATISFIED}


@pytest.mark.parametrize("name", ORACLES)
def test_shuffled_array_is_satisfied_no_more_often_than_alpha(name):
    desideratum, make = ORACLES[name]
    # At a threshold at which chance alone must be told from the claim, the p-value carries the level.
    lenient = {
        "symmetry": {"threshold": 0.0},
        "distance_decay": {"threshold": 0.0},
        "sparsity": {"precision_threshold": 0.0, "concentration_threshold": 0.0},
        "noise_invariance": {"less_threshold": 0.0, "asymmetry_threshold": 0.0},
        "logic": {"reach_threshold": 0.0, "converse_threshold": 0.0},
        "negation": {"gap_threshold": 0.0},
    }[name]
    test, array, draws = desideratum(alpha=ALPHA, **lenient), prepare(make(0)), MANY.get(name, DRAWS)
    verdicts = (judged(test, shuffled(array, draw), draw) for draw in range(draws))
    assert sum(verdict.outcome() == SATISFIED for verdict in verdicts) <= most(draws)


@pytest.mark.parametrize("name", ORACLES)
def test_shuffled_array_is_not_satisfied_at_the_default_thresholds(name):
    desideratum, make = ORACLES[name]
    test, array = desideratum(), make(0)
    satisfied = sum(test.evaluate(shuffled(array, draw), draw).outcome() == SATISFIED for draw in range(25))
    # Both statistics of noise are ratios to strengths of few cells each: chance gets above their bars at its level.
    assert satisfied <= (most(25) if name == "noise_invariance" else 0)


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
    return influence.copy(data=data).isel(stimulus=slice(0, -1))


def with_class_effects(influence, seed):
    """White noise in which each class moves each class by chance, which a test of cells would take for the claim."""
    random = np.random.default_rng(seed)
    label = influence["stimulus_class"].values
    effects = 2 * random.normal(size=(label.max() + 1,) * 2)
    return influence.copy(data=effects[np.ix_(label, label)] + random.normal(size=influence.shape))


def with_heavy_tails(influence, seed):
    """Noise in which a few cells hold nearly all of the energy, wherever they lie."""
    return influence.copy(data=np.random.default_rng(seed).standard_t(2, size=influence.shape))


def with_noisy_samples(influence, seed):
    """Samples teach and learn more or less at each noise level by chance: noise has an effect, but no direction."""
    random = np.random.default_rng(seed)
    rows, columns = random.normal(size=(influence.shape[0], 1)), random.normal(size=(1, influence.shape[1]))
    itself = 20 * np.eye(len(influence))
    return influence.copy(data=20 + itself + rows + 2 * columns + random.normal(size=influence.shape))


LENIENT = {"precision_threshold": 0.0, "concentration_threshold": 0.0}


NULLS = {
    "symmetry, white noise": (Symmetry(threshold=0), images, white, "correlation"),
    "symmetry, sample effects": (Symmetry(threshold=0), images, with_sample_effects, "correlation"),
    "decay, white noise": (DistanceDecay(threshold=0), images, white, "within_class_position"),
    "decay, sample effects": (DistanceDecay(threshold=0), images, with_sample_effects, "within_class_position"),
    "decay between classes": (DistanceDecay(threshold=0), images, with_class_effects, "between_classes_position"),
    "decay, worlds": (DistanceDecay(threshold=0), worlds, with_sample_effects, "rank_correlation_path"),
    "sparsity, fragile probes": (Sparsity(**LENIENT), images, with_fragile_probes, "precision_other_classes"),
    "sparsity, class effects": (Sparsity(**LENIENT), images, with_class_effects, "precision_other_classes"),
    "sparsity, worlds": (Sparsity(**LENIENT), worlds, with_fragile_probes, "precision_same_subject"),
    "sparsity, heavy tails": (Sparsity(**LENIENT), worlds, with_heavy_tails, "concentration"),
    "noise, taught less": (NoiseInvariance(less_threshold=0), noisy_images, with_noisy_samples, "taught_less_per_nat"),
    "noise, asymmetry": (NoiseInvariance(asymmetry_threshold=0), noisy_images, with_noisy_samples, "asymmetry_per_nat"),
}


@pytest.mark.parametrize("name", NULLS)
def test_p_values_under_the_null_are_no_smaller_than_uniform(name):
    test, make, null, statistic = NULLS[name]
    array = make(0)
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
    return moved.assign_coords(**foils, stimulus=np.arange(len(rows)), probe=np.arange(len(columns)))


@pytest.mark.parametrize("name", ORACLES)
@given(order=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_order_of_stimuli_and_probes_does_not_matter(name, order):
    desideratum, make = ORACLES[name]
    test, array = desideratum(), make(1)
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
    test = desideratum()
    one, other = test.evaluate(array, 0), test.evaluate(array.copy(data=array.values * scale), 0)
    assert one.outcome() == other.outcome()
    for found, again in zip(one.findings, other.findings):
        unit = scale if found.statistic in IN_NATS else 1
        assert found.effect * unit == pytest.approx(again.effect, rel=1e-6)
        assert found.p_value == pytest.approx(again.p_value, nan_ok=True)


@pytest.mark.parametrize("name", ORACLES)
def test_verdict_does_not_hang_on_a_seed(name):
    desideratum, make = ORACLES[name]
    test, array = desideratum(), shuffled(make(0), 0)
    assert repr(test.evaluate(array, 0)) == repr(test.evaluate(array, 1))


@pytest.mark.parametrize("name", ORACLES)
def test_stimuli_that_diverged_are_as_if_they_had_not_been_there(name):
    desideratum, make = ORACLES[name]
    array = make(0)
    diverged = array.copy(data=array.values.copy())
    diverged.values[0, 0], diverged.values[1, -1] = np.nan, np.inf
    test = desideratum()
    part, left = (test.evaluate(one, 0) for one in (diverged, array.isel(stimulus=slice(2, None))))
    assert repr(part) == repr(left)
