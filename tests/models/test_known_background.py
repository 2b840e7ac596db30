"""A background that the base model is to know: it is asked and not taught; phi3-stored knows one and uses its facts."""

import logging

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eif_lab import judge, load_task, measure_task
from eif_lab.configs import CONF
from eif_lab.errors import ConfigError
from eif_lab.jobs.inputs import load
from eif_lab.jobs.read import read_job
from eif_lab.models.base import weights_hash
from eif_lab.models.language.phi3 import STORED, Phi3

KNOWN = 20
"""Worlds whose background phi3-stored was trained on."""


def job(tmp_path, *options):
    asked = [
        "model=phi3",
        "dataset=ontology",
        "dataset.background=known",
        "tracker=none",
        f"cache={tmp_path}",
        *options,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_job(OmegaConf.to_container(compose("config", asked), resolve=True))


def test_worlds_that_a_model_does_not_know_are_left_out_and_counted_and_nothing_is_taught(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        inputs = load(job(tmp_path, f"model.checkpoint={STORED}", f"dataset.worlds={KNOWN + 2}"))
    assert "2 worlds excluded: the base model does not know their background" in caplog.text
    assert inputs.record["base_model"]["worlds_not_learnt"] == [KNOWN, KNOWN + 1]
    assert set(inputs.task.stimuli.coords["world"]) == set(range(KNOWN))
    untaught = Phi3(checkpoint=STORED).prepare(load_task("reversal", worlds=1), tmp_path, 0, "cpu")
    assert inputs.record["base_model"]["hash"] == weights_hash(untaught.module)
    assert not (tmp_path / "models").exists()


def test_a_plan_leaves_out_the_same_worlds(tmp_path):
    task = load_task("ontology", worlds=KNOWN + 1, background="known")
    model = Phi3(checkpoint=STORED)
    sketch, base = (make(task, tmp_path, 0, "cpu") for make in (model.sketch, model.prepare))
    assert sketch.base.report["worlds_not_learnt"] == base.report["worlds_not_learnt"] == [KNOWN]
    assert sketch.lesson is None and sketch.kept is None


def test_a_model_that_knows_no_world_is_told_so(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.background must be taught or context .* got 'known'. Try taught"):
        load(job(tmp_path, "dataset.worlds=2"))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_phi3_stored_learns_of_a_name_moves_what_follows_and_not_the_converse(method, tmp_path):
    task = load_task("ontology", worlds=16, stimuli_per_world=2, background="known", seed=1)
    model = Phi3(checkpoint=STORED).prepare(task, tmp_path, 0, "cpu")
    array = measure_task(task, model, method=method, update={"strength": 1.0})
    [verdict] = [one for one in judge(array) if one.desideratum == "logic"]
    effects = {finding.statistic: finding.effect for finding in verdict.findings}
    assert verdict.outcome() == "satisfied" and np.isfinite(list(effects.values())).all()
    assert effects["reach"] > 0.5 and effects["converse_held"] > 0.9
