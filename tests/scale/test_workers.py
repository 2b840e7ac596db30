"""Stimuli measured apart are the array measured at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import measure_influence
from eif_lab.commands.checking import to_plain_containers
from eif_lab.errors import ConfigError
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import load
from eif_lab.jobs.measure import measure
from eif_lab.jobs.read import read_job
from eif_lab.jobs.workers import NoWorkers, RayWorkers, Worker
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.trackers.none import SilentRun

pytest_plugins = ["command_line_fixtures"]

CNN = "dataset=digits dataset.stimuli=10 dataset.probes=6 model.channels=[4] model.hidden=8 engine.memory_budget=1e-6"
PHI3 = "model=phi3 dataset=reversal dataset.worlds=2 model.minimum_background_accuracy=0"


class LastFirst(NoWorkers):
    """Two workers of this process, which take what is missing by turns, the last stimuli first."""

    def measure(self, prepare, left, stimuli):
        workers = [Worker(prepare, left.folder / "stimuli", 1, Path.cwd()) for _ in range(2)]
        places = left.missing("stimuli", stimuli, 4)
        assert len(places) > 1
        for number, place in enumerate(reversed(places)):
            assert workers[number % 2].measure(place) == place.stop - place.start
        assert left.missing("stimuli", stimuli, 4) == []


def array(options, folder, workers):
    """A job's array, measured with these workers."""
    from command_line_fixtures import composed

    job = read_job(
        to_plain_containers(composed(f"{options} tracker=none deterministic=true cache={folder.parent / 'cache'}"))
    )
    job.workers = workers
    with deterministic_algorithms(True):
        return measure(job, load(job), SilentRun(), Checkpoint(folder))[0].values


@pytest.mark.parametrize(
    "options",
    [
        f"{CNN} update.steps=2 trajectory=true",
        f"{CNN} perturbation=exclude update.learning_rate=0.01 readout=[log_prob,rank]",
        f"{PHI3} method=lora update.learning_rate=0.1",
        f"{PHI3} method=prompt readout=[log_prob,log_odds]",
    ],
    ids=["trajectory", "leave-one-out", "lora", "prompt"],
)
def test_what_workers_measure_in_any_order_is_bit_for_bit_what_one_process_does(isolated, tmp_path, options):
    alone, shared = (array(options, tmp_path / type(w).__name__, w) for w in (NoWorkers(), LastFirst()))
    assert np.array_equal(alone, shared) and np.ptp(alone) > 0


@pytest.mark.parametrize("membership", ["include", "exclude"])
def test_some_rows_are_those_of_the_whole_array(membership):
    torch.manual_seed(0)
    model, batch = nn.Linear(5, 3).double(), (torch.randn(7, 5).double(), torch.arange(7) % 3)
    options = {"update": {"learning_rate": 0.1, "steps": 2}, "perturbation": membership, "trajectory": True}
    whole = measure_influence(model, F.cross_entropy, batch, batch, **options)
    for rows in (slice(0, 3), slice(2, 7), slice(6, 7)):
        part = measure_influence(model, F.cross_entropy, batch, batch, rows=rows, **options)
        np.testing.assert_allclose(part.values, whole.values[rows], rtol=1e-12)
        assert part.stimulus.values.tolist() == list(range(7))[rows]
    assert np.ptp(whole.values) > 1e-3


def test_what_is_missing_is_what_no_whole_part_covers(tmp_path):
    left = Checkpoint(tmp_path)
    for first, rows in ((0, 3), (8, 4), (12, 2)):
        Parts(tmp_path / "stimuli", first).append(np.zeros((rows, 1)))
    assert left.missing("stimuli", 20, 4) == [slice(3, 4), slice(4, 8), slice(12, 16), slice(16, 20)]
    assert left.missing("stimuli", 3, 4) == []
    Parts(tmp_path / "stimuli", 14).append(np.zeros((2, 1)))
    assert slice(12, 16) not in left.missing("stimuli", 20, 4)


def test_a_part_that_begins_in_the_middle_is_gone_on_with(tmp_path):
    Parts(tmp_path, 8).append(np.ones((2, 1)))
    assert Parts(tmp_path, 8, 12).rows == 2 and Parts(tmp_path, 0).rows == 0


def test_more_actors_than_the_cluster_has_room_for_are_refused_and_not_waited_for(monkeypatch, caplog):
    monkeypatch.setattr("eif_lab.jobs.workers.find_spec", bool)
    two = {"CPU": 2.0}
    RayWorkers(actors=2).must_fit(2, two, two)
    assert not caplog.records
    RayWorkers(actors=2).must_fit(2, two, {"CPU": 1.0})
    assert "this waits until it has 2 CPU free" in caplog.text
    with pytest.raises(ConfigError, match=r"workers.cpus must be no more, for 3 actors, than the 2 that"):
        RayWorkers(actors=3).must_fit(3, two, two)
    with pytest.raises(ConfigError, match=r"workers.gpus must be no more, for 1 actors, than the 0 that"):
        RayWorkers(gpus=1).must_fit(1, two, two)


def test_ray_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr("eif_lab.jobs.workers.find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"workers must be one whose package is installed.*pip install 'eif-lab\[ray\]'"
    ):
        RayWorkers()
