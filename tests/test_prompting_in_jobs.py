"""A job with method=prompt reads what measure_context does of rows written out by hand, and needs no training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from language import byte_level_tokenizer, save_checkpoint
from omegaconf import OmegaConf

from eif_lab import measure_context
from eif_lab.configs import CONF
from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Task, Texts
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.influence.reading import passes
from eif_lab.jobs.determinants import determinants
from eif_lab.jobs.inputs import load
from eif_lab.jobs.measure import measure
from eif_lab.jobs.read import read_job
from eif_lab.jobs.run import checked_inputs
from eif_lab.methods.prompt import Prompt
from eif_lab.models.language.encoding import Encoder
from eif_lab.results.checkpoint import Checkpoint
from eif_lab.results.trackers.none import SilentRun

STIMULI = ("a dax is a blick .", "a wug can zorp .", "a gorm can fly .")
TASK = Task(
    stimuli=Texts(
        ("",) * 3,
        STIMULI,
        np.array(STIMULI),
        {"world": np.array([0, 1, 1]), "neutral": np.array([False, False, True])},
    ),
    probes=Texts(
        ("", "a dax can", "a wug can"),
        ("a dax is a blick .", " zorp", " fly"),
        np.array(["a dax is a blick .", "two", "three"]),
        {"world": np.array([0, 0, 1])},
        candidates=((), (" zorp", " fly"), (" zorp", " fly")),
    ),
    relation=np.array([["direct", "entailed", "unrelated"], ["unrelated"] * 3, ["unrelated"] * 3]),
    distances={"path": np.ones((3, 3))},
)


@dataclass
class Small(Dataset):
    """The task as a dataset."""

    kind: ClassVar[str] = "text"

    def load(self, seed: int) -> Task:
        return TASK


@pytest.fixture(autouse=True)
def known_size(monkeypatch):
    """Every op's memory is not followed here: with checked annotations that takes most of the time."""
    monkeypatch.setattr(passes, "peak_bytes", lambda *_: 2**20)


def read(*options):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_job(OmegaConf.to_container(compose("config", ["tracker=none", *options]), resolve=True))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("prompt") / "base", byte_level_tokenizer())


@pytest.fixture
def job(tmp_path, checkpoint):
    options = ["model=phi3", "method=prompt", f"model.checkpoint={checkpoint}", "model.dtype=float64"]
    return replace(read(*options, f"cache={tmp_path}"), dataset=Small())


def by_hand(inputs, contexts, probes, **options):
    encode = Encoder(byte_level_tokenizer(), 64)
    rows = [encode(Prompt().frame(probes, context)) for context in ("", *contexts)]
    return measure_context(inputs.model, rows[0], rows[1:], **options)


def test_a_job_reads_each_stimulus_before_each_probe_and_before_its_candidates(job):
    job = replace(job, readout=["log_prob", "log_odds"])
    inputs = load(job)
    array, _ = measure(job, inputs, SilentRun(), Checkpoint(Path(job.cache) / "unfinished"))
    assert array.dims == ("seed", "stimulus", "step", "probe", "readout") and array.attrs["method"] == "prompt"
    assert array.attrs["engine"] == "context" and array.shape == (1, 3, 1, 3, 2)
    prompts, answers = ("", "a dax can", "a dax can", "a wug can", "a wug can"), (" zorp", " fly", " fly", " zorp")
    rows = Texts(prompts, ("a dax is a blick .", *answers), np.arange(5))
    owner = np.array([0, 1, 1, 2, 2])
    expected = by_hand(inputs, STIMULI, rows, readout=job.readout, candidates=owner)
    np.testing.assert_allclose(array.values[0, :, 0], expected, atol=1e-10)
    assert not any(p.requires_grad for p in inputs.model.parameters())


def test_companions_are_there_before_and_after(job):
    """With another stimulus in company, influence is what the stimulus adds to it."""
    job = replace(job, method=Prompt(stimuli_in_context=2))
    inputs = load(job)
    array, _ = measure(job, inputs, SilentRun(), Checkpoint(Path(job.cache) / "unfinished"))
    array = array.values[0, :, 0, :, 0]
    first, second, neutral = STIMULI  # of two worlds: each has one companion to choose, and the neutral one is none
    with_own = by_hand(inputs, [f"{second} {first}", f"{first} {second}", f"{first} {neutral}"], TASK.probes)
    without = by_hand(inputs, [second, first, first], TASK.probes)
    np.testing.assert_allclose(array, with_own.values - without.values, atol=1e-10)
    assert np.abs(array - by_hand(inputs, STIMULI, TASK.probes).values).max() > 1e-3


def test_without_foils_a_target_is_compared_with_what_stimuli_do_that_are_read_before_themselves(job):
    inputs = load(job)
    [own] = by_hand(inputs, STIMULI[:1], TASK.probes.take([0])).values
    [other] = by_hand(inputs, STIMULI[1:2], TASK.stimuli.take([1])).values
    direct = float(np.mean([own, other]))  # the neutral one does not count
    for target, reached in ((abs(direct) * 1.01, direct > 0), (abs(direct) * 3, False)):
        asked = replace(job, update=replace(job.update, strength=target))
        _, record = measure(asked, load(asked), SilentRun(), Checkpoint(Path(job.cache) / f"{target}"))
        calibration = record.update["calibration"]
        assert calibration["strength"] == pytest.approx(direct)
        assert calibration["target"] == target and calibration["reached"] == reached


def test_neither_update_nor_engine_decides_an_array_that_is_read(job):
    others = [replace(job, update=replace(job.update, steps=3)), replace(job, engine=read("engine=reference").engine)]
    assert all(determinants(other) == determinants(job) for other in others)
    assert determinants(replace(job, method=Prompt(template="question"))) != determinants(job)
    assert determinants(replace(job, seed=1)) != determinants(job)
    fewer = replace(job, update=replace(job.update, calibration_stimuli=1))
    assert determinants(fewer) == determinants(job)
    asked = [replace(one, update=replace(one.update, strength=0.1)) for one in (job, fewer)]
    assert len({str(determinants(one)) for one in (job, *asked)}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model=cnn"], "method must be one for images with model=cnn, got 'prompt'. Try method=full."),
        (["model=phi3", "perturbation=exclude"], "perturbation must take each stimulus alone with method=prompt"),
        (["model=phi3", "engine=first_order"], "engine must be an exact one with method=prompt, got 'first_order'"),
        (["model=phi3", "trajectory=true"], "trajectory must be false with method=prompt, got True. Leave it out."),
    ],
)
def test_what_has_no_meaning_without_training_is_not_applicable(options, message):
    with pytest.raises(NotApplicable) as error:
        read("method=prompt", *options)
    assert str(error.value).startswith(message)


def test_noise_relabelling_and_a_recipe_go_with_it():
    for option in ("perturbation=noise", "perturbation=relabel", "update=adam", "engine=reference"):
        assert read("method=prompt", "model=phi3", option).method.name == "prompt"


def test_a_stimulus_too_long_to_be_read_is_told_before_anything_is_measured(job):
    long = replace(TASK.stimuli, targets=("a dax is a blick .", "a wug can zorp . " * 6, "a gorm can fly ."))

    class Long(Small):
        def load(self, seed: int) -> Task:
            return replace(TASK, stimuli=long)

    with pytest.raises(ConfigError, match=r"model must have a context of at least \d+ tokens for 'a wug .*got 64"):
        checked_inputs(replace(job, dataset=Long()))
