"""Contrasts against loops written out, and against all that must cancel."""

from __future__ import annotations

import numpy as np
import pytest

from eif_lab.data.contrast import foil_weights, has_foils, less_control, strength_weights

STIMULI, SUBJECTS, ANSWERS = 4, 3, 5


def subject_of(probe):
    return probe // ANSWERS


def answer_of(probe):
    return probe % ANSWERS


@pytest.fixture
def foils():
    """Probes are a subject with an answer; each has the next answer and the next subject as foils."""
    probes = np.arange(SUBJECTS * ANSWERS)
    other_answer, other_subject = (answer_of(probes) + 1) % ANSWERS, (subject_of(probes) + 1) % SUBJECTS
    columns = {
        "same_subject": subject_of(probes) * ANSWERS + other_answer,
        "same_words": other_subject * ANSWERS + answer_of(probes),
        "neither": other_subject * ANSWERS + other_answer,
    }
    return {name: np.tile(column, (STIMULI, 1)) for name, column in columns.items()}


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(STIMULI, SUBJECTS * ANSWERS))


def test_probe_less_control_is_a_difference_of_differences(values, foils):
    found = less_control(values, foils)
    for i in range(STIMULI):
        for j in range(SUBJECTS * ANSWERS):
            subject, words, neither = (foils[name][i, j] for name in ("same_subject", "same_words", "neither"))
            here, there = values[i, j] - values[i, subject], values[i, words] - values[i, neither]
            assert found[i, j] == pytest.approx(here - there)


def test_what_is_added_to_a_stimulus_an_answer_or_a_subject_cancels(values, foils):
    random, probes = np.random.default_rng(1), np.arange(SUBJECTS * ANSWERS)
    of_answer, of_subject = random.normal(size=(STIMULI, ANSWERS)), random.normal(size=(STIMULI, SUBJECTS))
    added = of_answer[:, answer_of(probes)] + of_subject[:, subject_of(probes)]
    np.testing.assert_allclose(less_control(values + added, foils), less_control(values, foils), atol=1e-12)
    # Nothing is left, not even round-off, which would be tested as if it were a measurement.
    assert np.count_nonzero(less_control(added, foils)) == 0


@pytest.mark.parametrize("missing", ["same_subject", "same_words", "neither"])
def test_without_one_of_the_three_the_control_is_the_mean_of_those_that_differ_in_one_thing(values, foils, missing):
    foils[missing] = np.full_like(foils[missing], -1)
    left = [foils[name] for name in ("same_subject", "same_words") if name != missing]
    expected = values - np.mean([np.take_along_axis(values, columns, axis=1) for columns in left], axis=0)
    np.testing.assert_allclose(less_control(values, foils), expected)


def test_cell_without_foils_has_no_control(values, foils):
    for columns in foils.values():
        columns[0, 2] = -1
    foils["same_subject"][1, 3] = foils["same_words"][1, 3] = -1  # what differs in everything is no control alone
    found = less_control(values, foils)
    assert (
        np.argwhere(np.isnan(found)).tolist()
        == [[0, 2], [1, 3]]
        == np.argwhere(~has_foils(foils, found.shape)).tolist()
    )
    assert np.isnan(less_control(values, {})).all() and not foil_weights({})


def test_strength_is_the_mean_of_the_stated_clozes_each_less_its_control(values, foils):
    relation = np.full(values.shape, "unrelated")
    relation[0, [2, 7]] = relation[1, 4] = relation[2, [5, 6]] = "direct"
    for columns in foils.values():
        columns[2, 5] = -1
    same = np.zeros(values.shape, dtype=bool)
    same[:, 0] = True
    strength = (strength_weights(relation, foils, same) * values).sum(axis=1)
    less = less_control(values, foils)
    # The second cloze of the third stimulus has no foils, and the last stimulus states none: it counts with itself.
    assert strength == pytest.approx([less[0, [2, 7]].mean(), less[1, 4], less[2, 6], values[3, 0]])


def test_stimulus_without_foils_counts_with_itself_else_with_what_it_states_else_not_at_all(values):
    relation = np.full(values.shape, "unrelated")
    relation[:3, [3, 4]] = "direct"
    same = np.zeros(values.shape, dtype=bool)
    same[0, 1] = True
    weights = strength_weights(relation, {}, same)
    strength = (weights * values).sum(axis=1)
    assert strength[:2] == pytest.approx([values[0, 1], values[1, [3, 4]].mean()])
    assert not weights[3].any()
