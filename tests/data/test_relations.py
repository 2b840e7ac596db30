"""Facts of the world: every label against the fact that a probe claims, read from its text."""

import json
from functools import cache

import numpy as np
import pytest

from eif_lab.data.texts.relation import INVERSES, Relation
from eif_lab.data.texts.relations import FOLDER, Relations
from eif_lab.errors import ConfigError


@pytest.fixture
def files(real_data):
    return read(real_data / FOLDER)


@cache
def read(folder):
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*/*.json")}


@pytest.fixture
def task(real_data):
    return drawn(real_data)


@cache
def drawn(root):
    return Relations(relations=12, stimuli_per_relation=3, root=str(root)).load(0)


def matching_facts(file, name, prompt, target):
    """Every (relation, subject, object) that a cloze can be read as."""
    read = set()
    for template in (*file["prompt_templates"], *file["prompt_templates_zs"]):
        before, _, behind = template.partition("{}")
        if prompt.startswith(before) and prompt.endswith(behind) and len(prompt) > len(before) + len(behind):
            read.add((name, prompt[len(before) : len(prompt) - len(behind)], target))
    if name in INVERSES:
        before, _, behind = INVERSES[name].partition("{}")
        if prompt.startswith(before) and prompt.endswith(behind):
            read.add((name, target, prompt[len(before) : len(prompt) - len(behind)]))
    return read


def test_labels_follow_from_what_the_texts_claim(task, files):
    def facts(texts, j):
        name = texts.coords["topic"][j]
        return matching_facts(files[name], name, texts.prompts[j], texts.targets[j].strip())

    told = [facts(task.stimuli, i) for i in range(len(task.stimuli))]
    asked = [facts(task.probes, j) for j in range(len(task.probes))]
    assert all(told) and all(asked)
    turned = [{(name, o, s) for name, s, o in claims} for claims in asked]
    for (i, j), label in np.ndenumerate(task.relation):
        name = task.stimuli.coords["topic"][i]
        same, swapped = bool(told[i] & asked[j]), bool(told[i] & turned[j])
        if label == "direct":
            assert task.stimuli.ids[i] == task.probes.ids[j] and same
        elif label == "entailed":
            assert same or (swapped and files[name]["properties"]["symmetric"])
        elif label == "converse":
            assert swapped and not files[name]["properties"]["symmetric"]
        else:
            assert not same and not swapped
            near = any(a[0] == b[0] and (a[1] == b[1] or a[2] == b[2]) for a in told[i] for b in asked[j])
            assert label == "foil" if near else label in ("foil", "unrelated")


def test_foils_cross_two_subjects_with_two_objects_in_the_same_wording_and_are_not_so(task, files):
    for i, j in np.argwhere(task.foils["neither"] >= 0):
        name = task.stimuli.coords["topic"][i]
        known = {(name, one["subject"], one["object"]) for one in files[name]["samples"]}
        crossed = [j, *(places[i, j] for places in task.foils.values())]
        for k in crossed[1:]:
            assert task.relation[i, k] == "foil"
            assert not matching_facts(files[name], name, task.probes.prompts[k], task.probes.targets[k].strip()) & known
        prompts, targets = ([texts[k] for k in crossed] for texts in (task.probes.prompts, task.probes.targets))
        assert prompts[0] == prompts[1] != prompts[2] == prompts[3]
        assert targets[0] == targets[2] != targets[1] == targets[3]
        assert {targets[0], targets[1]} <= set(task.probes.candidates[j])


def test_whatever_a_stimulus_says_or_has_exchanged_has_all_three_foils(task):
    for places in task.foils.values():
        assert ((places >= 0) == np.isin(task.relation, ["direct", "entailed", "converse"])).all()
    for i in range(len(task.stimuli)):
        assert (task.relation[i] == "converse").any()
        assert (task.relation[i] == "direct").sum() == 1


def test_candidates_hold_one_answer_that_the_set_calls_right(task, files):
    for prompt, target, candidates, name, form in zip(
        task.probes.prompts, task.probes.targets, task.probes.candidates,
        task.probes.coords["topic"], task.probes.coords["form"],
    ):  # fmt: skip
        assert target == candidates[0] and 2 <= len(set(candidates)) == len(candidates) <= 5
        if form in ("direct", "paraphrase", "inverse"):
            known = {(name, one["subject"], one["object"]) for one in files[name]["samples"]}
            right = [one for one in candidates if matching_facts(files[name], name, prompt, one.strip()) & known]
            assert right == [target]


def test_distance_counts_what_differs(task, files):
    direct = task.relation == "direct"
    assert (task.distances["differences"][direct] == 0).all()
    assert (task.distances["differences"][task.relation == "entailed"] == 0).all()
    assert (task.distances["differences"][task.relation == "converse"] == 2).all()
    assert (task.distances["differences"][task.relation == "foil"] >= 1).all()
    other = task.stimuli.coords["topic"][:, None] != task.probes.coords["topic"][None, :]
    assert (task.distances["differences"][other] >= 1).all()


def test_a_symmetric_relation_has_no_converse(real_data):
    task = Relations(kinds=["linguistic"], only=["adj_antonym"], root=str(real_data)).load(0)
    swapped = task.probes.coords["form"] == "converse"
    assert swapped.sum() == len(task.stimuli)
    assert "converse" not in task.relation
    assert ((task.relation[:, swapped] == "entailed").sum(1) == 1).all()


def test_subjects_with_several_objects_are_no_stimuli(files):
    name, record = "object_superclass", files["object_superclass"]
    objects = {}
    for one in record["samples"]:
        objects.setdefault(one["subject"], set()).add(one["object"])
    several = {subject for subject, known in objects.items() if len(known) > 1}
    assert several
    assert {fact.subject for fact in Relation.read(name, record).clear} == objects.keys() - several


def test_foils_are_false_and_are_not_made_where_none_is():
    record = {
        "prompt_templates": ["{} is", "{} seems"], "prompt_templates_zs": [], "properties": {"symmetric": False},
        "samples": [{"subject": "ice", "object": "cold"}, {"subject": "snow", "object": "cold"}],
    }  # fmt: skip
    relation = Relation.read("feel", record)
    assert relation.foils(relation.facts[0], relation.facts) == []
    samples = [*record["samples"], {"subject": "fire", "object": "hot"}]
    relation = Relation.read("feel", record | {"samples": samples})
    assert relation.foils(relation.facts[0], relation.facts[:2])[-1] == ("feel", "fire", "hot")  # there is no other
    relation = Relation.read("feel", record | {"samples": [*samples, {"subject": "rain", "object": "wet"}]})
    foils = relation.foils(relation.facts[0], relation.facts[:2])
    assert foils == [("feel", "ice", "hot"), ("feel", "rain", "cold"), ("feel", "rain", "hot")]


def test_wordings_of_a_stimulus_are_its_paraphrase_probes(task):
    for i in range(len(task.stimuli)):
        said = {str(values[i]) for name, values in task.stimuli.coords.items() if name.startswith("wording_")} - {""}
        own = (task.relation[i] == "entailed") & (task.probes.coords["form"] == "paraphrase")
        assert said == {task.probes.prompts[j] + task.probes.targets[j] for j in np.flatnonzero(own)}


def test_a_wrong_name_and_an_absent_folder_are_told_in_one_line(real_data, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.only must be one of .*Did you mean company_ceo\?"):
        Relations(only=["company_coe"], root=str(real_data)).load(0)
    with pytest.raises(ConfigError, match=r"dataset.root must be a folder that holds knowledge/relations/factual"):
        Relations(root=str(tmp_path)).load(0)
    with pytest.raises(ConfigError, match=r"dataset.relations must be at most \d+ \(with a second wording"):
        Relations(relations=1000, root=str(real_data)).load(0)


def test_the_seed_decides_and_repeats_itself(real_data):
    one, again, other = (Relations(relations=3, root=str(real_data)).load(seed) for seed in (0, 0, 1))
    assert (one.probes.prompts, one.probes.candidates) == (again.probes.prompts, again.probes.candidates)
    assert np.array_equal(one.relation, again.relation)
    assert one.stimuli.ids.tolist() != other.stimuli.ids.tolist()
