"""The command line in this process, in a folder of its own, for tests that run many commands."""

from __future__ import annotations

import io
import logging
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from language import save_checkpoint
from omegaconf import DictConfig, OmegaConf

import eif_lab.jobs.run  # noqa: F401 - before its training is replaced
from eif_lab.commands import dispatch
from eif_lab.commands import job as jobs
from eif_lab.commands.output import Output
from eif_lab.configs import CONF
from eif_lab.models import hub
from eif_lab.models.base import Training

Write = Callable[[Path], None]
"""Writes what a command needs into the folder that it runs in."""

JOB = Path("outputs/runs/job")
"""Where `job` writes."""


SET_BY_MAIN = {"HYDRA_FULL_ERROR": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


class Ended(NamedTuple):
    """How a command ended: its exit code, what it printed and logged, and the files and folders that it left."""

    code: int
    out: str
    err: str
    left: list[Path]


def train(net: torch.nn.Module, loss: object, batches: object, options: Training, **_: object) -> float:
    """Instead of a base training, which takes seconds: a net that is blind to black, or one that has diverged."""
    for name, parameter in net.named_parameters():
        parameter.data.abs_()
        if name.endswith("bias"):
            parameter.data.fill_(-1e-3)
        if options.learning_rate > 1e9:
            parameter.data.fill_(torch.nan)
    return 0.0


@cache
def composed(arguments: str) -> DictConfig:
    """The job's config, composed once for all rows with these arguments."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", shlex.split(arguments))


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer: object) -> Path:
    """A language model with a context of 64 tokens."""
    return Path(save_checkpoint(tmp_path_factory.mktemp("checkpoint"), tokenizer))


@contextmanager
def isolation(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to run in, without a network; what the command line sets is gone once the patch is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    patch.setattr(sys, "dont_write_bytecode", True)
    for name, value in SET_BY_MAIN.items():
        patch.setenv(name, value)
    patch.setattr(hub, "hub_answers", lambda: False)
    patch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A folder to run in, without a network or a base training."""
    with isolation(tmp_path, monkeypatch):
        stand_in = SimpleNamespace(train=train, remaining_batches=lambda batches: batches)
        monkeypatch.setitem(sys.modules, "eif_lab.models.training", stand_in)
        yield monkeypatch


def printed_by(folder: Path, *arguments: str, code: int = 0) -> str:
    """What a command line prints that runs in a folder and ends with a code; it trains base models as users' do."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, isolation(folder, patch), redirect_stdout(out), redirect_stderr(out):
        ended = dispatch.main(arguments)
    assert ended == code, out.getvalue()
    return out.getvalue()


@pytest.fixture
def ends(
    isolated: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> Callable[[Write, Callable[[], int]], Ended]:
    """Writes the files, does something, and tells how it ended."""
    caplog.set_level(logging.INFO)

    def run(files: Write, act: Callable[[], int]) -> Ended:
        files(tmp_path)
        given = set(tmp_path.rglob("*"))
        capfd.readouterr()
        code = act()
        printed = capfd.readouterr()
        return Ended(code, printed.out + caplog.text, printed.err, sorted(set(tmp_path.rglob("*")) - given))

    return run


@pytest.fixture
def command(ends: Callable[..., Ended], isolated: pytest.MonkeyPatch) -> Callable[[Write, str], Ended]:
    """Runs a whole command line."""

    def run(files: Write, arguments: str) -> Ended:
        tracker = [] if "tracker=" in arguments else ["tracker=none"]
        return ends(files, lambda: dispatch.main([*shlex.split(arguments), *tracker]))

    return run


@pytest.fixture
def job(
    ends: Callable[..., Ended], isolated: pytest.MonkeyPatch, tmp_path: Path, small_checkpoint: Path
) -> Callable[[Write, str], Ended]:
    """Runs what a command line does once its config is composed, which takes longest."""

    def act(arguments: str) -> int:
        output = Output.claim(tmp_path / JOB, unique=True)
        (tmp_path / JOB / ".hydra").mkdir()
        (tmp_path / JOB / "job.log").touch()
        context = SimpleNamespace(
            runtime=SimpleNamespace(output_dir=str(tmp_path / JOB)),
            overrides=SimpleNamespace(task=OmegaConf.create(shlex.split(arguments))),
        )
        isolated.setattr(jobs.HydraConfig, "get", lambda: context)
        return jobs.run_alone(output, composed(f"{arguments} tracker=none"))

    def run(files: Write, arguments: str) -> Ended:
        if "=tiny" in arguments:
            shutil.copytree(small_checkpoint, tmp_path / "tiny")
        return ends(files, lambda: act(arguments))

    return run
