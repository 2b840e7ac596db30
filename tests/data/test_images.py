"""Image tasks: balanced draws, relations, distances, and the real files."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from eif_lab.data.images.base import balanced_order, feature_distance, pixel_distance
from eif_lab.data.images.digits import Digits
from eif_lab.data.images.mnist import MNIST, PARTS, SPLITS
from eif_lab.errors import ConfigError


def test_every_head_of_the_order_is_balanced():
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 30)
    order = balanced_order(labels, 0)
    assert sorted(order.tolist()) == list(range(100))
    for count in range(3, 61):
        counts = np.bincount(labels[order[:count]].numpy(), minlength=3)
        assert counts.max() - counts.min() <= 1


def test_smaller_draws_are_part_of_larger_ones_and_the_seed_decides():
    small, large, other = Digits(stimuli=10, probes=15).load(3), Digits(stimuli=20, probes=20).load(3), Digits().load(4)
    assert small.stimuli.ids.tolist() == large.stimuli.ids[:10].tolist() == small.probes.ids[:10].tolist()
    assert other.stimuli.ids[:10].tolist() != small.stimuli.ids.tolist()


def test_stimuli_are_never_trained_on():
    task = Digits(stimuli=898, probes=898).load(0)
    assert not set(task.training.ids) & set(task.stimuli.ids)
    assert len(task.training) + len(task.stimuli) == 1797


def test_relations_follow_sample_and_class():
    task = Digits(stimuli=30, probes=40).load(0)
    for i in range(30):
        for j in range(40):
            same = task.stimuli.labels[i] == task.probes.labels[j]
            assert task.relation[i, j] == ("direct" if i == j else "entailed" if same else "unrelated")
            assert task.distances["class"][i, j] == float(not same)


def test_distances_equal_their_definitions():
    a = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pixel, angle = pixel_distance(a, b), feature_distance(a.flatten(1), b.flatten(1))
    for i in range(4):
        for j in range(5):
            x, y = a[i].numpy().ravel(), b[j].numpy().ravel()
            assert np.isclose(pixel[i, j], np.sqrt(np.mean((x - y) ** 2)))
            assert np.isclose(angle[i, j], 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_more_samples_than_there_are_is_told():
    with pytest.raises(ConfigError, match=r"dataset.probes must be at most 898 .* got 899. Try 898."):
        Digits(probes=899).load(0)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_real_files_are_read_as_they_are(real_data, tmp_path, name, folder):
    task = MNIST(name=name, root=str(real_data), download=str(tmp_path)).load(0)
    with gzip.open(real_data / folder / "raw" / "t10k-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(real_data / folder / "raw" / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert len(task.training) == 60000 and len(task.stimuli) == 200
    for name, pixels, label in zip(task.stimuli.ids, task.stimuli.pixels, task.stimuli.labels):
        index = int(name.rsplit("-", 1)[1])
        np.testing.assert_array_equal((pixels[0] * 255).round().byte().numpy(), raw[index])
        assert label == labels[index]
    counts = np.bincount(task.stimuli.labels.numpy())
    assert (counts == 20).all()


def test_identity_tells_unpacked_files_apart_and_trusts_checked_ones(tmp_path):
    """Gzipped files are held to their published checksums; what somebody unpacked could be anything."""
    one, two = tmp_path / "one", tmp_path / "two"
    for root, size in ((one, 5), (two, 6)):
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte").write_bytes(b"x" * size)
    assert MNIST(root=str(one)).identity() != MNIST(root=str(two)).identity()
    assert MNIST(root=str(tmp_path / "a")).identity() == MNIST(root=str(tmp_path / "b")).identity()


def test_absent_files_are_told_in_one_line_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(ConfigError, match=r"dataset.root must hold MNIST/raw .* Set EIF_LAB_DATA") as caught:
        MNIST(root=str(tmp_path / "absent"), download=str(tmp_path / "download")).load(0)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_not_taken_for_the_real_one(real_data, tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    raw = tmp_path / "root" / "MNIST" / "raw"
    shutil.copytree(real_data / "MNIST" / "raw", raw, copy_function=shutil.copyfile)
    whole = (raw / "train-images-idx3-ubyte.gz").read_bytes()
    (raw / "train-images-idx3-ubyte.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"dataset.root must hold MNIST/raw"):
        MNIST(root=str(tmp_path / "root"), download=str(tmp_path / "download")).load(0)
    assert (raw / "train-images-idx3-ubyte.gz").read_bytes() == whole[: len(whole) // 2]


def test_files_that_were_unpacked_before_are_read_with_nothing_written(real_data, tmp_path):
    asked = MNIST(root=str(real_data), download=str(tmp_path))
    first = asked.load(0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "MNIST", "raw", "raw.lock", *sorted(f"{split}-{part}" for split in SPLITS.values() for part in PARTS),
    ]  # fmt: skip
    (tmp_path / "MNIST" / "raw.lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    assert asked.load(0).stimuli.pixels.equal(first.stimuli.pixels)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_unpacking_that_was_killed_leaves_no_file_that_is_taken_for_a_whole_one(real_data, tmp_path, monkeypatch):
    def killed(_, download_root, filename, **__):
        (Path(download_root) / filename).with_suffix("").write_bytes(b"the first half")
        raise KeyboardInterrupt

    asked = MNIST(root=str(real_data), download=str(tmp_path))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("torchvision.datasets.mnist.download_and_extract_archive", killed)
        asked.load(0)
    assert not list(tmp_path.rglob("*-ubyte"))


def test_a_full_disk_is_not_taken_for_files_that_are_not_to_be_had(real_data, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torchvision.datasets.MNIST.download", full)
    with pytest.raises(OSError, match="No space left"):
        MNIST(root=str(real_data), download=str(tmp_path)).load(0)
