"""Verdicts in plain words."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from knowledge_arrays import ontology, worlds

from eif_lab.desiderata import wording
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.negation import Negation
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.desiderata.wording import explain


def one(statistic, effect, how="satisfied", threshold=0.1):
    low, high = {"reversed": (-2, -1), "absent": (-0.1, 0.1), "short": (0.01, 0.09)}.get(how, (effect, effect))
    p_value, p_violated = (0.001, 0.999) if how == "satisfied" else (0.999, 0.001)
    return Finding(statistic, effect, low, high, p_value, 20, "worlds", threshold, p_violated)


def test_examples_in_the_docstrings_are_true():
    assert doctest.testmod(wording).failed == 0 < doctest.testmod(wording).attempted


def test_satisfied_verdict_says_all_that_it_rests_on():
    said = explain(Logic().evaluate(worlds(0, jitter=0.0), 0))
    assert "what follows rises by 0." in said and "nat more than sentences that do not follow" in said
    assert "70 % of what was taught arrives at what follows (bar 10 %)" in said
    assert "the converse gets 10 % of what was taught (at most 50 %)" in said


@pytest.mark.parametrize(
    ("how", "words"),
    [("reversed", "the wrong way round"), ("absent", "not above chance"), ("short", "above chance but too little")],
)
def test_violated_verdict_says_what_fails_and_how(how, words):
    said = explain(Verdict("logic", "", [one("gain", 0.3, threshold=0.0), one("reach", 0.04, how)], 0.05))
    assert said == f"Violated: 4 % of what was taught arrives at what follows (bar 10 %), {words}."


def test_converse_that_rises_is_told_as_such():
    said = explain(Logic().evaluate(worlds(0, jitter=0.0, converse=0.9, count=20), 0))
    assert said == "Violated: the converse gets 90 % of what was taught (at most 50 %)."


def test_fall_is_told_with_its_direction_and_unit():
    said = explain(Negation().evaluate(ontology(0, contradicted=0.5, jitter=0.01), 0), unit="probability")
    assert said.startswith("Violated: what is contradicted rises by 0.") and "probability more than" in said


def test_open_verdict_says_why():
    untaught = explain(Logic().evaluate(worlds(1, direct=0.0), 0))
    assert untaught.startswith("No verdict: strength is not clearly above zero (")
    assert "%" not in untaught  # shares of a strength that may be zero mean nothing
    assert "5 worlds are too few for a verdict" in explain(Logic().evaluate(worlds(0, count=5), 0))
    unclear = Finding("reach", 0.12, 0.05, 0.2, 0.3, 20, "worlds", 0.1, 0.7)
    assert explain(Verdict("logic", "", [unclear], 0.05)).endswith("; 20 worlds do not decide on reach.")


@pytest.mark.parametrize(
    ("statistic", "words"),
    [
        ("correlation", "what one sample teaches another and what it is taught by it correlate by 0.25 (bar 0.1)"),
        ("rank_correlation_path", "within a world, influence grows with nearness (path) with a correlation of 0.25"),
        ("within_class_feature", "within a class, influence grows with nearness (feature)"),
        ("between_classes_pixel", "between classes, influence grows with nearness (pixel)"),
        ("precision_same_words", "from same words 25 % of the way from chance to perfect (bar 10 %)"),
        ("concentration", "influence is 0.25 more concentrated than that of other stimuli (bar 0.1)"),
        ("taught_less_per_nat", "noise takes away 25 % of what is passed on per nat (bar 10 %)"),
        ("asymmetry_per_nat", "clean teaches noisy 25 % more than the reverse per nat (bar 10 %)"),
    ],
)
def test_findings_of_the_other_desiderata_have_sentences_too(statistic, words):
    assert words in explain(Verdict("x", "", [one(statistic, 0.25)], 0.05))


def test_statistic_without_a_sentence_is_told_by_name_and_one_without_a_value_too():
    assert "of the moon is 0.25 (bar 0.1)" in explain(Verdict("x", "", [one("of_the_moon", 0.25)], 0.05))
    undefined = Finding("reach", np.nan, np.nan, np.nan, np.nan, 20, "worlds", 0.1)
    assert "reach is not defined" in explain(Verdict("x", "", [undefined], 0.05))
