"""A job's strength is that of its array: the stated clozes less their foils, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from language import byte_level_tokenizer, save_checkpoint
from test_prompting_in_jobs import read

from eif_lab.data.dataset import Dataset
from eif_lab.data.task import Task, Texts
from eif_lab.influence.per_sample import trial
from eif_lab.influence.reading import passes
from eif_lab.jobs.inputs import load
from eif_lab.jobs.measure import measure
from eif_lab.results.checkpoint import Checkpoint
from eif_lab.results.trackers.none import SilentRun

FACTS = (("a dax is a", "blick"), ("a wug is a", "zorp"))
CLOZES = [(prompt, f" {word}") for prompt, _ in FACTS for _, word in FACTS]
STATEMENTS = tuple(f"{prompt} {word} ." for prompt, word in FACTS)


def small_task() -> Task:
    """Two facts; of each cloze, one foil has the other's answer, one the other's subject, one both."""
    stimuli = (*STATEMENTS, "a gorm can fly .")
    coords = {"world": np.array([0, 1, 1]), "neutral": np.array([False, False, True])}
    probes = [("", one) for one in STATEMENTS] + CLOZES
    relation = np.full((3, 6), "unrelated", dtype="<U12")
    relation[0, [0, 2]] = relation[1, [1, 5]] = "direct"
    foils = {name: np.full((3, 6), -1) for name in ("same_subject", "same_words", "neither")}
    for name, first, second in (("same_subject", 3, 4), ("same_words", 4, 3), ("neither", 5, 2)):
        foils[name][0, 2], foils[name][1, 5] = first, second
    prompts, targets = zip(*probes)
    ids = np.array([f"{prompt}{target}" for prompt, target in probes])
    return Task(
        stimuli=Texts(("",) * 3, stimuli, np.array(stimuli), coords),
        probes=Texts(prompts, targets, ids, {"world": np.array([0, 1, 0, 0, 1, 1])}),
        relation=relation,
        distances={"path": np.ones((3, 6))},
        foils=foils,
    )


@dataclass
class Small(Dataset):
    """The task as a dataset."""

    kind: ClassVar[str] = "text"

    def load(self, seed: int) -> Task:
        return small_task()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("strength") / "base", byte_level_tokenizer())


@pytest.fixture
def record_of(tmp_path, checkpoint, monkeypatch):
    """Makes a job and measures it: its array, (stimuli, probes), and its record."""
    for room in (passes, trial):
        monkeypatch.setattr(room, "peak_bytes", lambda call, _: (call(), 2**20)[1])

    def made(*options, perturbation=None):
        options = [*options, f"model.checkpoint={checkpoint}", "model.dtype=float64", f"cache={tmp_path}"]
        job = replace(read("model=phi3", *options), dataset=Small())
        array, record = measure(job, load(job), SilentRun(), Checkpoint(Path(tmp_path) / "unfinished"))
        return array.isel(seed=0, step=-1, readout=0), record

    return made


def strengths(array, first=0):
    """Of each fact, from its cells: how far its answer gained on the other one, about its subject more than another."""
    own, other_answer, other_subject, neither = array.values[0, first + np.arange(2, 6)]
    reverse = array.values[1, first + np.arange(5, 1, -1)]
    return [own - other_answer - other_subject + neither, reverse[0] - reverse[1] - reverse[2] + reverse[3]]


@pytest.mark.parametrize(
    "options", [["method=full"], ["method=lora"], ["method=full", "update=adam", "update.steps=3"]]
)
def test_the_recorded_strength_is_that_of_the_array_at_the_rate_that_was_found(record_of, options):
    array, record = record_of(*options, "update.strength=0.02", "trajectory=true")
    calibration = record.update["calibration"]
    assert calibration["reached"] and calibration["target"] == 0.02 and calibration["stimuli"] == 2
    assert calibration["strength"] == pytest.approx(np.median(strengths(array)), rel=1e-6)
    assert calibration["yardstick"] == "stated clozes less their foils"


def test_the_strength_of_prompting_is_that_of_its_array(record_of):
    array, record = record_of("method=prompt", "update.strength=0.02")
    found = float(np.median(strengths(array)))
    calibration = record.update["calibration"]
    assert calibration["strength"] == pytest.approx(found) and calibration["stimuli"] == 2
    assert calibration["reached"] == (abs(found - 0.02) <= 0.002)


def test_of_noise_every_level_has_the_rate_of_the_clean_ones_and_its_own_strength_on_record(record_of):
    noise = ["perturbation=noise", "perturbation.noise=character", "perturbation.levels=[0.5]"]
    array, record = record_of("method=full", "update.strength=0.02", *noise)
    clean, noisy = array.isel(stimulus=[0, 1, 2]), array.isel(stimulus=[3, 4, 5])
    assert record.update["calibration"]["strength"] == pytest.approx(np.median(strengths(clean)), rel=1e-6)
    expected = {"0": np.median(strengths(clean)), "0.5": np.median(strengths(noisy, first=6))}
    assert record.strength_by_level == pytest.approx(expected)
