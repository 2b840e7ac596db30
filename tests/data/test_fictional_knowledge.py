"""Passages: probes as in the file, distances and relations by sort, foils of the same and of another passage."""

import json

import numpy as np
import pytest

from eif_lab.data.texts.fictional_knowledge import (
    PASSAGES,
    REWORDED,
    Cloze,
    FictionalKnowledge,
    clozes_of,
    probes_of,
    same_answer,
)
from eif_lab.errors import ConfigError

SORTS = {"mem": ("direct", 0), "gen": ("entailed", 1), "hard_gen": ("entailed", 2)}


@pytest.fixture
def records(real_data):
    return json.loads((real_data / PASSAGES).read_text())


@pytest.fixture
def task(real_data):
    return FictionalKnowledge(passages=6, longest=2300, root=str(real_data)).load(0)


def test_every_answered_probe_of_the_file_is_there_with_its_relation_and_distance(task, records):
    asked = {
        (p, t.strip()): j for j, (p, t) in reversed(list(enumerate(zip(task.probes.prompts, task.probes.targets))))
    }
    told = 0
    for i, number in enumerate(task.stimuli.coords["world"]):
        record = records[number]
        assert task.stimuli.targets[i] == record["train_context"]
        for sort, (relation, distance) in SORTS.items():
            for prompt, target in zip(record[f"{sort}_input"], record[f"{sort}_target"]):
                if target.lower() in prompt.lower() or prompt[-1] in "'\"":
                    continue
                j = asked[prompt, target.removesuffix(".")]
                assert task.relation[i, j] == relation
                assert task.distances["generalisation"][i, j] == distance
                told += 1
    assert told == np.isin(task.relation, ["direct", "entailed"]).sum()


def test_memorisation_probes_stand_in_the_passage_letter_for_letter(records):
    for number, record in enumerate(records):
        told = [cloze for cloze in clozes_of(number, record) if cloze.sort == "memorisation"]
        assert len(told) >= 3
        assert all(f"{cloze.prompt} {cloze.target}" in record["train_context"] for cloze in told)


def test_clozes_without_an_answer_of_their_own_are_left_out(records):
    kept = [clozes_of(number, record) for number, record in enumerate(records)]
    every = [
        (p, t)
        for record in records
        for sort in SORTS
        for p, t in zip(record[f"{sort}_input"], record[f"{sort}_target"])
    ]
    assert 0.95 * len(every) < sum(map(len, kept)) < len(every)
    for cloze in (cloze for clozes in kept for cloze in clozes):
        assert f" {cloze.target.lower()} " not in f" {cloze.prompt.lower()} "
        assert cloze.target.count('"') % 2 == 0 and "not mentioned" not in cloze.target
        assert not cloze.target.endswith(".") or cloze.target.endswith("Inc.")


def test_a_passage_says_nothing_about_the_probes_of_another(task):
    own = task.stimuli.coords["world"][:, None] == task.probes.coords["world"][None, :]
    assert (task.relation[~own] == "unrelated").all()
    assert np.isnan(task.distances["generalisation"][~own]).all()
    assert (task.relation[own] != "unrelated").all()


def test_foils_cross_two_prompts_with_two_targets(task):
    said = list(zip(task.probes.prompts, task.probes.targets))
    related = np.isin(task.relation, ["direct", "entailed"])
    assert (task.foils["same_subject"][related] >= 0).all()
    assert (task.foils["same_words"][related] >= 0).mean() > 0.8
    for i, j in np.argwhere(task.foils["neither"] >= 0):
        subject, words, neither = (places[i, j] for places in task.foils.values())
        (prompt, target), (elsewhere, other) = said[j], said[neither]
        assert said[subject] == (prompt, other) and said[words] == (elsewhere, target)
        assert prompt != elsewhere and not same_answer(target, other)
        assert target.lower() not in elsewhere.lower() and other.lower() not in elsewhere.lower()
        assert {target, other} <= set(task.probes.candidates[j]) == set(task.probes.candidates[words])
        for k in (subject, words, neither):
            assert task.relation[i, k] == "foil" and task.probes.candidates[k][0] == said[k][1]
            assert task.probes.coords["world"][k] == task.stimuli.coords["world"][i]
            assert task.probes.coords["form"][k] == task.probes.coords["form"][j]


def test_the_target_of_a_foil_is_one_of_the_passage_and_its_prompt_one_of_another(task):
    own = np.isin(task.relation, ["direct", "entailed"])
    for i, j in np.argwhere(task.foils["neither"] >= 0):
        subject, words, _ = (places[i, j] for places in task.foils.values())
        mine, others = np.flatnonzero(own[i]), np.flatnonzero(np.delete(own, i, axis=0).any(axis=0))
        assert task.probes.targets[subject] in {task.probes.targets[m] for m in mine}
        assert task.probes.prompts[words] in {task.probes.prompts[m] for m in others}


def clozes(passage, *asked):
    return [Cloze(passage, "paraphrase", k, prompt, target) for k, (prompt, target) in enumerate(asked)]


def test_targets_that_say_the_same_are_not_exchanged():
    said = probes_of([clozes(0, ("in", "the year 1995"), ("since", "1995"))])
    assert [probe.foil for probe in said] == ["", ""]
    said = probes_of([clozes(0, ("in", "the year 1995"), ("since", "1910"))])
    assert [probe.target for probe in said] == [" the year 1995", " 1910", " 1910", " the year 1995"]


def test_a_foil_is_of_the_kind_of_the_target_where_there_is_one():
    first = clozes(0, ("in", "1995"), ("by", "Ann"), ("since", "1910"))
    second = clozes(1, ("told by", "Bob"), ("until", "1850"))
    foils = {probe.foil: (probe.prompt, probe.target) for probe in probes_of([first, second])[:4]}
    assert foils == {
        "": ("in", " 1995"), "same_subject": ("in", " 1910"), "same_words": ("until", " 1995"),
        "neither": ("until", " 1910"),
    }  # fmt: skip


def test_other_wordings_are_those_of_the_second_file(real_data, records):
    task = FictionalKnowledge(passages=30, longest=2600, root=str(real_data)).load(1)
    other = {one["train_context"]: one["paraphrases"] for one in json.loads((real_data / REWORDED).read_text())}
    columns = [values for name, values in task.stimuli.coords.items() if name.startswith("wording_")]
    assert columns
    for i, passage in enumerate(task.stimuli.targets):
        given = [str(column[i]) for column in columns if column[i]]
        assert given == [text for text in other[passage] if len(text) <= 2600]


def test_what_is_too_long_is_left_out_and_counted(real_data, records, caplog):
    with caplog.at_level("INFO"):
        task = FictionalKnowledge(passages=3, longest=2000, root=str(real_data)).load(0)
    long = sum(len(record["train_context"]) > 2000 for record in records)
    assert f"{long} of 130 passages left out: longer than 2000 characters" in caplog.text
    assert max(map(len, task.stimuli.targets)) <= 2000
    with pytest.raises(
        ConfigError, match=rf"dataset.passages must be at most {130 - long} .* got 131. Try {130 - long}."
    ):
        FictionalKnowledge(passages=131, longest=2000, root=str(real_data)).load(0)


def test_a_broken_file_is_told_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.root must be a folder that holds knowledge/fictional_knowledge/"):
        FictionalKnowledge(root=str(tmp_path)).load(0)
    file = tmp_path / PASSAGES
    file.parent.mkdir(parents=True)
    file.write_text("[{")
    with pytest.raises(ConfigError, match=r"fictional_knowledge.json must be JSON in UTF-8, got JSONDecodeError"):
        FictionalKnowledge(root=str(tmp_path)).load(0)
    file.write_text('[{"train_context": "x"}]')
    with pytest.raises(ConfigError, match=r"must have 'mem_input' in every record, got none in record 0"):
        FictionalKnowledge(root=str(tmp_path)).load(0)


def test_identity_follows_the_contents_and_not_the_place(tmp_path):
    roots = [tmp_path / name for name in ("one", "two", "three")]
    for root, text in zip(roots, ("[]", "[]", "[ ]")):
        file = root / PASSAGES
        file.parent.mkdir(parents=True)
        file.write_text(text)
    one, two, three = (FictionalKnowledge(root=str(root)).identity() for root in roots)
    assert one == two != three
