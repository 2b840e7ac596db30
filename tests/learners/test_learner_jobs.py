"""A reference learner in place of a model: in a job, in a sweep with models, and in a plan."""

from __future__ import annotations

import numpy as np
import pytest

from eif_lab import annotate, load_task, open_results
from eif_lab.learners import imitate

pytest_plugins = ["command_line_fixtures"]

SMALL = "dataset=ontology dataset.worlds=6 dataset.stimuli_per_world=2 desideratum=[logic]"


def nothing(folder):
    """No file is needed."""


def test_a_job_holds_the_array_that_the_rule_makes(command):
    ended = command(nothing, f"model=learner model.rule=bag_of_words {SMALL} hydra.run.dir=job")
    assert ended.code == 0, ended.err
    job = open_results("job")
    assert job.manifest["name"].startswith("reference learner: bag of words ontology")
    task = load_task("ontology", worlds=6, stimuli_per_world=2)
    array = job.influence.squeeze()
    blank = annotate(np.zeros(task.relation.shape), task)
    assert np.allclose(array, imitate(blank, "bag_of_words", 0.1, 0), atol=1e-6)
    assert "reference learner: bag of words" in ended.out


def test_method_update_and_engine_have_no_say(command):
    ended = command(
        nothing,
        f"-m model=learner {SMALL} method=full,prompt update=sgd,adam engine=first_order hydra.sweep.dir=sweep",
    )
    assert ended.code == 0, ended.err
    jobs = open_results("sweep").jobs
    assert {job.manifest["status"] for job in jobs} == {"done"} and len(jobs) == 4
    assert len({job.manifest["array"] for job in jobs}) == 1


def test_learners_stand_beside_a_model_in_one_table(command):
    ended = command(
        nothing,
        "-m model=cnn,learner method=full dataset=digits dataset.stimuli=20 dataset.probes=20 "
        "update.learning_rate=0.01 desideratum=[logic] hydra.sweep.dir=sweep",
    )
    assert ended.code == 0, ended.err
    jobs = open_results("sweep").jobs
    assert {job.influence.attrs["model"] for job in jobs} == {"cnn", "reference learner: perfect"}
    assert len({job.manifest["array"] for job in jobs}) == 2


@pytest.mark.parametrize("dataset", ["digits dataset.stimuli=20 dataset.probes=20", "ontology dataset.worlds=2"])
def test_a_learner_takes_images_and_texts(command, dataset):
    ended = command(nothing, f"model=learner dataset={dataset} desideratum=[logic] hydra.run.dir=job")
    assert ended.code == 0, ended.err


def test_a_rule_that_does_not_apply_is_told_in_one_line(command):
    ended = command(nothing, "model=learner model.rule=copying dataset=digits hydra.run.dir=job")
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert "model.rule must be one that needs no words" in ended.err


def test_a_plan_takes_no_time(command):
    ended = command(nothing, f"model=learner {SMALL} plan=true")
    assert ended.code == 0 and "a rule and no model" in ended.out
    ended = command(nothing, "model=learner model.rule=copying dataset=digits plan=true")
    assert "model.rule must be one that needs no words" in ended.err


@pytest.mark.parametrize("wrong", ["model.rule=perfekt", "model.noise=-1", "trajectory=true"])
def test_a_mistake_is_one_line(command, wrong):
    ended = command(nothing, f"model=learner {SMALL} {wrong}")
    assert ended.code == 2 and ended.err.count("\n") == 1 and wrong.partition("=")[0] in ended.err
