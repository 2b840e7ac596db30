"""What each desideratum calls violated, inconclusive or not applicable."""

import contextlib

import numpy as np
import pytest
from annotated_arrays import LEVELS, ORACLES, images, noisy_images, worlds
from scipy import stats

from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.errors import ConfigError, NotApplicable

pytestmark = pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")


def finding(verdict, statistic):
    return next(found for found in verdict.findings if found.statistic == statistic)


# Symmetry


def test_antisymmetric_array_violates_symmetry():
    array = images(0)
    noise = np.random.default_rng(0).normal(size=array.shape)
    verdict = Symmetry(resamples=99).evaluate(array.copy(data=noise - noise.T), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.findings[0].effect == pytest.approx(-1)
    assert verdict.details["symmetric_share"] == 0


def test_symmetry_judges_the_samples_that_are_both_whatever_stands_beside_them():
    array = images(0)
    beside = array.isel(probe=slice(3, None)).assign_coords(probe=np.arange(12))
    shared = array.isel(stimulus=slice(3, None), probe=slice(3, None))
    one, other = (Symmetry(resamples=49).evaluate(a, 0) for a in (beside, shared))
    assert repr(one.findings) == repr(other.findings)
    assert one.findings[0].n == 12


def test_asymmetry_ratio_is_that_of_the_norms_off_the_diagonal():
    array = images(0)
    values = np.random.default_rng(0).normal(size=array.shape)
    details = Symmetry(resamples=19).evaluate(array.copy(data=values), 0).details
    pairs = [(i, j) for i in range(len(values)) for j in range(len(values)) if i != j]
    apart = sum((values[i, j] - values[j, i]) ** 2 for i, j in pairs)
    together = sum((values[i, j] + values[j, i]) ** 2 for i, j in pairs)
    assert details["asymmetry_ratio"] == pytest.approx(np.sqrt(apart / together))
    assert details["symmetric_share"] == pytest.approx(together / (apart + together))


def test_symmetry_needs_three_samples_that_are_both():
    with pytest.raises(NotApplicable, match="both stimulus and probe must be at least 3, got 2"):
        Symmetry().evaluate(images(0).isel(probe=slice(0, 2)), 0)


def test_array_that_varies_on_its_diagonal_only_has_no_symmetry_to_judge():
    array = images(0)
    verdict = Symmetry(resamples=19).evaluate(array.copy(data=np.diag(np.arange(len(array), dtype=float))), 0)
    assert verdict.outcome() == INCONCLUSIVE
    assert "does not vary" in verdict.note


# Distance decay


def test_influence_that_grows_with_distance_violates_decay():
    array = images(0)
    verdict = DistanceDecay(resamples=99).evaluate(array.copy(data=array["distance_position"].values), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.findings[0].effect == pytest.approx(-1)
    assert np.isnan(verdict.details["decay_length"])


@pytest.mark.parametrize("probes", [None, 11])
def test_distance_decay_is_minus_scipys_spearman_without_the_samples_themselves(probes):
    array = images(0, probes=probes)
    cells = array["stimulus_id"].values[:, None] != array["probe_id"].values[None, :]
    expected = stats.spearmanr(array.values[cells], array["distance_position"].values[cells]).statistic
    verdict = DistanceDecay(resamples=99).evaluate(array, 0)
    assert verdict.findings[0].effect == pytest.approx(-expected)
    assert verdict.outcome() == SATISFIED


def test_decay_length_is_found_again():
    array = images(0, classes=3, samples=30)
    distance = array["distance_position"].values
    for length in (0.7, 2.0):
        verdict = DistanceDecay(resamples=19).evaluate(array.copy(data=5 * np.exp(-distance / length) - 2), 0)
        assert verdict.details["decay_length"] == pytest.approx(length, rel=0.1)


def test_distance_can_be_chosen_and_a_wrong_name_says_which_there_are():
    by_class = DistanceDecay(distance="class", resamples=99).evaluate(images(0), 0)
    default = DistanceDecay(resamples=99).evaluate(images(0), 0)
    assert by_class.outcome() == SATISFIED
    assert by_class.findings[0].effect != default.findings[0].effect
    with pytest.raises(NotApplicable, match="must be one of class, position, got 'colour'"):
        DistanceDecay(distance="colour").evaluate(images(0), 0)
    with pytest.raises(NotApplicable, match="must have a distance"):
        DistanceDecay().evaluate(images(0).drop_vars(["distance_class", "distance_position"]), 0)


def within_worlds(array):
    """Distances between worlds undefined."""
    own = array["stimulus_world"].values[:, None] == array["probe_world"].values[None, :]
    return array.assign_coords(distance_path=array["distance_path"].where(own))


def test_distance_that_is_defined_within_a_world_only_is_judged_by_worlds():
    array = within_worlds(worlds(0, unrelated=0.05))
    assert DistanceDecay(resamples=199).evaluate(array, 0).outcome() == SATISFIED
    turned = array.copy(data=-array.values)
    assert DistanceDecay(resamples=199).evaluate(turned, 0).outcome() == VIOLATED


def test_p_values_of_distances_within_worlds_keep_their_level():
    array, draws = within_worlds(worlds(0)), 200
    p_values = []
    for draw in range(draws):
        noise = np.random.default_rng(draw).normal(size=array.shape)
        p_values.append(DistanceDecay(resamples=99).evaluate(array.copy(data=noise), draw).p_value)
    for level in (0.05, 0.5):
        assert (np.array(p_values) <= level).sum() <= stats.binom.ppf(0.9999, draws, level)


# Sparsity


def test_dense_array_violates_sparsity():
    array = images(0)
    signs = np.sign(np.random.default_rng(0).normal(size=array.shape))
    verdict = Sparsity(resamples=99).evaluate(array.copy(data=signs), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.details["effective_number"] == pytest.approx(array.sizes["probe"])
    assert verdict.details["hoyer"] == pytest.approx(0, abs=1e-12)


def test_array_that_moves_the_wrong_probes_violates_sparsity():
    array = images(0)
    wrong = np.where(array["relation"].values == "unrelated", np.random.default_rng(0).normal(size=array.shape) ** 3, 0)
    verdict = Sparsity(resamples=99).evaluate(array.copy(data=wrong), 0)
    assert verdict.outcome() == VIOLATED
    assert finding(verdict, "hoyer_above_gaussian").verdict(0.05) == SATISFIED
    assert verdict.details["share_on_related"] == 0


def test_share_on_related_is_one_where_nothing_else_moves_and_zero_where_it_is_even():
    array = images(0)
    right = array.copy(data=(array["relation"].values != "unrelated") * -3.0)
    assert finding(Sparsity(resamples=19).evaluate(right, 0), "share_on_related").effect == pytest.approx(1)
    even = array.copy(data=np.where(np.random.default_rng(0).random(array.shape) < 0.5, -1.0, 1.0))
    assert finding(Sparsity(resamples=19).evaluate(even, 0), "share_on_related").effect == pytest.approx(0, abs=1e-12)


def test_stimuli_that_moved_nothing_are_not_counted_as_sparse():
    array = images(0)
    array.values[:4] = 0
    assert {found.n for found in Sparsity(resamples=19).evaluate(array, 0).findings} == {len(array) - 4}
    array.values[2:] = 0
    array.values[:2, 0] = 1
    with pytest.raises(NotApplicable, match="stimuli that moved a probe must be at least 3, got 2"):
        Sparsity().evaluate(array, 0)


# Noise invariance


def test_noise_blind_array_violates_noise_invariance():
    verdict = NoiseInvariance(resamples=99).evaluate(noisy_images(0, blind=True), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.details["ratio_at_1"] == pytest.approx(1, abs=0.02)


def test_symmetric_effect_of_noise_teaches_less_but_is_not_asymmetric():
    array = noisy_images(0, blind=True)
    weight = np.exp(-array["stimulus_sigma"].values)
    verdict = NoiseInvariance(resamples=99).evaluate(array * weight[:, None] * weight[None, :], 0)
    assert finding(verdict, "taught_less").verdict(0.05) == SATISFIED
    assert finding(verdict, "asymmetry").verdict(0.05) == VIOLATED


def test_noise_statistics_are_the_means_over_pairs_written_out():
    array = noisy_images(3)
    sigma, source, label = (array[f"stimulus_{name}"].values for name in ("sigma", "source", "class"))

    def teaches(a, b):
        rows, columns = np.flatnonzero(sigma == a), np.flatnonzero(sigma == b)
        pairs = [(i, j) for i in rows for j in columns if label[i] == label[j] and source[i] != source[j]]
        return np.mean([array.values[i, j] for i, j in pairs])

    less = [1 - teaches(a, 0) / teaches(0, 0) for a in LEVELS[1:]]
    skew = [(teaches(0, a) - teaches(a, 0)) / (abs(teaches(0, a)) + abs(teaches(a, 0))) for a in LEVELS[1:]]
    verdict = NoiseInvariance(resamples=19).evaluate(array, 0)
    assert finding(verdict, "taught_less").effect == pytest.approx(np.mean(less))
    assert finding(verdict, "asymmetry").effect == pytest.approx(np.mean(skew))
    assert verdict.details["ratio_at_0.5"] == pytest.approx(1 - less[0])


def test_noise_invariance_with_other_probes_than_stimuli_holds_the_probes_fixed():
    array = noisy_images(0, samples=8)
    even = np.array([int(source[-3:]) % 2 == 0 for source in array["stimulus_source"].values])
    apart = array.isel(stimulus=np.flatnonzero(even), probe=np.flatnonzero(~even))
    verdict = NoiseInvariance(resamples=199).evaluate(apart, 0)
    assert verdict.outcome() == SATISFIED
    assert verdict.findings[0].n == 8


def test_noise_of_the_probes_widens_the_interval_only_where_they_are_resampled():
    whole = noisy_images(0, classes=1, samples=10)
    learns = 2 + np.random.default_rng(0).random((1, whole.sizes["probe"]))
    whole = whole.copy(data=np.repeat(learns, len(whole), axis=0))
    even = np.array([int(source[-3:]) % 2 == 0 for source in whole["stimulus_source"].values])
    apart = whole.isel(stimulus=np.flatnonzero(even), probe=np.flatnonzero(~even))
    for array, widens in ((whole, True), (apart, False)):
        found = finding(NoiseInvariance(resamples=199).evaluate(array, 0), "asymmetry")
        assert (found.high - found.low > 1e-3) == widens


def test_noise_invariance_needs_noise():
    with pytest.raises(NotApplicable, match=r"stimulus_sigma, got none\. This desideratum needs perturbation=noise"):
        NoiseInvariance().evaluate(images(0), 0)
    array = noisy_images(0)
    with pytest.raises(NotApplicable, match="sigma must be 0 and at least one level above it"):
        NoiseInvariance().evaluate(array.isel(probe=np.flatnonzero(array["probe_sigma"].values == 0)), 0)


def test_noise_invariance_of_a_network_that_learnt_nothing_is_about_nothing():
    array = noisy_images(0)
    noise = np.random.default_rng(0).normal(size=array.shape)
    verdict = NoiseInvariance(resamples=99).evaluate(array.copy(data=noise), 0)
    assert verdict.outcome() == INCONCLUSIVE
    assert "about nothing" in verdict.note


@pytest.mark.parametrize("name", ["symmetry", "distance_decay", "sparsity"])
def test_other_desiderata_judge_the_clean_samples_of_a_noisy_array(name):
    array = noisy_images(0)
    of_clean = np.flatnonzero(array["stimulus_sigma"].values == 0)
    clean = array.isel(stimulus=of_clean, probe=of_clean)
    desideratum = ORACLES[name][0](resamples=49)
    assert repr(desideratum.evaluate(array, 0)) == repr(desideratum.evaluate(clean, 0))
    noisy = array.isel(stimulus=np.flatnonzero(array["stimulus_sigma"].values > 0))
    with pytest.raises(NotApplicable, match="stimulus must include clean samples"):
        desideratum.evaluate(noisy, 0)


# All


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_constant_array_says_nothing(name, value):
    desideratum, make = ORACLES[name]
    array = make(0)
    with pytest.raises(NotApplicable, match="influence must vary"):
        desideratum().evaluate(array.copy(data=np.full(array.shape, value)), 0)


@pytest.mark.parametrize("name", ORACLES)
def test_too_few_finite_stimuli_are_not_applicable(name):
    desideratum, make = ORACLES[name]
    array = make(0)
    for left in (0, 1):
        array.values[left:] = np.nan
        with pytest.raises(NotApplicable):
            desideratum().evaluate(array, 0)


@pytest.mark.parametrize("name", ORACLES)
def test_single_moved_probe_ends_without_a_crash_and_is_never_satisfied(name):
    desideratum, make = ORACLES[name]
    array = make(0)
    values = np.zeros(array.shape)
    values[0, 1] = 1
    with contextlib.suppress(NotApplicable):
        assert desideratum(resamples=49).evaluate(array.copy(data=values), 0).outcome() != SATISFIED


@pytest.mark.parametrize("name", ORACLES)
def test_options_out_of_range_name_field_rule_and_value(name):
    with pytest.raises(ConfigError, match=r"desideratum\.\w+\.alpha must be above 0, got 0"):
        ORACLES[name][0](alpha=0)
