"""Sets of stimuli: what is drawn, what a set says about a probe, and what an array of sets can be held to."""

from __future__ import annotations

import numpy as np
import pytest

from eif_lab import annotate, judge, membership
from eif_lab.data.images.digits import Digits
from eif_lab.data.task import RELATED
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.data.worlds.logic import closure
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.library.strength import gauge_of
from eif_lab.perturbations.subsets import Subsets
from eif_lab.results.arrays import open_array, write_array


@pytest.fixture(scope="module")
def digits():
    return Digits(stimuli=12, probes=20).load(0)


@pytest.fixture(scope="module")
def ontology():
    return Ontology(worlds=8, stimuli_per_world=3).load(0)


def scores(task, seed=0):
    """As a perfect learner has them, with noise."""
    noise = np.random.default_rng(seed).normal(scale=0.1, size=task.relation.shape)
    return np.isin(task.relation, ("direct", "entailed")) + noise


def test_a_set_says_what_any_of_its_samples_says_and_is_as_near_as_the_nearest(ontology):
    task = Subsets(count=20, size=5).apply(ontology, 0)
    members, samples = task.stimuli.members, task.stimuli.samples
    assert members.shape == (20, 24) and not samples.coords["neutral"].any()
    plain = dict(zip(ontology.stimuli.ids.tolist(), range(len(ontology.stimuli))))
    for said, one, nearest in zip(task.relation, members, task.distances["path"], strict=True):
        rows = [plain[name] for name in samples.ids[one].tolist()]
        alone = ontology.relation[rows]
        for relation in RELATED:
            np.testing.assert_array_equal(said == relation, (alone == relation).any(axis=0))
        np.testing.assert_array_equal(said == "unrelated", (alone == "unrelated").all(axis=0))
        distances = ontology.distances["path"][rows]
        known = np.isfinite(distances).any(axis=0)
        np.testing.assert_array_equal(np.isnan(nearest), ~known)
        np.testing.assert_array_equal(nearest[known], np.nanmin(distances[:, known], axis=0))


def test_the_foils_of_a_set_say_nothing_that_the_set_says(ontology):
    task = Subsets(count=5, size=6).apply(ontology, 0)
    lost = 0
    for name, index in task.foils.items():
        sets, probes = np.nonzero(index >= 0)
        assert len(sets)
        assert not np.isin(task.relation[sets, index[sets, probes]], RELATED).any()
        lost += int((np.isin(task.relation, RELATED) & (index < 0)).sum())
        # every foil is that of one of the samples
        for s, j in zip(sets.tolist(), probes.tolist()):
            assert index[s, j] in ontology.foils[name][: 3 * 8][task.stimuli.members[s], j]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.__name__)
def test_what_follows_from_the_statements_of_a_world_together_follows_from_one_of_them(domain):
    """So that the union of what they say is all that the set says."""
    for world in domain(worlds=4, stimuli_per_world=3).draw_worlds(0):
        together = closure({*world.background, *(fact for case in world.cases for fact in case.facts)}, world.rules)
        assert together == set().union(*world.learnt)


def test_within_a_world_each_world_has_as_many_sets_of_its_own(ontology):
    task = Subsets(count=2, size=2, within="world").apply(ontology, 0)
    assert len(task.stimuli) == 16
    worlds = task.stimuli.samples.coords["world"]
    assert [set(worlds[one].tolist()) for one in task.stimuli.members] == [{w} for w in range(8) for _ in range(2)]
    np.testing.assert_array_equal(task.stimuli.coords["world"], np.repeat(range(8), 2))


def test_sets_follow_from_both_seeds(digits):
    first, again, data, own = (
        Subsets(count=6, seed=seed).apply(digits, data_seed).stimuli.members
        for data_seed, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert (first == again).all() and (first != data).any() and (first != own).any() and (data != own).any()


def test_the_membership_is_found_again_in_the_store(digits, tmp_path):
    task = Subsets(count=6, size=4).apply(digits, 0)
    write_array(tmp_path / "array", annotate(scores(task), task))
    found = membership(open_array(tmp_path / "array"))
    assert found.dims == ("stimulus", "sample") and found.dtype == bool
    np.testing.assert_array_equal(found.values, task.stimuli.members)
    assert found["sample"].values.tolist() == digits.stimuli.ids.tolist()
    with pytest.raises(ConfigError, match=r"influence must have sets of samples as rows, got 'one stimulus in each'"):
        membership(annotate(scores(digits), digits))


def test_logic_alone_is_asked_of_sets_of_one_world(ontology, caplog):
    caplog.set_level("INFO")
    task = Subsets(count=1, size=3, within="world").apply(ontology, 0)
    verdicts = {one.desideratum: one.outcome() for one in judge(annotate(scores(task), task))}
    assert verdicts.pop("logic") == "satisfied" and set(verdicts) <= {"negation"}
    assert "symmetry does not apply: influence must have one stimulus in each row, got sets." in caplog.text


def test_nothing_is_asked_of_sets_across_worlds_or_classes(ontology, digits, caplog):
    caplog.set_level("INFO")
    for plain in (ontology, digits):
        task = Subsets(count=8).apply(plain, 0)
        assert judge(annotate(scores(task), task)) == []
    assert "logic does not apply: influence must have samples of one world in each row" in caplog.text


def test_perfect_sets_are_satisfied_and_shuffled_ones_are_not(ontology):
    task = Subsets(count=2, size=2, within="world").apply(ontology, 0)
    [perfect] = judge(annotate(scores(task), task), "logic")
    assert perfect.outcome() == "satisfied" and perfect.findings[0].n == 8
    told = np.isin(task.relation, ("direct",)) + 0.05 * np.random.default_rng(1).normal(size=task.relation.shape)
    [copying] = judge(annotate(told, task), "logic")
    assert copying.outcome() != "satisfied"


def test_the_strength_of_a_set_is_the_mean_over_what_its_samples_state(ontology, digits):
    task = Subsets(count=1, size=3, within="world").apply(ontology, 0)
    gauge = gauge_of(task)
    alone = gauge_of(ontology)
    influence = np.random.default_rng(0).normal(size=(24, len(ontology.probes)))
    # of an influence that all samples of a world share, a set's strength is the mean of theirs
    shared = np.repeat(influence[::3], 3, axis=0)
    column = {name: j for j, name in enumerate(ontology.probes.ids.tolist())}
    ours = [column[name] for name in gauge.probes.ids.tolist()]
    theirs = [column[name] for name in alone.probes.ids.tolist()]
    whole = (gauge.yardstick.weights * influence[::3][:, ours]).sum(1)
    each = (alone.yardstick.weights * shared[:, theirs]).sum(1)
    np.testing.assert_allclose(whole, each.reshape(8, 3).mean(1))
    images = gauge_of(Subsets(count=5, size=4).apply(digits, 0))
    assert images.yardstick.weights.sum(1).tolist() == [1.0] * 5
    np.testing.assert_array_equal(images.yardstick.needed, images.stimuli.members)


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({"size": 13}, ConfigError, r"^perturbation.size must be from 1 to the 12 stimuli that there are, got 13"),
        ({"size": 12}, ConfigError, r"^perturbation.count must be from 1 to the 1 different sets of 12 of 12 stimuli"),
        (
            {"within": "world"},
            NotApplicable,
            r"perturbation.within must be null or another one where samples have no w",
        ),
    ],
)
def test_sets_that_cannot_be_had_are_one_line(digits, options, error, line):
    with pytest.raises(error, match=line):
        Subsets(**options).apply(digits, 0)
