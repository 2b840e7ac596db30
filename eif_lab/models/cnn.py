"""A small convolutional network for grey or colour images."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from eif_lab.data.task import Images, Samples, Task
from eif_lab.errors import rule_error
from eif_lab.files.build_once import build_once, built_report
from eif_lab.models.base import BaseModel, Lesson, Model, Sketch, Training, training_environment
from eif_lab.options import option


class ConvNet(nn.Module):
    """Blocks of convolution (3 x 3), ReLU and max-pooling (2 x 2), a hidden layer, and a linear head.

    On 28 x 28 grey images with channels (32, 64) and 128 hidden units: 421,642 parameters.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, channels: list[int], hidden: int) -> None:
        super().__init__()
        depth, height, width = shape
        self.blocks = nn.ModuleList()
        for out in channels:
            self.blocks.append(nn.Sequential(nn.Conv2d(depth, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
            depth, height, width = out, height // 2, width // 2
        self.hidden = nn.Linear(depth * height * width, hidden)
        self.head = nn.Linear(hidden, classes)

    def features(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The hidden layer's activations."""
        for block in self.blocks:
            pixels = block(pixels)
        return F.relu(self.hidden(pixels.flatten(1)))

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.head(self.features(pixels))


@dataclass
class CNN(Model):
    """Options of the CNN and of its base training."""

    kind: ClassVar[str] = Images.kind

    name: str = option("cnn", one_of=["cnn"])
    channels: list[int] = option([32, 64], at_least=1, hint="Try [32,64].")
    hidden: int = option(128, at_least=1, hint="Try 128.")
    training: Training = field(default_factory=Training)

    def prepare(self, task: Task, cache: Path, seed: int, device: str) -> BaseModel:
        """The network trained on ``task.training``, from the cache where it was trained before."""
        net, directory = self._untrained(task, cache, seed, device)
        report = build_once(directory, lambda folder: self._train(net, task, seed, folder, device))
        net.load_state_dict(load_file(directory / "model.safetensors"))
        return self._base(net, report, device)

    def sketch(self, task: Task, cache: Path, seed: int, device: str) -> Sketch:
        """The network as it is before its training, and what that takes; nothing is trained or written."""
        net, directory = self._untrained(task, cache, seed, device)
        report = built_report(directory)
        lesson = Lesson(self._batches(task, seed), self.training, 1, partial(accuracy, net, task.validation))
        return Sketch(self._base(copy.deepcopy(net), report, device), None if report else lesson, directory)

    def _untrained(self, task: Task, cache: Path, seed: int, device: str) -> tuple[ConvNet, Path]:
        """The network with its first weights, and where the trained one is kept."""
        data = task.training
        if data is None:
            raise rule_error("dataset", "hold training images for model=cnn", "none", "Try dataset=digits.")
        channels, height, width = data.pixels.shape[1:]
        if min(height, width) >> len(self.channels) < 1:
            raise rule_error(
                "model.channels",
                f"have at most {min(height, width).bit_length() - 1} blocks (each halves the image)",
                self.channels,
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = ConvNet((channels, height, width), len(data.classes), list(self.channels), self.hidden)
        return net, cache / "models" / f"cnn-{self._key(data, task.validation, seed, device)}"

    def _base(self, net: ConvNet, report: dict[str, Any], device: str) -> BaseModel:
        net.to(device).eval()
        return BaseModel(
            module=net, name=self.name, encode=encode, loss=F.cross_entropy, features=net.features, report=report
        )

    def _batches(self, task: Task, seed: int) -> DataLoader:
        data = task.training
        assert data is not None
        return DataLoader(
            TensorDataset(data.pixels, data.labels),
            batch_size=min(self.training.batch_size, len(data)),
            shuffle=True,
            generator=torch.Generator().manual_seed(seed),
        )

    def _train(self, net: ConvNet, task: Task, seed: int, folder: Path, device: str) -> dict[str, Any]:
        from eif_lab.models.training import remaining_batches, train

        batches, title = remaining_batches(self._batches(task, seed)), "cnn base training"
        loss = train(net, F.cross_entropy, batches, self.training, directory=folder, title=title, device=device)
        net.cpu()
        save_file(net.state_dict(), folder / "model.safetensors")
        return {"training_loss": loss, "accuracy": accuracy(net, task.validation)}

    def _key(self, data: Images, held_out: Images | None, seed: int, device: str) -> str:
        digest = hashlib.sha256(repr((self, seed, *training_environment(device))).encode())
        for images in (data, held_out):  # on the latter its accuracy is measured
            if images is not None:
                digest.update(repr((images.classes, tuple(images.pixels.shape))).encode())
                digest.update(images.pixels.numpy().tobytes())
                digest.update(images.labels.numpy().tobytes())
        return digest.hexdigest()[:16]


def encode(samples: Samples) -> tuple[Tensor, Tensor]:
    """Pixels and labels."""
    assert isinstance(samples, Images)
    return samples.pixels, samples.labels


@torch.no_grad()
def accuracy(net: nn.Module, images: Images | None) -> float:
    """The share of images whose label is the most likely class; NaN without images."""
    if images is None:
        return float("nan")
    hits = [net(x).argmax(1) == y for x, y in zip(images.pixels.split(1000), images.labels.split(1000))]
    return torch.cat(hits).float().mean().item()
