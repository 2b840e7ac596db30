"""Other wordings: the same facts, at the same distances, with the same consequences."""

from dataclasses import replace

import numpy as np
import pytest

from eif_lab.data.task import Task, Texts
from eif_lab.errors import NotApplicable
from eif_lab.perturbations.template import Template


def texts(pairs, ids, **coords):
    prompts, targets = zip(*pairs)
    return Texts(prompts, targets, np.array(ids), {name: np.array(values) for name, values in coords.items()})


@pytest.fixture
def task():
    """Two statements, the first with two other wordings; only the first is a probe itself."""
    stimuli = texts(
        [("", "A dax is a bird."), ("", "A wug is a fish.")], ["dax", "wug"], world=[0, 1], negation=["n", "m"],
        wording_1=["Every dax is a bird.", "Every wug is a fish."], wording_2=["Daxes are birds.", ""],
    )  # fmt: skip
    probes = texts(
        [("", "A dax is a bird."), ("A dax can", " fly"), ("A dax can", " swim"), ("A wug can", " swim")],
        ["dax", "flies", "swims", "wug swims"], world=[0, 0, 0, 1], form=["statement", "cloze", "cloze", "cloze"],
    )  # fmt: skip
    relation = np.array(
        [["direct", "entailed", "foil", "unrelated"], ["unrelated", "unrelated", "unrelated", "entailed"]]
    )
    distance = np.array([[0.0, 1.0, 2.0, 9.0], [9.0, 9.0, 9.0, 1.0]])
    foils = {"same_subject": np.array([[-1, 2, -1, -1], [-1, -1, -1, -1]])}
    return Task(stimuli, probes, relation, {"path": distance}, foils)


def test_every_wording_is_a_stimulus_with_its_source(task):
    stimuli = Template().apply(task, 0).stimuli
    said = {"A dax is a bird.": 0, "Every dax is a bird.": 1, "Daxes are birds.": 2, "A wug is a fish.": 0}
    said["Every wug is a fish."] = 1
    found = dict(zip(stimuli.targets, zip(stimuli.coords["source"].tolist(), stimuli.coords["wording"].tolist())))
    assert found == {text: ("dax" if "ax" in text else "wug", number) for text, number in said.items()}
    assert stimuli.targets[:2] == task.stimuli.targets
    assert len(set(stimuli.ids)) == len(stimuli) == 5
    assert not any(name.startswith("wording_") for name in stimuli.coords)


def test_originals_keep_their_relations_foils_and_distances(task):
    new = Template().apply(task, 0)
    n, m = task.relation.shape
    assert np.array_equal(new.relation[:n, :m], task.relation)
    assert new.foils.keys() == task.foils.keys() == {"same_subject"}
    assert np.array_equal(new.foils["same_subject"][:n, :m], task.foils["same_subject"])
    assert np.array_equal(new.distances["path"][:n, :m], task.distances["path"])
    assert new.probes.targets[:m] == task.probes.targets


def test_a_wording_says_of_everything_what_its_source_says_but_in_other_words(task):
    new = Template().apply(task, 0)
    row = {name: i for i, name in enumerate(task.stimuli.ids)}
    for i, source in enumerate(new.stimuli.coords["source"]):
        for j in range(len(task.probes)):
            told = task.relation[row[source], j]
            reworded = new.stimuli.coords["wording"][i] > 0
            assert new.relation[i, j] == ("entailed" if told == "direct" and reworded else told)
            assert new.foils["same_subject"][i, j] == task.foils["same_subject"][row[source], j]
            assert new.distances["path"][i, j] == task.distances["path"][row[source], j]


def test_wordings_of_what_is_a_probe_are_probes_and_of_the_rest_are_not(task):
    new = Template().apply(task, 0)
    added = range(len(task.probes), len(new.probes))
    assert [new.probes.targets[j] for j in added] == ["Every dax is a bird.", "Daxes are birds."]
    for j in added:
        for i, source in enumerate(new.stimuli.coords["source"]):
            same = new.stimuli.ids[i] == new.probes.ids[j]
            assert new.relation[i, j] == ("direct" if same else "entailed" if source == "dax" else "unrelated")
        assert new.probes.coords["wording"][j] > 0 and new.probes.coords["source"][j] == "dax"
        assert new.probes.coords["form"][j] == "statement"
    assert (new.foils["same_subject"][:, added] == -1).all()


def test_fewer_wordings_are_taken_on_request(task):
    assert max(Template(wordings=1).apply(task, 0).stimuli.coords["wording"]) == 1
    assert max(Template(wordings=9).apply(task, 0).stimuli.coords["wording"]) == 2


def test_a_given_prompt_stays_given_and_a_wording_that_is_a_probe_is_that_probe(task):
    france = texts([("The capital of France is", " Paris")], ["fr"], world=[0], wording_1=["In France it is Paris"])
    probes = texts(
        [("The capital of France is", " Paris"), ("In France it is", " Paris")], ["fr", "fr 2"], world=[0, 0]
    )
    relation = np.array([["direct", "entailed"]])
    new = Template().apply(Task(france, probes, relation, {}), 0)
    assert (new.stimuli.prompts[1], new.stimuli.targets[1]) == ("In France it is", " Paris")
    assert new.stimuli.ids.tolist() == new.probes.ids.tolist() == ["fr", "fr 2"]
    assert new.relation.tolist() == [["direct", "entailed"], ["entailed", "direct"]]


def test_a_wording_with_another_answer_has_no_candidates(task):
    stimuli = texts([("It is", " hot")], ["a"], wording_1=["It is not cold"])
    probes = replace(texts([("It is", " hot")], ["a"]), candidates=((" hot", " cold"),))
    new = Template().apply(Task(stimuli, probes, np.array([["direct"]]), {}), 0)
    assert new.probes.targets == (" hot", "It is not cold")
    assert new.probes.candidates == ((" hot", " cold"), ())


def test_data_without_other_wordings_is_told(task):
    bare = replace(task, stimuli=replace(task.stimuli, coords={"world": task.stimuli.coords["world"]}))
    with pytest.raises(NotApplicable, match="perturbation=template needs stimuli in other wordings, got none"):
        Template().apply(bare, 0)
