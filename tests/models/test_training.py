"""A training that is interrupted ends as if it had not been, whatever has become of its checkpoint."""

from __future__ import annotations

import errno
import math
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_jobs import die_at
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.files.checksums import write_checked
from eif_lab.models.base import Training
from eif_lab.models.checkpoints import CHECKPOINTS, LAST, last_checkpoint
from eif_lab.models.training import remaining_batches, train


class Stopped(Exception):
    """Ends a training."""


class Line(nn.Module):
    """Ten classes from 64 numbers; stops before the forward pass of a number."""

    def __init__(self, passes):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.passes, self.taken = nn.Linear(64, 10), passes, 0

    def forward(self, rows):
        if self.taken == self.passes:
            raise Stopped
        self.taken += 1
        return self.layer(rows)


def trained(folder, passes=math.inf):
    """The weights after six steps, with a checkpoint after every second, and how many steps were taken now."""
    draw = torch.Generator().manual_seed(0)
    rows = TensorDataset(torch.randn(32, 64, generator=draw), torch.randint(10, (32,), generator=draw))
    batches = remaining_batches(DataLoader(rows, batch_size=8, shuffle=True, generator=draw))
    model, options = Line(passes), Training(steps=6, checkpoint_every=2)
    train(model, nn.functional.cross_entropy, batches, options, directory=folder, title="line")
    return model.layer.weight.detach().clone(), model.taken


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The weights of a training that nothing disturbs."""
    return trained(tmp_path_factory.mktemp("whole"))[0]


@pytest.fixture
def stopped(tmp_path):
    """A folder with a training that was stopped in its fifth step."""
    with pytest.raises(Stopped):
        trained(tmp_path, passes=4)
    return tmp_path


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


DAMAGE = {
    "flipped": lambda path: path.write_bytes(flipped(path.read_bytes(), 4 * path.stat().st_size)),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 100),
    "emptied": lambda path: os.truncate(path, 0),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "file").touch()),
    "a pickle": lambda path: torch.save({"global_step": 4}, path),
    "another's, with a checksum": lambda path: write_checked(path, pickle.dumps({"epoch": 1}, protocol=2)),
}


def test_a_whole_checkpoint_goes_on_to_the_very_same_weights(stopped, expected):
    weights, steps = trained(stopped)
    assert steps == 2 and torch.equal(weights, expected)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_trains_anew_to_the_very_same_weights(stopped, expected, caplog, damage):
    DAMAGE[damage](stopped / CHECKPOINTS / LAST)
    with pytest.raises(Stopped):
        trained(stopped, passes=3)
    assert "is damaged; training starts anew" in caplog.text
    assert last_checkpoint(stopped)["global_step"] == 2  # what is anew can be interrupted, too
    weights, steps = trained(stopped)
    assert steps == 4 and torch.equal(weights, expected)
    assert not (stopped / CHECKPOINTS).exists()


def test_no_flipped_bit_and_no_cut_of_a_checkpoint_is_believed(stopped):
    path, random = stopped / CHECKPOINTS / LAST, np.random.default_rng(0)
    whole = path.read_bytes()
    for bit in random.integers(8 * len(whole), size=100):
        path.write_bytes(flipped(whole, int(bit)))
        assert last_checkpoint(stopped) is None
    for length in random.integers(len(whole), size=100):
        path.write_bytes(whole[:length])
        assert last_checkpoint(stopped) is None
    path.write_bytes(whole)
    assert last_checkpoint(stopped)["global_step"] == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork")
@pytest.mark.parametrize("half_written", [False, True])
def test_a_training_killed_at_any_change_of_a_file_ends_in_the_very_same_weights(tmp_path, expected, half_written):
    """Temporary files are on another file system, from which nothing can be renamed into the training's folder."""
    for moment in range(1, 13):
        folder = tmp_path / str(moment)
        child = os.fork()
        if not child:
            tempfile.tempdir = "/dev/shm" if Path("/dev/shm").is_dir() else None
            die_at(moment, half_written)
            trained(folder)
            os._exit(0)
        os.waitpid(child, 0)
        assert torch.equal(trained(folder)[0], expected)


def test_a_disk_that_is_full_while_a_checkpoint_is_written_leaves_the_one_before(stopped, expected, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("eif_lab.files.checksums.HashedFile.write", full)
        trained(stopped)
    assert [path.name for path in (stopped / CHECKPOINTS).iterdir()] == [LAST]
    assert last_checkpoint(stopped)["global_step"] == 4
    assert torch.equal(trained(stopped)[0], expected)
