"""Passages: probes as in the file, distances and relations by sort, foils that deal the same words out anew."""

import json
from collections import Counter

import numpy as np
import pytest

from eif_lab.data.texts.fictional_knowledge import PASSAGES, REWORDED, FictionalKnowledge, alike, probes_of
from eif_lab.errors import ConfigError

SORTS = {"mem": ("direct", 0), "gen": ("entailed", 1), "hard_gen": ("entailed", 2)}


@pytest.fixture
def records(real_data):
    return json.loads((real_data / PASSAGES).read_text())


@pytest.fixture
def task(real_data):
    return FictionalKnowledge(passages=6, longest=2300, root=str(real_data)).load(0)


def test_every_probe_of_the_file_is_there_with_its_relation_and_distance(task, records):
    asked = {
        (p, t.strip()): j for j, (p, t) in reversed(list(enumerate(zip(task.probes.prompts, task.probes.targets))))
    }
    for i, number in enumerate(task.stimuli.coords["world"]):
        record = records[number]
        assert task.stimuli.targets[i] == record["train_context"]
        for sort, (relation, distance) in SORTS.items():
            for prompt, target in zip(record[f"{sort}_input"], record[f"{sort}_target"]):
                j = asked[prompt, target]
                assert task.relation[i, j] == relation
                assert task.distances["generalisation"][i, j] == distance
    direct = task.relation == "direct"
    assert direct.sum() == 5 * len(task.stimuli)


def test_memorisation_probes_stand_in_the_passage_letter_for_letter(records):
    for number, record in enumerate(records):
        told = [probe for probe in probes_of(number, record) if probe.sort == "memorisation"]
        assert len(told) == 5
        assert all(probe.prompt + probe.target in record["train_context"] for probe in told)


def test_a_passage_says_nothing_about_the_probes_of_another(task):
    own = task.stimuli.coords["world"][:, None] == task.probes.coords["world"][None, :]
    assert (task.relation[~own] == "unrelated").all()
    assert np.isnan(task.distances["generalisation"][~own]).all()
    assert (task.relation[own] != "unrelated").all()


def test_foils_keep_the_prompt_and_take_another_target_of_the_passage(task):
    pairs = np.argwhere(task.foil >= 0)
    assert len(pairs) == (task.relation == "entailed").sum()
    for i, j in pairs:
        k = task.foil[i, j]
        assert task.relation[i, k] == "foil" and task.probes.prompts[j] == task.probes.prompts[k]
        assert not alike(task.probes.targets[j], task.probes.targets[k])
        same_sort = task.probes.coords["form"] == task.probes.coords["form"][j]
        mine = (
            same_sort & (task.probes.coords["world"] == task.probes.coords["world"][j]) & (task.relation[i] != "foil")
        )
        assert task.probes.targets[k] in {task.probes.targets[m] for m in np.flatnonzero(mine)}
        assert {task.probes.targets[j], task.probes.targets[k]} <= set(task.probes.candidates[j])


def test_where_all_targets_differ_foils_deal_them_out_anew(records):
    dealt = 0
    for number, record in enumerate(records[:40]):
        targets = record["gen_target"]
        if any(alike(a, b) for i, a in enumerate(targets) for b in targets[:i]):
            continue
        told = [probe for probe in probes_of(number, record) if probe.sort == "paraphrase"]
        said = {kind: Counter(probe.target.strip() for probe in told if probe.foil == kind) for kind in (True, False)}
        assert said[True] == said[False]
        dealt += 1
    assert dealt > 10


def test_targets_that_say_the_same_are_not_exchanged():
    record = {f"{sort}_{part}": [] for sort in ("mem", "hard_gen") for part in ("input", "target")}
    record |= {"gen_input": ["in", "since"], "gen_target": ["the year 1995", "1995"]}
    assert [probe.foil for probe in probes_of(0, record)] == [False, False]
    record["gen_target"][1] = "1910"
    assert [probe.target for probe in probes_of(0, record)] == [" the year 1995", " 1910", " 1910", " the year 1995"]


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
