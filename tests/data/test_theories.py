"""Theories with questions: the sets' answers against the rules, relations against forward chaining."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from eif_lab.data.theories import prontoqa, proofwriter
from eif_lab.data.theories.prontoqa import ProntoQA
from eif_lab.data.theories.proofwriter import ProofWriter
from eif_lab.data.theories.theory import FALSE, TRUE, UNKNOWN, Question, Sentence, Theory, answer, rounds, theory_task
from eif_lab.data.worlds.logic import Fact, Rule, closure
from eif_lab.errors import ConfigError


@pytest.fixture
def sets(real_data):
    """The two data sets with how each reads a sentence."""
    return {
        "proofwriter": (ProofWriter(theories=5, split="dev", root=str(real_data)), proofwriter.GRAMMAR.meaning),
        "prontoqa": (ProntoQA(theories=5, root=str(real_data)), prontoqa.GRAMMAR.meaning),
    }


def read(meaning, context):
    """Facts and rules of a text."""
    said = [meaning(sentence) for sentence in context.rstrip(".").split(". ")]
    return [one for one in said if isinstance(one, Fact)], [one for one in said if isinstance(one, Rule)]


def verdict(meaning, context, statement):
    """Whether a statement is true by a text, from the text alone."""
    known, asked = rounds(*read(meaning, context)), meaning(statement)
    return {(True, False): TRUE, (False, True): FALSE}.get((asked in known, asked.denied() in known), UNKNOWN)


@pytest.mark.parametrize(("name", "file", "meaning"), [
    ("proofwriter", "train", proofwriter.GRAMMAR.meaning), ("proofwriter", "dev", proofwriter.GRAMMAR.meaning),
    ("proofwriter", "test", proofwriter.GRAMMAR.meaning), ("prontoqa", "dev", prontoqa.GRAMMAR.meaning),
])  # fmt: skip
def test_the_rules_give_every_answer_that_the_set_gives(real_data, name, file, meaning):
    records = json.loads((real_data / "knowledge" / name / f"{file}.json").read_text())
    sample = [records[i] for i in np.random.default_rng(0).permutation(len(records))[:150]]
    for record in sample:
        statement = record["question"].rpartition("? ")[2]
        assert verdict(meaning, record["context"], statement) == proofwriter.LABELS[record["answer"]], record["id"]


@pytest.mark.parametrize("name", ["proofwriter", "prontoqa"])
def test_what_a_fact_says_about_a_probe_follows_from_the_texts(sets, name):
    """Every cell: what can be derived from the text before a question, with the stimulus and without."""
    dataset, meaning = sets[name]
    task = dataset.load(1)
    questions = np.flatnonzero(task.probes.coords["form"] == "question")
    worlds = task.stimuli.coords["world"]
    for i, j in itertools.product(range(0, len(task.stimuli), 2), questions[::3]):
        before, _, rest = task.probes.prompts[j].rpartition("Is the following")
        statement = rest.rpartition("? ")[2]
        claim = meaning(statement).denied() if task.probes.targets[j] == FALSE else meaning(statement)
        facts, rules = read(meaning, before.strip())
        known = rounds(facts, rules).keys()
        learnt = rounds([*facts, meaning(task.stimuli.targets[i])], rules).keys()
        own = worlds[i] == task.probes.coords["world"][j]
        new = {one in learnt for one in (claim, claim.denied())} == {True, False} and not known & {
            claim,
            claim.denied(),
        }
        open_ = (claim in learnt) == (claim.denied() in learnt)
        expected = (
            ("entailed" if claim in learnt else "contradicted") if new else "foil" if own and open_ else "unrelated"
        )
        if own and claim == meaning(task.stimuli.targets[i]):
            expected = "direct"
        assert task.relation[i, j] == expected


@pytest.mark.parametrize("name", ["proofwriter", "prontoqa"])
def test_every_theory_is_taught_one_fact_that_its_text_lacks(sets, name):
    task = sets[name][0].load(2)
    for i, stimulus in enumerate(task.stimuli.targets):
        own = task.probes.coords["world"] == task.stimuli.coords["world"][i]
        assert not any(stimulus in task.probes.prompts[j].partition("Is the")[0] for j in np.flatnonzero(own))
        assert {"direct", "entailed", "contradicted", "foil"} <= set(task.relation[i, own])
        assert task.probes.ids.tolist().count(task.stimuli.ids[i]) == 1
    assert len(set(task.probes.ids)) == len(task.probes)


@pytest.mark.parametrize("name", ["proofwriter", "prontoqa"])
def test_foils_cross_two_subjects_with_two_predicates_and_stay_open(sets, name):
    """All that a theory's own fact decides has them; whether they stay open is derived from the text anew."""
    dataset, meaning = sets[name]
    task = dataset.load(0)
    own = task.stimuli.coords["world"][:, None] == task.probes.coords["world"][None, :]
    decided = np.isin(task.relation, ["direct", "entailed", "contradicted"]) & own
    decided &= task.probes.coords["form"] == "question"
    statements = [prompt.rpartition("? ")[2] for prompt in task.probes.prompts]
    for places in task.foils.values():
        assert ((places >= 0) == decided).all()
    for i, j in np.argwhere(decided):
        context = f"{task.probes.prompts[j].partition(dataset.question)[0]}{task.stimuli.targets[i]}"
        crossed = [j, *(places[i, j] for places in task.foils.values())]
        assert len({task.probes.targets[k] for k in crossed}) == 1
        for k in crossed[1:]:
            assert task.relation[i, k] == "foil" and verdict(meaning, context, statements[k]) == UNKNOWN
        probe, subject, words, neither = (meaning(statements[k]) for k in crossed)
        assert probe.negated == subject.negated == words.negated == neither.negated
        assert probe.subject == subject.subject != words.subject == neither.subject
        assert probe[1:3] == words[1:3] != subject[1:3] == neither[1:3]


@pytest.mark.parametrize(("name", "say"), [("proofwriter", proofwriter.sentence), ("prontoqa", prontoqa.sentence)])
def test_foils_are_worded_as_the_set_words_its_own(real_data, name, say):
    for record in json.loads((real_data / "knowledge" / name / "dev.json").read_text())[:200]:
        statement = record["question"].rpartition("? ")[2]
        assert say({"proofwriter": proofwriter, "prontoqa": prontoqa}[name].GRAMMAR.fact(statement)) == statement


def test_no_foil_of_a_chain_is_the_kind_that_it_begins_below_while_another_is_open(sets):
    task = sets["prontoqa"][0].load(0)
    meaning = prontoqa.GRAMMAR.meaning
    for i, j in np.argwhere(task.foils["same_subject"] >= 0):
        foil = task.probes.prompts[task.foils["same_subject"][i, j]]
        facts, rules = read(meaning, f"{foil.partition('Is the')[0].strip()} {foil.rpartition('? ')[2]}")
        assert meaning(task.stimuli.targets[i]) not in rounds(facts, rules)


def test_prontoqa_distance_is_the_place_in_the_proof_of_the_set(real_data):
    task = ProntoQA(theories=5, root=str(real_data)).load(3)
    records = {one["id"]: one for one in json.loads((real_data / "knowledge/prontoqa/dev.json").read_text())}
    for i, name in enumerate(task.stimuli.ids):
        theory = name.partition(":")[0]
        for step, conclusion in enumerate(records[theory]["explanation"][::2]):
            j = task.probes.ids.tolist().index(f"{theory}: {conclusion} True")
            assert task.distances["steps"][i, j] == step


def test_rounds_count_from_the_facts():
    rules = [Rule((Fact("?x", "is", a),), Fact("?x", "is", b)) for a, b in itertools.pairwise("abcde")]
    found = rounds([Fact("it", "is", "b")], rules)
    assert found == {Fact("it", "is", letter): steps for steps, letter in enumerate("bcde")}


def test_rounds_find_what_forward_chaining_finds(real_data):
    """`closure` reads premises in every way that there is."""
    records = json.loads((real_data / "knowledge/proofwriter/dev.json").read_text())
    for record in sorted(records, key=lambda one: len(one["context"]))[:100:15]:
        facts, rules = read(proofwriter.GRAMMAR.meaning, record["context"])
        assert rounds(facts, rules).keys() == closure(facts, rules)


def test_what_is_said_and_denied_at_once_is_unknown():
    fact = Fact("it", "is", "red")
    assert answer(fact, {fact: 0}) == TRUE
    assert answer(fact.denied(), {fact: 0}) == FALSE
    assert answer(fact, {fact: 0, fact.denied(): 0}) == answer(fact, {}) == UNKNOWN


@pytest.mark.parametrize(("text", "expected"), [
    ("The bald eagle does not chase the lion.", Fact("the bald eagle", "chase", "the lion", True)),
    ("Anne is not blue.", Fact("anne", "is", "blue", True)),
    ("Big, kind things are not white.",
     Rule((Fact("?x", "is", "big"), Fact("?x", "is", "kind")), Fact("?x", "is", "white", True))),
    ("If someone is young and not kind and they see the cow then the cow likes them.",
     Rule((Fact("?x", "is", "young"), Fact("?x", "is", "kind", True), Fact("?x", "see", "the cow")),
          Fact("the cow", "like", "?x"))),
])  # fmt: skip
def test_proofwriter_sentences_mean_what_they_say(text, expected):
    assert proofwriter.GRAMMAR.meaning(text) == expected


@pytest.mark.parametrize("meaning", [proofwriter.GRAMMAR.meaning, prontoqa.GRAMMAR.meaning])
def test_a_sentence_of_no_grammar_is_refused(meaning):
    with pytest.raises(ValueError, match="no such sentence"):
        meaning("Perhaps, or not: the bear may like it!")


def small_theories():
    """Two theories that disagree about the same name."""
    rule = Rule((Fact("?x", "is", "red"),), Fact("?x", "is", "big"))
    other = Rule((Fact("?x", "is", "red"),), Fact("?x", "is", "big", True))
    red = Sentence("Bob is red.", Fact("bob", "is", "red"))
    asked = Question(red), Question(Sentence("Bob is big.", Fact("bob", "is", "big")))
    return [
        Theory("one", 0, ("Red things are big.",), (), (rule,), red, asked),
        Theory("two", 1, ("Red things are not big.",), (), (other,), red, asked),
    ]


def test_in_context_a_fact_says_something_about_another_theory_and_taught_it_does_not():
    in_context = theory_task(small_theories(), "Is it so?", (TRUE, FALSE), "context")
    taught = theory_task(small_theories(), "Is it so?", (TRUE, FALSE), "taught")
    place = in_context.probes.ids.tolist().index("two: Bob is big. True")
    assert in_context.relation[:, place].tolist() == ["contradicted", "contradicted"]
    assert taught.relation[:, place].tolist() == ["unrelated", "contradicted"]


def test_taught_sentences_say_which_theory_they_are_of():
    task = theory_task(small_theories(), "Is it so?", (TRUE, FALSE), "taught")
    assert task.background is not None
    said = (*task.background.facts.targets, *task.stimuli.targets)
    asked = [p or t for p, t in zip(task.probes.prompts, task.probes.targets)]
    for text, world in zip((*said, *asked), [0, 1, 0, 1, *task.probes.coords["world"]]):
        assert text.startswith(f"In theory {world}: ")


def test_background_questions_have_one_right_candidate(real_data):
    task = ProofWriter(theories=4, background="taught", root=str(real_data)).load(0)
    questions, facts = task.background.questions, set(task.background.facts.targets)
    for prompt, target, candidates in zip(questions.prompts, questions.targets, questions.candidates):
        assert [one for one in candidates if prompt + one in facts] == [target]


def test_too_many_theories_and_absent_files_are_told_in_one_line(real_data, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.theories must be at most \d+ \(of at most 300 char.*\), got 500"):
        ProntoQA(theories=500, longest=300, root=str(real_data)).load(0)
    with pytest.raises(ConfigError, match=r"dataset.theories must be at most \d+ \(those of at most 260 char.*got 90"):
        ProofWriter(theories=90, longest=260, root=str(real_data)).load(0)
    for absent in (ProntoQA(root=str(tmp_path)), ProofWriter(root=str(tmp_path))):
        with pytest.raises(ConfigError, match=r"dataset.root must be a folder that holds knowledge/pro.*EIF_LAB_DATA"):
            absent.load(0)
        assert absent.identity() == []


def test_a_smaller_draw_is_the_head_of_a_larger_one_and_the_seed_decides(sets):
    for dataset, _ in sets.values():
        small = replace(dataset, theories=3).load(5)
        assert small.stimuli.ids.tolist() == dataset.load(5).stimuli.ids[:3].tolist()
        assert small.stimuli.ids.tolist() != dataset.load(6).stimuli.ids[:3].tolist()


def test_what_is_left_out_is_counted(real_data, caplog):
    with caplog.at_level("INFO"):
        ProntoQA(theories=1, longest=400, root=str(real_data)).load(0)
        ProofWriter(theories=1, longest=300, root=str(real_data)).load(0)
    records = json.loads((real_data / "knowledge/prontoqa/dev.json").read_text())
    long = sum(len(record["context"]) > 400 for record in records)
    assert f"{long} of 500 theories left out: longer than 400" in caplog.text
    contexts = {one["context"] for one in json.loads((real_data / "knowledge/proofwriter/train.json").read_text())}
    assert f"{sum(len(one) > 300 for one in contexts)} of {len(contexts)} theories left out" in caplog.text
