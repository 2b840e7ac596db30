"""A job whose stimuli are shared by the actors of a real Ray cluster; ``make test-ray`` installs Ray and runs this."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from eif_lab import open_results

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: make test-ray installs it"
)

STIMULI, PLACE = 48, 4
JOB = [
    "dataset=digits",
    f"dataset.stimuli={STIMULI}",
    "dataset.probes=20",
    "model.training.steps=40",
    "update.learning_rate=0.001",
    "update.steps=300",
    "engine=reference",
    "tracker=none",
    "deterministic=true",
]
"""Each fine-tune takes long enough to be killed in."""

TEXTS = [
    "model=phi3",
    "dataset=ontology",
    "dataset.worlds=6",
    "dataset.stimuli_per_world=1",
    "dataset.elsewhere=2",
    "dataset.background=context",
    "update.learning_rate=0.001",
    "tracker=none",
    "deterministic=true",
]
"""Each stimulus is read on the probes of three worlds alone."""

RAY = ["workers=ray", "workers.actors=2", f"workers.stimuli={PLACE}"]


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a living process that runs our actor."""
    try:
        return process.is_running() and "ray::Worker" in "".join(process.cmdline())  # which Ray itself is not called
    except psutil.Error:  # it has just died
        return False


class Attempt:
    """The command line in a process of its own."""

    def __init__(self, folder: Path, *options: str, job: Sequence[str] = JOB) -> None:
        self.folder, self.log = folder, folder / "log"
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "eif_lab", *job, *options, "cache=cache", "hydra.run.dir=job"]
        with self.log.open("a") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)

    def parts(self) -> set[str]:
        """The parts that are whole."""
        return {path.name for path in self.folder.glob("cache/influence/*.partial/stimuli/*") if "." not in path.name}

    def actors(self) -> list[psutil.Process]:
        """The processes of its actors."""
        return [one for one in psutil.Process(self.process.pid).children(recursive=True) if is_worker(one)]

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that happens before the job ends."""
        while not reached():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def array(self) -> np.ndarray:
        """Wait for the end, which must be a good one, and read what was measured."""
        assert self.process.wait(600) == 0, self.log.read_text()[-3000:]
        return open_results(self.folder / "job").influence.values


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The array as one process measures it."""
    return Attempt(tmp_path_factory.mktemp("alone") / "run").array()


def test_actors_measure_bit_for_bit_what_one_process_does(alone, tmp_path):
    attempt = Attempt(tmp_path / "run", *RAY)
    assert np.array_equal(attempt.array(), alone) and np.ptp(alone) > 0
    assert f"2 Ray actors measure {STIMULI} of {STIMULI} stimuli" in attempt.log.read_text()


def test_an_actor_that_is_killed_is_started_again_and_nothing_is_lost(alone, tmp_path):
    attempt = Attempt(tmp_path / "run", *RAY)
    attempt.until(lambda: len(attempt.parts()) >= 5)
    killed = attempt.actors()[0]
    killed.send_signal(signal.SIGKILL)
    attempt.until(lambda: len({actor.pid for actor in attempt.actors()} - {killed.pid}) == 2)
    assert np.array_equal(attempt.array(), alone)


@pytest.mark.parametrize("then", [RAY, []], ids=["by actors again", "by one process"])
def test_a_job_that_is_killed_is_gone_on_with(alone, tmp_path, then):
    attempt = Attempt(tmp_path / "run", *RAY)
    attempt.until(lambda: len(attempt.parts()) >= 9)
    below = psutil.Process(attempt.process.pid).children(recursive=True)
    attempt.process.kill()
    psutil.wait_procs(below, timeout=60)  # Ray ends a cluster whose driver is gone
    kept = attempt.parts()
    attempt.log.unlink()
    again = Attempt(tmp_path / "run", *then)
    assert np.array_equal(again.array(), alone)
    if then:
        told = re.search(r"(\d+) of \d+ stimuli", again.log.read_text())
        assert told and 0 < int(told[1]) <= STIMULI - (len(kept) - 2 * PLACE)


@pytest.mark.parametrize("method", ["full", "prompt"])
def test_actors_read_each_stimulus_where_one_process_does(tmp_path, method):
    job = [*TEXTS, f"method={method}"]
    alone = Attempt(tmp_path / "alone", job=job).array()
    shared = Attempt(tmp_path / "shared", *RAY, job=job).array()
    assert np.array_equal(shared, alone, equal_nan=True)
    assert np.isfinite(alone).any() and np.isnan(alone).any()
