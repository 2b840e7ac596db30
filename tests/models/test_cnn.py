"""The CNN's base training: it learns, it is cached, and an interrupted run goes on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.images.digits import Digits
from eif_lab.errors import ConfigError
from eif_lab.files.build_once import build_once
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.models.base import Training, weights_hash
from eif_lab.models.cnn import CNN, accuracy
from eif_lab.models.training import Finetuner, remaining_batches, train


@pytest.fixture(scope="module")
def task():
    return Digits().load(0)


def test_base_training_learns_the_digits_and_reports_the_accuracy_it_reached(task, tmp_path):
    base = CNN().prepare(task, tmp_path, 0, "cpu")
    assert base.report["accuracy"] > 0.9
    assert base.report["accuracy"] == accuracy(base.module, task.validation)
    assert not base.module.training


def test_a_trained_model_is_found_again_and_another_seed_or_option_trains_anew(task, tmp_path):
    quick = {"training": Training(steps=3)}
    first = CNN(**quick).prepare(task, tmp_path, 0, "cpu")
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")}
    again = CNN(**quick).prepare(task, tmp_path, 0, "cpu")
    assert weights_hash(first.module) == weights_hash(again.module)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")} == stamp
    other = CNN(**quick).prepare(task, tmp_path, 1, "cpu")
    CNN(hidden=64, **quick).prepare(task, tmp_path, 0, "cpu")
    assert weights_hash(other.module) != weights_hash(first.module)
    assert len(list(tmp_path.rglob("model.safetensors"))) == 3


def test_other_images_to_be_judged_by_or_deterministic_algorithms_train_anew(task, tmp_path):
    options = CNN(training=Training(steps=1))
    options.prepare(task, tmp_path, 0, "cpu")
    flipped = dataclasses.replace(task.validation, pixels=task.validation.pixels.flip(0))
    base = options.prepare(dataclasses.replace(task, validation=flipped), tmp_path, 0, "cpu")
    assert base.report["accuracy"] == accuracy(base.module, flipped)
    with deterministic_algorithms(True):
        options.prepare(task, tmp_path, 0, "cpu")
    assert len(list(tmp_path.rglob("model.safetensors"))) == 3


def test_training_is_the_same_every_time(task, tmp_path):
    hashes = {
        weights_hash(CNN(training=Training(steps=5)).prepare(task, tmp_path / str(i), 0, "cpu").module)
        for i in range(2)
    }
    assert len(hashes) == 1


def test_interrupted_training_goes_on_from_its_checkpoint(task, tmp_path):
    """Stopped after step 4 and begun again, only the remaining steps are run, from the weights that were kept."""

    class Stop(Exception):
        pass

    seen = []

    def loss(output, target):
        seen.append(len(target))
        if len(seen) == 6 and not loss.again:
            raise Stop
        return nn.functional.cross_entropy(output, target)

    loss.again = False
    options = Training(steps=10, batch_size=32, checkpoint_every=2)
    batches = DataLoader(TensorDataset(task.training.pixels, task.training.labels), batch_size=32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(Stop):
        train(model, loss, remaining_batches(batches), options, directory=tmp_path, title="test")
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    seen.clear()
    loss.again = True
    again = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    train(again, loss, remaining_batches(batches), options, directory=tmp_path, title="test")
    assert len(seen) == 6
    assert not (tmp_path / "checkpoints").exists()


def test_a_failed_making_leaves_nothing_that_passes_for_done(tmp_path):
    def half(folder):
        (folder / "weights").write_text("half")
        raise RuntimeError("died")

    with pytest.raises(RuntimeError):
        build_once(tmp_path / "model", half)
    assert not (tmp_path / "model").exists()
    report = build_once(tmp_path / "model", lambda folder: {"accuracy": 1.0})
    assert report == {"accuracy": 1.0} and (tmp_path / "model").is_dir()
    assert build_once(tmp_path / "model", half) == {"accuracy": 1.0}


def test_lightning_keeps_the_mode_that_a_model_comes_in():
    import pytorch_lightning as pl

    from eif_lab.models.training import SILENT, quiet_lightning

    modes = []

    class Watched(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    for mode in (True, False):
        module = Finetuner(Watched(2, 2).train(mode), nn.functional.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1))
        with quiet_lightning():
            trainer = pl.Trainer(max_steps=1, accelerator="cpu", **SILENT)
            trainer.fit(module, DataLoader([(torch.ones(1, 2), torch.tensor([0]))], batch_size=None))
    assert modes == [True, False]


def test_too_many_blocks_for_the_image_are_refused(task, tmp_path):
    with pytest.raises(ConfigError, match=r"model.channels must have at most 3 blocks"):
        CNN(channels=[4, 4, 4, 4]).prepare(task, tmp_path, 0, "cpu")
