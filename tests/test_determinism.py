"""The deterministic mode: the same bits again, on request only, and nothing left behind."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from eif_lab import open_results
from eif_lab.jobs.channels import channel, weights
from eif_lab.jobs.determinants import determinants
from eif_lab.jobs.device import CUBLAS, deterministic_algorithms
from eif_lab.jobs.read import read_job
from eif_lab.jobs.run import run_job

SMALL = [
    "tracker=none",
    "dataset.stimuli=8",
    "dataset.probes=8",
    "model.channels=[4]",
    "model.hidden=8",
    "model.training.steps=5",
    "update.learning_rate=0.05",
    "desideratum=[symmetry]",
]


def settings():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get(CUBLAS),
    )


def job_of(*overrides):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from eif_lab.configs import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose("config", [*SMALL, *overrides]), resolve=True)
    return read_job(plain), plain


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_settings_hold_within_and_are_what_they_were_afterwards(monkeypatch, workspace):
    if workspace is None:
        monkeypatch.delenv(CUBLAS, raising=False)
    else:
        monkeypatch.setenv(CUBLAS, workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with pytest.raises(ZeroDivisionError), deterministic_algorithms(True):
        assert settings() == (True, False, False, workspace or ":4096:8")
        raise ZeroDivisionError
    assert settings() == before
    with deterministic_algorithms(False):
        assert settings() == before


def test_a_callers_own_deterministic_mode_is_left_on():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        before = settings()
        with deterministic_algorithms(True):
            pass
        assert settings() == before
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("wanted", [False, True])
def test_job_trains_and_measures_in_the_mode_that_it_asks_for(tmp_path, monkeypatch, wanted):
    seen = []
    for room, name in ((channel, "load"), (weights, "open_measurement")):
        plain = getattr(room, name)

        def watched(*arguments, plain=plain, **options):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return plain(*arguments, **options)

        monkeypatch.setattr(room, name, watched)
    before = settings()
    job, plain = job_of(f"deterministic={wanted}", f"cache={tmp_path / 'cache'}")
    run_job(job, plain, tmp_path / "job", "group", [])
    assert seen == [wanted, wanted]
    assert settings() == before


def test_deterministic_job_run_twice_from_nothing_gives_the_same_bits(tmp_path):
    arrays = []
    for place in ("one", "two"):
        job, plain = job_of("deterministic=true", f"cache={tmp_path / place / 'cache'}")
        run_job(job, plain, tmp_path / place, "group", [])
        arrays.append(open_results(tmp_path / place).influence)
    assert np.abs(arrays[0].values).max() > 0
    assert arrays[0].values.tobytes() == arrays[1].values.tobytes()


def test_deterministic_job_does_not_take_an_array_that_other_algorithms_made():
    assert determinants(job_of("deterministic=true")[0]) != determinants(job_of("deterministic=false")[0])
