"""A job reads probes that have candidates against them, and encodes no candidate that no readout looks at."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from language import byte_level_tokenizer, save_checkpoint
from omegaconf import OmegaConf

from eif_lab import measure_influence
from eif_lab.configs import CONF
from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Task, Texts
from eif_lab.jobs.inputs import load
from eif_lab.jobs.measure import measure
from eif_lab.jobs.read import read_job
from eif_lab.models.language.causal_lm import token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.results.checkpoint import Checkpoint
from eif_lab.results.trackers.none import SilentRun

TASK = Task(
    stimuli=Texts(("", ""), ("a dax is a blick .", "a wug can zorp ."), np.array(["one", "two"])),
    probes=Texts(
        ("", "a dax can", "a wug can"),
        ("a dax is a blick .", " zorp", " fly high"),
        np.array(["one", "three", "four"]),
        candidates=((), (" zorp", " fly high", " a"), (" zorp", " fly high")),
    ),
    relation=np.array([["direct", "entailed", "unrelated"], ["unrelated", "foil", "unrelated"]]),
    distances={"path": np.ones((2, 3))},
)


@dataclass
class Small(Dataset):
    """The task as a dataset."""

    kind: ClassVar[str] = "text"

    def load(self, seed: int) -> Task:
        return TASK


@pytest.fixture
def job(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "base", byte_level_tokenizer())
    options = [
        "model=phi3", f"model.checkpoint={checkpoint}", "model.dtype=float64", "tracker=none", f"cache={tmp_path}",
        "update.learning_rate=0.05",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose("config", options), resolve=True)
    return replace(read_job(plain), dataset=Small())


def test_a_job_measures_what_measure_influence_does_of_rows_written_out_by_hand(job):
    job = replace(job, readout=["log_odds", "rank", "correct"])
    inputs = load(job)
    encode, model = Encoder(byte_level_tokenizer(), 64), copy.deepcopy(inputs.model)
    prompts = ("", *["a dax can"] * 3, *["a wug can"] * 2)
    answers = ("a dax is a blick .", " zorp", " fly high", " a", " fly high", " zorp")
    expected = measure_influence(
        model, token_loss, encode(TASK.stimuli), encode(Texts(prompts, answers, np.arange(6))),
        candidates=torch.tensor([0, 1, 1, 1, 2, 2]), readout=job.readout, update={"learning_rate": 0.05},
    )  # fmt: skip
    array, _ = measure(job, inputs, SilentRun(), Checkpoint(Path(job.cache) / "unfinished"))
    assert array.sizes["probe"] == 3 and np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(array.values[0, :, 0], expected, atol=1e-10)


def test_readouts_of_the_target_alone_encode_no_other_candidate(job):
    inputs = load(replace(job, readout=["log_prob", "prob"]))
    expected = Encoder(byte_level_tokenizer(), 64)(TASK.probes)
    assert inputs.candidates is None
    assert all(torch.equal(own, other) for own, other in zip(inputs.probes, expected))


def test_how_likely_each_probe_was_before_any_update_is_a_coordinate(job):
    both = replace(job, readout=["log_prob", "prob"])
    array, _ = measure(both, load(both), SilentRun(), Checkpoint(Path(job.cache) / "unfinished"))
    before = array["probe_base_log_prob"].values
    moved, expected = array.sel(readout="log_prob").values, array.sel(readout="prob").values
    np.testing.assert_allclose(np.exp(before + moved) - np.exp(before), expected, rtol=1e-6, atol=1e-12)
