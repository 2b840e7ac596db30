"""What is no influence array is refused by `judge` and `annotate` in one line that names the field and the rule."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import eif_lab
from eif_lab import load_task
from eif_lab.desiderata.logic import Logic
from eif_lab.errors import ConfigError

annotate, judge = map(inspect.unwrap, (eif_lab.annotate, eif_lab.judge))
"""As users have them: without the types that tests check, which their mistakes would not get past."""


@pytest.fixture(scope="module")
def task():
    return load_task("ontology", worlds=8, stimuli_per_world=2)


@pytest.fixture(scope="module")
def array(task):
    noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
    return annotate(np.isin(task.relation, ("direct", "entailed")) + noise, task)


def along_stimuli(array, values):
    return ("stimulus", np.full(array.shape[0], values))


def everywhere(array, values):
    return (("stimulus", "probe"), np.full(array.shape, values))


ARRAYS = {
    "text": (lambda a: "scores.npy", "influence must be an annotated DataArray, got 'str'."),
    "nothing": (lambda a: None, "influence must be an annotated DataArray, got 'NoneType'."),
    "a dataset": (lambda a: a.to_dataset(name="x"), "influence must be an annotated DataArray, got 'Dataset'."),
    "no stimulus": (lambda a: a[:0], "influence must hold at least one real number, got 'float64 of shape (0, 368)'."),
    "no probe": (lambda a: a[:, :0], "influence must hold at least one real number"),
    "no seed": (lambda a: a.expand_dims(seed=0), "influence must hold at least one real number"),
    "strings": (lambda a: a.astype(str), "influence must hold at least one real number, got '<U32"),
    "truths": (lambda a: a > 0, "influence must hold at least one real number, got 'bool"),
    "a renamed dim": (
        lambda a: a.rename(stimulus="sample"),
        "influence must have the dims stimulus and probe, got ('sample', 'probe').",
    ),
    "a sixth dim": (
        lambda a: a.expand_dims(fold=2),
        "influence must have no dims but seed, stimulus, step, probe, readout, got ('fold',",
    ),
    "dims in each other's place": (lambda a: a.rename(stimulus="probe", probe="stimulus"), "must have the dims"),
    "no relation": (lambda a: a.drop_vars("relation"), "influence must have the coordinate relation, got none."),
    "renamed ids": (lambda a: a.rename(stimulus_id="id"), "influence must have the coordinate stimulus_id, got none."),
    "ids of probes": (
        lambda a: a.assign_coords(stimulus_id=("probe", a.probe_id.values)),
        "influence.stimulus_id must have the dims stimulus alone, got ('probe',).",
    ),
    "one id for all": (lambda a: a.assign_coords(stimulus_id="x"), "influence.stimulus_id must have the dims stimulus"),
    "a relation for each stimulus": (
        lambda a: a.assign_coords(relation=along_stimuli(a, "entailed")),
        "influence.relation must have the dims probe and stimulus alone, got ('stimulus',).",
    ),
    "relations of another's": (
        lambda a: a.assign_coords(relation=everywhere(a, "implied")),
        "influence.relation must be one of contradicted, converse, direct, entailed, foil, unrelated, got 'implied'.",
    ),
    "foils along stimuli": (
        lambda a: a.assign_coords(foil_same_subject=along_stimuli(a, 0)),
        "influence.foil_same_subject must have the dims probe and stimulus alone",
    ),
    "foils that are no places": (
        lambda a: a.assign_coords(foil_same_subject=everywhere(a, np.nan)),
        "influence.foil_same_subject must hold places of probes, -1 for none, got 'float64'.",
    ),
    "nothing but NaN": (lambda a: a * np.nan, "influence must be finite, got no stimulus without NaN or infinity."),
    "one value": (lambda a: a * 0 + 1, "influence must vary, got 1 in every cell."),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_influence_is_one_line(array, name):
    broken, line = ARRAYS[name]
    with pytest.raises(ConfigError) as told:
        judge(broken(array))
    assert line in str(told.value) and "\n" not in str(told.value)


CALLS = {
    "a number for desiderata": (
        lambda a: judge(a, 3),
        "desiderata must be names or instances of desiderata, got 'int'.",
    ),
    "a number among them": (lambda a: judge(a, [3]), "desiderata must be names or instances of desiderata, got 'int'."),
    "none of that name": (lambda a: judge(a, "logik"), "desideratum must be one of"),
    "a seed in words": (lambda a: judge(a, seed="x"), "seed must be a whole number from 0 on, got 'x'."),
    "a seed below zero": (lambda a: judge(a, seed=-1), "seed must be a whole number from 0 on, got -1."),
    "a readout that is not there": (
        lambda a: judge(a.expand_dims(readout=["log_prob"]), readout="prob"),
        "readout must be one of log_prob, got 'prob'.",
    ),
    "a readout that it was not selected by": (
        lambda a: judge(a.assign_coords(readout="log_prob"), readout="prob"),
        "readout must be one of log_prob, got 'prob'.",
    ),
    "one desideratum at two bars": (
        lambda a: judge(a, [Logic(reach_threshold=0.1), Logic(reach_threshold=0.5)]),
        "desiderata must be asked once each, got 'Logic 2 times'. Judge those of one kind one at a time.",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_cannot_be_asked_is_one_line(array, name):
    call, line = CALLS[name]
    with pytest.raises(ConfigError) as told:
        call(array)
    assert str(told.value).startswith(line) and "\n" not in str(told.value)


SCORES = {
    "text": ("scores.npy", "scores must be real numbers with two dimensions"),
    "rows of several lengths": ([[1, 2], [3]], "scores must be one array ("),
    "nothing": (np.zeros((0, 0)), "scores must be"),
    "strings": ([["a"]], "scores must be real numbers with two dimensions"),
}


@pytest.mark.parametrize("name", SCORES)
def test_what_is_no_scores_is_one_line(task, name):
    scores, line = SCORES[name]
    with pytest.raises(ConfigError) as told:
        annotate(scores, task)
    assert str(told.value).startswith(line) and "\n" not in str(told.value)


def test_an_array_with_every_dim_and_with_scalars_for_dims_is_judged_all_the_same(array):
    whole = array.expand_dims(seed=[0], step=[1], readout=["log_prob"])
    one, other, third = ([v.outcome() for v in judge(a, "logic")] for a in (array, whole, whole.squeeze()))
    assert one == other == third == ["satisfied"]


def test_the_order_of_dims_is_free(array):
    assert judge(array.transpose("probe", "stimulus"), "logic")[0].outcome() == "satisfied"
