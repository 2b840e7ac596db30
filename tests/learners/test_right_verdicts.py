"""Verdicts on the reference learners are the right ones: a perfect learner's satisfied, a bag of words' never."""

from __future__ import annotations

import pytest

from benchmarks.learners import LearnerVerdict, blank, describe, document, learner_verdicts, sources
from eif_lab import judge
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, SHORT, VIOLATED
from eif_lab.learners import RULES, imitate
from eif_lab.learners.right import OPEN, right_verdict

REAL = ("relations", "fictional_knowledge", "proofwriter", "prontoqa", "mnist")
SMALL = [source.name for source in sources(10)]


def verdicts(source: str, worlds: int, noise: float, rules=RULES) -> list[LearnerVerdict]:
    return [one for rule in rules for one in learner_verdicts(source, worlds, noise, rule)]


def needs(source: str, request: pytest.FixtureRequest) -> None:
    if source.startswith(REAL):
        request.getfixturevalue("real_data")


@pytest.mark.parametrize("source", [name for name in SMALL if not name.startswith("mnist")])
def test_what_must_not_be_satisfied_is_not_and_a_perfect_learner_is_violated_nowhere(source, request):
    needs(source, request)
    found = verdicts(source, 10, 0.1)
    assert found
    wrong = [describe(one) for one in found if one.wrong]
    assert not wrong


@pytest.mark.parametrize("source", SMALL)
def test_a_perfect_learner_is_satisfied_everywhere_from_twenty_worlds_on(source, request):
    needs(source, request)
    found = verdicts(source, 20, 0.1, ["perfect"])
    decided = [one for one in found if one.right != OPEN]
    assert {one.right for one in decided} <= {SATISFIED, INCONCLUSIVE}
    assert [describe(one) for one in decided if one.given != one.right] == []
    assert any(one.right == SATISFIED for one in found)


@pytest.mark.parametrize(
    ("rule", "desideratum", "source"),
    [
        ("negation_blind", "negation", "ontology"),
        ("symmetric", "logic", "ontology"),
        ("symmetric", "noise_invariance", "digits, noisy"),
        ("faint", "logic", "ontology"),
        ("faint", "negation", "ontology"),
        ("format", "symmetry", "digits"),
        ("format", "sparsity", "digits"),
    ],
)
def test_each_learner_violates_what_it_was_made_to_violate(rule, desideratum, source):
    found = {one.verdict.desideratum: one for one in verdicts(source, 20, 0.02, [rule])}
    assert found[desideratum].right == found[desideratum].given == VIOLATED


@pytest.mark.parametrize(("desideratum", "statistic"), [("logic", "reach"), ("negation", "gap")])
def test_what_a_faint_learner_passes_on_is_above_chance_and_short_of_the_bar(desideratum, statistic):
    found = {one.verdict.desideratum: one.verdict for one in verdicts("implication", 20, 0.02, ["faint"])}
    failing = found[desideratum].failing
    assert (failing.statistic, failing.how) == (statistic, SHORT)


def test_of_a_faint_learner_negation_is_open_where_no_stimulus_both_entails_and_contradicts():
    array = blank("negation", 10, 0)
    relation = array["relation"]
    only = array.assign_coords(relation=relation.where(relation != "entailed", "unrelated"))
    assert right_verdict("faint", "negation", array) == VIOLATED
    assert right_verdict("faint", "negation", only) == OPEN


@pytest.mark.parametrize("rule", ["bag_of_words", "format", "copying"])
def test_learners_of_words_and_of_form_have_no_verdict_on_texts(rule):
    for one in verdicts("compositionality", 10, 0.1, [rule]):
        assert one.given == one.right == INCONCLUSIVE
        assert "strength is not clearly above zero" in one.verdict.note


@pytest.mark.parametrize("foil", ["same_subject", "same_words"])
def test_with_one_foil_instead_of_three_a_bag_of_words_would_be_satisfied(foil):
    array = blank("compositionality", 10, 0)
    others = [name for name in array.coords if str(name).startswith("foil_") and name != f"foil_{foil}"]
    (verdict,) = judge(imitate(array.drop_vars(others), "bag_of_words"), "logic")
    assert verdict.outcome() == SATISFIED


def test_a_test_that_is_satisfied_wrongly_is_told_on_the_page():
    found = verdicts("negation", 10, 0.1, ["perfect", "negation_blind"])
    blind = next(one for one in found if (one.rule, one.verdict.desideratum) == ("negation_blind", "negation"))
    assert "**0** are satisfied where they must not be" in document(found)
    satisfied = next(one for one in found if one.rule == "perfect" and one.verdict.desideratum == "negation").verdict
    wrong = LearnerVerdict(blind.source, blind.worlds, blind.noise, blind.rule, blind.right, satisfied)
    assert wrong.wrong and "**1** are satisfied where they must not be" in document([*found, wrong])


def test_negation_is_right_for_who_sees_no_negation_where_none_is_contradicted():
    array = blank("digits", 10, 0)
    assert right_verdict("negation_blind", "symmetry", array) == SATISFIED
    assert right_verdict("negation_blind", "negation", blank("negation", 10, 0)) == VIOLATED
