"""What each desideratum calls violated, inconclusive or not applicable."""

import contextlib
from itertools import permutations

import numpy as np
import pytest
from annotated_arrays import LEVELS, ORACLES, images, noisy_images, worlds
from annotated_arrays import array as annotated
from knowledge_arrays import ontology
from scipy import stats
from sklearn.metrics import average_precision_score

from eif_lab.desiderata.distance_decay import DistanceDecay, decay_between
from eif_lab.desiderata.noise_invariance import NoiseInvariance
from eif_lab.desiderata.sparsity import Sparsity, average_precision, expected_precision, ranked_precision
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import INCONCLUSIVE, REVERSED, SATISFIED, VIOLATED
from eif_lab.errors import ConfigError, NotApplicable

pytestmark = pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")


def finding(verdict, statistic):
    return next(found for found in verdict.findings if found.statistic == statistic)


# Symmetry


def test_antisymmetric_array_violates_symmetry():
    array = images(0)
    noise = np.random.default_rng(0).normal(size=array.shape)
    verdict = Symmetry().evaluate(array.copy(data=noise - noise.T), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.failing.how == REVERSED
    assert verdict.findings[0].effect == pytest.approx(-1)
    assert verdict.details["symmetric_share"] == 0


def test_correlation_with_the_transpose_is_numpys_and_by_ranks_scipys():
    array = images(0)
    values = np.random.default_rng(0).normal(size=array.shape) ** 3 + array.values
    verdict = Symmetry().evaluate(array.copy(data=values), 0)
    cells = ~np.eye(len(values), dtype=bool)
    assert verdict.findings[0].effect == pytest.approx(np.corrcoef(values[cells], values.T[cells])[0, 1])
    assert verdict.details["rank_correlation"] == pytest.approx(
        stats.spearmanr(values[cells], values.T[cells]).statistic
    )
    assert verdict.details["rank_correlation_low"] < verdict.details["rank_correlation"]


def test_symmetry_of_worlds_is_the_mean_over_worlds_however_many_there_are():
    few, many = (square_worlds(count) for count in (8, 40))
    verdict = Symmetry().evaluate(few, 0)
    own = [few.values[6 * w : 6 * w + 6, 6 * w : 6 * w + 6] for w in range(8)]
    cells = ~np.eye(6, dtype=bool)
    expected = np.mean([np.corrcoef(one[cells], one.T[cells])[0, 1] for one in own])
    assert np.sin(np.arcsin(verdict.findings[0].effect)) == pytest.approx(expected)
    assert Symmetry().evaluate(many, 0).findings[0].effect == pytest.approx(expected, abs=0.1)
    assert (verdict.findings[0].n, verdict.findings[0].unit) == (8, "worlds")


def square_worlds(count):
    """Six statements a world, half of whose influence on each other is mutual; other worlds are moved at random."""
    random = np.random.default_rng(0)
    n = 6 * count
    one, noise, other = random.normal(size=(3, n, n))
    world = np.arange(n) // 6
    own = world[:, None] == world[None, :]
    described = {"id": [f"s{i:03d}" for i in range(n)], "label": [""] * n, "world": world}
    relation = np.where(np.eye(n, dtype=bool), "direct", "unrelated")
    return annotated(np.where(own, one + one.T + noise, 3 * other), described, described, relation)


def test_excess_is_the_difference_of_the_two_symmetries():
    array = images(0)
    random = np.random.default_rng(0)
    skewed = array.copy(data=array.values + 0.2 * random.normal(size=array.shape))
    found = Symmetry().excess(skewed, array)
    one, two = (Symmetry().evaluate(one, 0).findings[0].effect for one in (skewed, array))
    assert found.effect == pytest.approx(one - two)
    assert found.high < 0
    assert Symmetry().excess(array, array).effect == 0
    with pytest.raises(NotApplicable, match="must have the probes of influence"):
        Symmetry().excess(skewed, images(0, probes=20))


def test_symmetry_judges_the_samples_that_are_both_whatever_stands_beside_them():
    array = images(0)
    beside = array.isel(probe=slice(3, None)).assign_coords(probe=np.arange(29))
    shared = array.isel(stimulus=slice(3, None), probe=slice(3, None))
    one, other = (Symmetry().evaluate(a, 0) for a in (beside, shared))
    assert repr(one.findings) == repr(other.findings)


def test_asymmetry_ratio_is_that_of_the_norms_off_the_diagonal():
    array = images(0)
    values = np.random.default_rng(0).normal(size=array.shape)
    details = Symmetry().evaluate(array.copy(data=values), 0).details
    pairs = [(i, j) for i in range(len(values)) for j in range(len(values)) if i != j]
    apart = sum((values[i, j] - values[j, i]) ** 2 for i, j in pairs)
    together = sum((values[i, j] + values[j, i]) ** 2 for i, j in pairs)
    assert details["asymmetry_ratio"] == pytest.approx(np.sqrt(apart / together))
    assert details["symmetric_share"] == pytest.approx(together / (apart + together))


def test_symmetry_needs_three_classes_with_samples_that_are_both():
    with pytest.raises(NotApplicable, match="both stimulus and probe must be at least 3, got 2"):
        Symmetry().evaluate(images(0).isel(probe=slice(0, 8)), 0)


def test_array_that_varies_on_its_diagonal_only_has_no_symmetry_to_judge():
    array = images(0)
    verdict = Symmetry().evaluate(array.copy(data=np.diag(np.arange(len(array), dtype=float))), 0)
    assert verdict.outcome() == INCONCLUSIVE
    assert "does not vary" in verdict.note


# Distance decay


def test_influence_that_grows_with_distance_violates_decay():
    array = images(0)
    verdict = DistanceDecay().evaluate(array.copy(data=array["distance_position"].values), 0)
    assert verdict.outcome() == VIOLATED
    assert {found.how for found in verdict.findings} == {REVERSED}
    assert finding(verdict, "between_classes_position").effect == pytest.approx(-1)
    assert np.isnan(verdict.details["decay_length"])


def test_decay_within_a_class_is_scipys_spearman_less_that_of_stimuli_of_other_classes():
    array = images(3, jitter=0.3)
    size, distance, label = abs(array.values), array["distance_position"].values, array["stimulus_class"].values
    by_class = []
    for one in np.unique(label):
        own, other = [], {k: [] for k in np.unique(label) if k != one}
        for i in np.flatnonzero(label == one):
            seen = (label == one) & (np.arange(len(label)) != i)
            own.append(-stats.spearmanr(size[i, seen], distance[i, seen]).statistic)
            for k in np.flatnonzero(label != one):
                ranks = stats.rankdata(size[k, label == one])[seen[label == one]]
                other[label[k]].append(-np.corrcoef(ranks, stats.rankdata(distance[i, seen]))[0, 1])
        by_class.append(np.mean(own) - np.mean([np.mean(values) for values in other.values()]))
    found = finding(DistanceDecay().evaluate(array, 0), "within_class_position")
    assert found.effect == pytest.approx(np.mean(by_class))
    assert (found.n, found.unit) == (8, "classes")


def test_decay_between_classes_is_the_correlation_of_what_regression_on_rows_and_columns_leaves():
    random = np.random.default_rng(0)
    moved, place = random.normal(size=(6, 6)) ** 2, random.normal(size=(6, 2))
    apart = np.linalg.norm(place[:, None] - place[None], axis=2)
    cells = ~np.eye(6, dtype=bool)
    rows, columns = np.nonzero(cells)
    design = np.concatenate([np.eye(6)[rows], np.eye(6)[columns]], axis=1)
    left = [
        ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
        for ranks in (stats.rankdata(moved[cells]), stats.rankdata(-apart[cells]))
    ]
    assert decay_between(moved, apart) == pytest.approx(np.corrcoef(*left)[0, 1])
    assert decay_between(np.exp(-apart), apart) == pytest.approx(1)
    assert np.isnan(decay_between(moved[:3, :3], apart[:3, :3]))


def test_being_of_one_class_is_no_decay():
    """A learner that moves its class, wherever in it a sample lies, and nothing else."""
    array = images(0)
    same_class = array["distance_class"].values == 0
    moved = same_class + 0.05 * np.random.default_rng(0).normal(size=array.shape)
    assert DistanceDecay().evaluate(array.copy(data=moved), 0).outcome() != SATISFIED
    with pytest.raises(NotApplicable, match="must be one of position, got 'class'"):
        DistanceDecay(distance="class").evaluate(array, 0)


def test_decay_length_is_found_again():
    array = images(0, classes=8, samples=12)
    distance = array["distance_position"].values
    for length in (0.7, 2.0):
        verdict = DistanceDecay().evaluate(array.copy(data=5 * np.exp(-distance / length) + 2), 0)
        assert verdict.details["decay_length"] == pytest.approx(length, rel=0.1)


def test_distance_can_be_chosen_and_a_wrong_name_says_which_there_are():
    array = images(0)
    array = array.assign_coords(distance_pixel=array["distance_position"] ** 2)
    assert DistanceDecay(distance="pixel").evaluate(array, 0).findings[0].statistic == "within_class_pixel"
    with pytest.raises(NotApplicable, match="must be one of pixel, position, got 'colour'"):
        DistanceDecay(distance="colour").evaluate(array, 0)
    with pytest.raises(NotApplicable, match="must have a distance"):
        DistanceDecay().evaluate(images(0).drop_vars(["distance_class", "distance_position"]), 0)


def test_features_are_the_distance_of_images_before_pixels_and_never_the_class():
    array = images(0).rename(distance_position="distance_pixel").assign_attrs(distance="class")
    assert DistanceDecay().evaluate(array, 0).findings[0].statistic == "within_class_pixel"
    both = array.assign_coords(distance_feature=array["distance_pixel"])
    assert DistanceDecay().evaluate(both, 0).findings[0].statistic == "within_class_feature"


def test_distances_to_other_worlds_do_not_count():
    array = worlds(0)
    own = array["stimulus_world"].values[:, None] == array["probe_world"].values[None, :]
    without = array.assign_coords(distance_path=array["distance_path"].where(own))
    one, other = (DistanceDecay().evaluate(each, 0) for each in (array, without))
    assert repr(one.findings) == repr(other.findings)
    assert one.outcome() == SATISFIED


def test_probe_of_the_world_without_a_distance_is_further_away_than_all_that_have_one():
    array = worlds(0)
    far = array["distance_path"].values > 1
    one, other = (
        DistanceDecay().evaluate(array.assign_coords(distance_path=(array.dims, np.where(far, value, 1.0))), 0)
        for value in (np.nan, 50.0)
    )
    assert one.findings[0].effect == pytest.approx(other.findings[0].effect)


@pytest.mark.parametrize("make", [worlds, images])
def test_array_in_which_all_stimuli_do_the_same_is_neither_near_nor_sparse(make):
    array = make(0)
    profile = np.random.default_rng(0).exponential(size=array.sizes["probe"])
    noise = 0.01 * np.random.default_rng(1).normal(size=array.shape)
    alike = array.copy(data=profile[None, :] + noise)
    for desideratum in (DistanceDecay(), Sparsity()):
        verdict = desideratum.evaluate(alike, 0)
        assert verdict.outcome() != SATISFIED
        assert all(abs(found.effect) < 0.35 for found in verdict.findings)


@pytest.mark.parametrize("make", [worlds, ontology])
@pytest.mark.parametrize("desideratum", [DistanceDecay(), Sparsity()])
def test_effect_is_the_same_however_many_worlds_there_are(make, desideratum):
    few, many = (desideratum.evaluate(make(0, count=count), 0) for count in (8, 32))
    for found, again in zip(few.findings, many.findings):
        assert found.effect == pytest.approx(again.effect, abs=0.06)


# Sparsity


def test_average_precision_agrees_with_scikit_learn_and_is_zero_by_chance():
    random = np.random.default_rng(0)
    right = np.array([True, False, True, False, False, True])
    scores = random.normal(size=(5, 6))
    expected = [average_precision_score(right, row) for row in scores]
    np.testing.assert_allclose(ranked_precision(scores, right), expected)
    by_chance = np.mean(ranked_precision(random.normal(size=(20_000, 6)), right))
    assert expected_precision(np.array([3]), np.array([3]))[0] == pytest.approx(by_chance, abs=0.005)
    assert average_precision(right[None] * 2.0, right)[0] == 1


def test_average_precision_of_ties_is_the_mean_over_their_orders():
    right, tied = np.array([True, False, True, False]), np.array([[2.0, 1.0, 1.0, 1.0]])
    orders = [average_precision_score(right, tied[0] + 0.1 * np.array([0, *p])) for p in permutations(range(3))]
    assert ranked_precision(tied, right)[0] == pytest.approx(np.mean(orders))
    assert average_precision(np.ones((1, 4)), right)[0] == pytest.approx(0)


def test_average_precision_leaves_missing_scores_out():
    right = np.array([True, False, True, False, False])
    scores = np.array([[3.0, np.nan, 1.0, 2.0, np.nan]])
    assert average_precision(scores, right)[0] == average_precision(scores[:, [0, 2, 3]], right[[0, 2, 3]])[0]


def test_dense_array_violates_sparsity():
    array = worlds(0)
    dense = 1 + 0.02 * np.random.default_rng(0).normal(size=array.shape)
    verdict = Sparsity().evaluate(array.copy(data=dense), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.details["hoyer"] == pytest.approx(0, abs=0.01)


def test_dense_array_that_moves_the_right_probes_a_little_more_is_not_sparse():
    array = worlds(0, direct=1.25, entailed=1.25, foil=1.0, converse=1.0, unrelated=1.0, jitter=0.01)
    verdict = Sparsity().evaluate(array, 0)
    assert finding(verdict, "precision_same_subject").verdict(0.05) == SATISFIED
    assert finding(verdict, "concentration").verdict(0.05) == VIOLATED


def test_array_that_moves_the_foils_violates_sparsity():
    verdict = Sparsity().evaluate(worlds(0, count=20, entailed=0.0, same_subject=1.0), 0)
    assert finding(verdict, "precision_same_subject").verdict(0.05) == VIOLATED
    assert finding(verdict, "precision_same_subject").how == REVERSED
    assert finding(verdict, "concentration").verdict(0.05) == SATISFIED


def test_images_that_move_other_classes_violate_sparsity():
    array = images(0)
    wrong = np.where(array["relation"].values == "unrelated", np.random.default_rng(0).exponential(size=array.shape), 0)
    verdict = Sparsity().evaluate(array.copy(data=wrong), 0)
    assert finding(verdict, "precision_other_classes").verdict(0.05) == VIOLATED


def test_precision_is_one_where_nothing_else_moves_and_zero_where_all_move_alike():
    array = images(0)
    noise = 1e-6 * np.random.default_rng(0).random(array.shape)
    right = array.copy(data=(array["relation"].values != "unrelated") * -3.0 + noise)
    assert finding(Sparsity().evaluate(right, 0), "precision_other_classes").effect == pytest.approx(1)
    even = array.copy(data=np.where(np.random.default_rng(0).random(array.shape) < 0.5, -1.0, 1.0))
    assert finding(Sparsity().evaluate(even, 0), "precision_other_classes").effect == pytest.approx(0, abs=1e-12)


def test_what_is_stated_carries_no_test_of_what_follows():
    """A learner by heart moves what is stated, and nothing that follows."""
    verdict = Sparsity().evaluate(worlds(0, count=20, entailed=0.0, converse=0.0), 0)
    assert abs(finding(verdict, "precision_same_words").effect) < 0.3
    assert verdict.outcome() != SATISFIED


def test_stimuli_that_moved_nothing_are_not_counted_as_sparse():
    array = worlds(0)
    array.values[:1] = 0
    assert {found.n for found in Sparsity().evaluate(array, 0).findings} == {7}
    array.values[2:] = 0
    with pytest.raises(NotApplicable, match="stimuli that moved a probe must be at least 3, got 1"):
        Sparsity().evaluate(array, 0)


# Noise invariance


def test_noise_blind_array_violates_noise_invariance():
    verdict = NoiseInvariance().evaluate(noisy_images(0, blind=True), 0)
    assert verdict.outcome() == VIOLATED
    assert verdict.details["ratio_at_1"] == pytest.approx(1, abs=0.02)


def test_symmetric_effect_of_noise_teaches_less_but_is_not_asymmetric():
    array = noisy_images(0, blind=True)
    weight = np.exp(-array["stimulus_sigma"].values)
    itself = np.eye(len(array), dtype=bool)
    values = np.where(itself, array.values, array.values * weight[:, None] * weight[None, :])
    verdict = NoiseInvariance().evaluate(array.copy(data=values), 0)
    assert finding(verdict, "taught_less_per_nat").verdict(0.05) == SATISFIED
    assert finding(verdict, "asymmetry_per_nat").verdict(0.05) == VIOLATED


def test_stimulus_that_moves_everything_more_teaches_as_little_per_nat():
    """A larger gradient scales a row: at equal rate it hides what noise takes away, per nat it does not matter."""
    array = noisy_images(0)
    scale = 1 + 3 * array["stimulus_sigma"].values
    plain, larger = (NoiseInvariance().evaluate(one, 0) for one in (array, array * scale[:, None]))
    for found, again in zip(plain.findings, larger.findings):
        assert found.effect == pytest.approx(again.effect)
    assert larger.details["taught_less_at_equal_rate"] < 0 < plain.details["taught_less_at_equal_rate"]
    assert larger.details["taught_less_at_equal_rate_high"] < 0


def test_noise_statistics_are_the_means_over_pairs_written_out():
    array = noisy_images(3)
    sigma, source, label = (array[f"stimulus_{name}"].values for name in ("sigma", "source", "class"))

    def teaches(a, b):
        rows, columns = np.flatnonzero(sigma == a), np.flatnonzero(sigma == b)
        pairs = [(i, j) for i in rows for j in columns if label[i] == label[j] and source[i] != source[j]]
        return np.mean([array.values[i, j] for i, j in pairs])

    strength = {a: array.values.diagonal()[sigma == a].mean() for a in LEVELS}
    verdict = NoiseInvariance().evaluate(array, 0)
    for ending, by in (("at_equal_rate", dict.fromkeys(LEVELS, 1.0)), ("per_nat", strength)):
        less = [1 - teaches(a, 0) / by[a] / (teaches(0, 0) / by[0]) for a in LEVELS[1:]]
        ends = [(teaches(0, a) / by[0], teaches(a, 0) / by[a]) for a in LEVELS[1:]]
        skew = [(one - other) / (abs(one) + abs(other)) for one, other in ends]
        known = {f.statistic: f.effect for f in verdict.findings} | verdict.details
        assert known[f"taught_less_{ending}"] == pytest.approx(np.mean(less))
        assert known[f"asymmetry_{ending}"] == pytest.approx(np.mean(skew))
        assert known[f"ratio{'_per_nat' * (ending == 'per_nat')}_at_0.5"] == pytest.approx(1 - less[0])
    assert verdict.details["strength_at_1"] == pytest.approx(strength[1.0])


def test_noise_invariance_with_other_probes_than_stimuli_needs_the_stimuli_among_the_probes_for_their_strength():
    array = noisy_images(0, samples=8)
    even = np.array([int(source[-3:]) % 2 == 0 for source in array["stimulus_source"].values])
    beside = array.isel(stimulus=np.flatnonzero(even))
    verdict = NoiseInvariance().evaluate(beside, 0)
    assert verdict.outcome() == SATISFIED
    assert verdict.findings[0].n == 8
    apart = beside.isel(probe=np.flatnonzero(~even))
    verdict = NoiseInvariance().evaluate(apart, 0)
    assert verdict.outcome() == INCONCLUSIVE
    assert np.isfinite(verdict.details["taught_less_at_equal_rate"])


def test_noise_of_the_probes_widens_the_interval_only_where_they_are_units_too():
    whole = noisy_images(0, classes=1, samples=12)
    learns = 2 + np.random.default_rng(0).random((1, whole.sizes["probe"]))
    whole = whole.copy(data=np.repeat(learns, len(whole), axis=0))
    even = np.array([int(source[-3:]) % 2 == 0 for source in whole["stimulus_source"].values])
    apart = whole.isel(stimulus=np.flatnonzero(even), probe=np.flatnonzero(~even))
    for array, widens in ((whole, True), (apart, False)):
        details = NoiseInvariance().evaluate(array, 0).details
        width = details["asymmetry_at_equal_rate_high"] - details["asymmetry_at_equal_rate_low"]
        assert (width > 1e-3) == widens


def test_noise_invariance_needs_noise():
    with pytest.raises(NotApplicable, match=r"stimulus_sigma, got none\. This desideratum needs perturbation=noise"):
        NoiseInvariance().evaluate(images(0), 0)
    array = noisy_images(0)
    with pytest.raises(NotApplicable, match="sigma must be 0 and at least one level above it"):
        NoiseInvariance().evaluate(array.isel(probe=np.flatnonzero(array["probe_sigma"].values == 0)), 0)


@pytest.mark.parametrize("level", [None, 1.0])
def test_noise_invariance_where_too_little_was_taught_has_no_verdict_and_says_so(level):
    array = noisy_images(0)
    noise = np.random.default_rng(0).normal(size=array.shape)
    untaught = np.full(len(array), True) if level is None else array["stimulus_sigma"].values == level
    verdict = NoiseInvariance().evaluate(array.copy(data=np.where(untaught[:, None], noise, array.values)), 0)
    assert verdict.outcome() == INCONCLUSIVE
    assert "there is nothing to compare" in verdict.note
    assert ("sigma = 1" in verdict.note) == (level is not None)


@pytest.mark.parametrize("name", ["symmetry", "distance_decay", "sparsity"])
def test_other_desiderata_judge_the_clean_samples_of_a_noisy_array(name):
    array = noisy_images(0, classes=6, samples=3)
    of_clean = np.flatnonzero(array["stimulus_sigma"].values == 0)
    clean = array.isel(stimulus=of_clean, probe=of_clean)
    desideratum = ORACLES[name][0]()
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
        assert desideratum().evaluate(array.copy(data=values), 0).outcome() != SATISFIED


@pytest.mark.parametrize("name", ORACLES)
def test_options_out_of_range_name_field_rule_and_value(name):
    with pytest.raises(ConfigError, match=r"desideratum\.\w+\.alpha must be above 0, got 0"):
        ORACLES[name][0](alpha=0)
