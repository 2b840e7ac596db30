"""Reference learners do what their rules say, and their controls take away what they must."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from eif_lab import annotate, load_task
from eif_lab.data.contrast import less_control, strength_weights
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.desiderata.selection import clean, foils, neutral, same_sample, texts, with_probe_numbers
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.learners import RULES, imitate
from eif_lab.perturbations.noise import Noise

NAMES = [domain.__name__.lower() for domain in DOMAINS]


@cache
def blank(name, **options):
    task = load_task(name, **(options or {"worlds": 5}))
    return with_probe_numbers(annotate(np.zeros(task.relation.shape), task))


@cache
def noisy(name, **options):
    task = Noise(levels=[0.25, 0.5]).apply(load_task(name, **options), 0)
    return annotate(np.zeros(task.relation.shape), task)


def made(rule, array, noise=0.0, seed=0):
    return imitate(array, rule, noise, seed)


def by_relation(array, relation):
    return array.values[texts(array, "relation") == relation]


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_learner_follows_the_relations(name):
    array = made("perfect", blank(name))
    for relation, value in {"direct": 1, "entailed": 1, "contradicted": -1}.items():
        assert (by_relation(array, relation) == value).all()
    assert (by_relation(array, "foil") == 0).all() and (by_relation(array, "converse") == 0).all()
    assert (array.values[neutral(array)] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_of_what_the_perfect_learner_is_taught_its_strength_is_one(name):
    array = clean(blank(name))
    weights = strength_weights(texts(array, "relation"), foils(array), same_sample(array))
    assert (weights * made("perfect", array).values).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("rule", ["bag_of_words", "copying"])
@pytest.mark.parametrize("name", NAMES)
def test_the_control_takes_away_all_that_words_alone_do(name, rule):
    array = clean(blank(name))
    values = made(rule, array).values
    assert values[same_sample(array)] == pytest.approx(1)
    held = less_control(values, foils(array))
    assert held[np.isfinite(held)] == pytest.approx(0, abs=1e-12)


def test_a_bag_of_words_knows_no_order():
    array = blank("ontology")
    turned = [" ".join(reversed(label.split())) for label in texts(array, "stimulus_label")]
    other = array.assign_coords(stimulus_label=("stimulus", turned))
    assert np.array_equal(made("bag_of_words", array), made("bag_of_words", other))


def test_a_bag_of_words_counts_words_that_say_something():
    array = blank("ontology")
    other_worlds = array["stimulus_world"].values[:, None] != array["probe_world"].values[None]
    assert (made("bag_of_words", array).values[other_worlds] == 0).all()


def test_copying_goes_by_the_answer_alone():
    array = made("copying", blank("ontology"))
    answers = [label.rpartition("|")[2] for label in texts(array, "probe_label")]
    for answer in set(answers):
        same = array.values[:, [one == answer for one in answers]]
        assert (same == same[:, :1]).all()


def test_format_teaches_every_stimulus_alike_and_the_stated_form_more():
    array = made("format", blank("ontology"))
    assert (array.values == array.values[:1]).all()
    stated = (texts(array, "relation") == "direct").any(axis=0) & (texts(array, "probe_form") == "cloze")
    statements = texts(array, "probe_form") == "statement"
    assert array.values[0, stated].min() >= 0.5 >= array.values[0, statements].max()


def test_blind_to_negation_is_perfect_but_for_the_sign():
    blind, perfect = (made(rule, blank("negation")) for rule in ("negation_blind", "perfect"))
    assert (by_relation(blind, "contradicted") == 1).all()
    assert np.array_equal(np.abs(perfect), blind)
    of_images = (made(rule, blank("digits", stimuli=20, probes=20)) for rule in ("negation_blind", "perfect"))
    assert np.array_equal(*of_images)


def test_symmetric_reads_the_converse_like_the_entailed():
    array = made("symmetric", blank("ontology"))
    assert (by_relation(array, "converse") == 1).all()
    assert (by_relation(array, "foil") == 0).all()


def test_symmetric_is_symmetric_among_samples_that_are_both():
    array = made("symmetric", noisy("digits", stimuli=30, probes=30)).values
    assert np.array_equal(array, array.T)


def test_faint_learns_what_is_stated_and_passes_on_little():
    array = made("faint", blank("negation"))
    assert (by_relation(array, "direct") == 1).all()
    assert (by_relation(array, "entailed") == 0.05).all() and (by_relation(array, "contradicted") == -0.05).all()


def test_images_rise_by_their_nearness_and_other_classes_by_that_of_theirs():
    array = blank("digits", stimuli=60, probes=60)
    values, distance = made("perfect", array).values, array["distance_pixel"].values
    same = same_sample(array)
    classes = array["stimulus_class"].values[:, None], array["probe_class"].values[None]
    within, between = (classes[0] == classes[1]) & ~same, classes[0] != classes[1]
    assert (values[same] == 1).all()
    assert values[within].min() > 0 >= values[between].max() and values[within].min() > -values[between].min()
    order = np.argsort(distance[within])
    assert (np.diff(values[within][order]) <= 1e-9).all()
    of_classes = values[(classes[0] == 3) & (classes[1] == 8)]
    assert np.ptp(of_classes) == 0


def test_a_noisy_stimulus_teaches_others_less_the_noisier_it_is_and_itself_as_much():
    array = made("perfect", noisy("digits", stimuli=30, probes=30))
    sigma, entailed = array["stimulus_sigma"].values, texts(array, "relation") == "entailed"
    of_levels = [array.values[sigma == level][entailed[sigma == level]].mean() for level in (0, 0.25, 0.5)]
    assert of_levels[0] > of_levels[1] > of_levels[2] > 0
    assert (by_relation(array, "direct") == 1).all()


@pytest.mark.parametrize("rule", ["bag_of_words", "copying"])
def test_what_goes_by_words_refuses_images_in_one_line(rule):
    with pytest.raises(NotApplicable, match="rule must be one that needs no words") as refused:
        made(rule, blank("digits", stimuli=20, probes=20))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_seed_gives_the_same_array_and_noise_is_as_large_as_said(rule):
    array = blank("negation")
    one, again, other = (made(rule, array, 0.3, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    noise = one.values - made(rule, array, 0.0).values
    assert noise.std() == pytest.approx(0.3, rel=0.05) and abs(noise.mean()) < 0.01


def test_dims_coordinates_and_values_of_the_array_do_what_they_should():
    plain = blank("ontology")
    whole = plain.expand_dims(seed=[0, 1], readout=["log_prob", "prob"]).transpose(
        "probe", "seed", "stimulus", "readout"
    )
    array = made("perfect", whole + 7, noise=0.1)
    assert array.dims == whole.dims and set(array.coords) == set(whole.coords)
    assert np.allclose(array.mean(("seed", "readout")).transpose(*plain.dims), made("perfect", plain), atol=0.4)
    assert not np.allclose(array.isel(seed=0), array.isel(seed=1))
    assert (array.attrs["learner"], array.attrs["model"]) == ("perfect", "reference learner: perfect")


def test_an_order_of_probes_changes_no_value():
    array = blank("compositionality")
    turned = array.isel(probe=slice(None, None, -1), stimulus=slice(None, None, -1))
    for rule in set(RULES) - {"format"}:  # whose levels are drawn in the order of the probes
        assert np.array_equal(made(rule, array), made(rule, turned)[::-1, ::-1])


def test_a_mistake_is_one_line():
    array = blank("ontology")
    with pytest.raises(ConfigError, match=r"rule must be one of .*got 'perfekt'"):
        made("perfekt", array)
    with pytest.raises(ConfigError, match="noise must be a number that is at least 0, got -1"):
        made("perfect", array, -1)
    with pytest.raises(NotApplicable, match="must have the coordinate relation"):
        made("perfect", array.drop_vars("relation"))
