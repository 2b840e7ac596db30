"""Sweeps whose jobs run in other processes; what needs a launcher's package runs with ``make test-ray``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from eif_lab import open_results
from eif_lab.commands.checking import LAUNCHERS
from eif_lab.commands.sweep import run_launched
from eif_lab.configs import CONF

pytest_plugins = ["command_line_fixtures"]

SWEEP = [
    "-m",
    "dataset=digits",
    "dataset.stimuli=12",
    "dataset.probes=8",
    "method=full,lora,adapter",
    "update.learning_rate=0.01",
]
SMALL = ["tracker=none", "deterministic=true", "model.training.steps=20", "desideratum=[symmetry,sparsity]"]


def nothing(_: Path) -> None:
    """No file is needed."""


def has(module: str) -> bool:
    """Whether a package, which may be within another that is not there, is there."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def needs(launcher: str) -> pytest.MarkDecorator:
    """Skips where the launcher's package is not installed."""
    told = f"{launcher} is not installed: make test-ray installs it"
    return pytest.mark.skipif(not has(LAUNCHERS[launcher][0]), reason=told)


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
def test_each_preset_is_there_whether_its_package_is_or_not(launcher):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert str(config.hydra.launcher._target_).startswith("hydra_plugins.")


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
def test_a_launcher_that_is_not_installed_is_one_line_and_nothing_is_written(command, monkeypatch, launcher):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    ended = command(nothing, f"-m method=full,lora hydra/launcher={launcher}")
    extra = LAUNCHERS[launcher][1]
    assert ended.code == 2 and not ended.left and len(ended.err.splitlines()) == 1
    assert f"hydra/launcher must be one whose package is installed, got '{launcher}'" in ended.err
    assert f"pip install 'eif-lab[{extra}]'" in ended.err


def test_a_worker_that_dies_is_one_line_and_what_is_done_is_kept(capsys, tmp_path):
    def dies() -> None:
        raise RuntimeError("A worker process\nwas terminated")

    assert run_launched(dies, tmp_path, "joblib") == 1
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1 and "RuntimeError: A worker process was terminated" in printed
    assert f"hydra.sweep.dir={tmp_path}" in printed


def test_an_error_of_this_process_is_not_taken_for_a_workers(tmp_path):
    with pytest.raises(RuntimeError):
        run_launched(lambda: (_ for _ in ()).throw(RuntimeError("of our own")), tmp_path, "")


def sweep(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run the sweep in a folder of its own."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "eif_lab", *SWEEP, *SMALL, *options, "cache=cache", "hydra.sweep.dir=sweep"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep by Hydra's own launcher."""
    folder = tmp_path_factory.mktemp("basic") / "run"
    assert sweep(folder).returncode == 0
    return folder / "sweep"


def changes(folder: Path) -> dict[str, int]:
    """When each job's manifest was last written; what Ray's processes print can come too late to be shown."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/manifest.json")}


@pytest.mark.parametrize("launcher", [pytest.param(name, marks=needs(name)) for name in ("joblib", "ray")])
def test_a_launched_sweep_is_the_sweep_one_by_one_and_given_again_runs_nothing(one_by_one, tmp_path, launcher):
    done = sweep(tmp_path / "run", f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "p-values corrected over the sweep" in done.stdout and "validated against" not in done.stderr
    for number in range(3):
        job, same = (open_results(folder / str(number)) for folder in (tmp_path / "run" / "sweep", one_by_one))
        assert job.manifest["name"] == same.manifest["name"]
        assert np.array_equal(job.influence.values, same.influence.values)
    assert len(list((tmp_path / "run" / "cache" / "models").glob("*/report.json"))) == 1
    written = changes(tmp_path / "run" / "sweep")
    again = sweep(tmp_path / "run", f"hydra/launcher={launcher}")
    assert again.returncode == 0 and "is done: remove it to run it again" in again.stdout + again.stderr
    assert len(written) == 3 and changes(tmp_path / "run" / "sweep") == written


@pytest.mark.parametrize("launcher", [pytest.param(name, marks=needs(name)) for name in ("joblib", "ray")])
def test_a_launched_job_that_fails_is_said_in_the_table_and_by_the_exit_code(tmp_path, launcher):
    done = sweep(tmp_path / "run", f"hydra/launcher={launcher}", "model.training.learning_rate=1e30")
    assert done.returncode == 1 and "failed" in done.stdout and "Traceback" not in done.stderr
