"""Base models: a module in eval mode, how samples become tensors for it, its loss and its features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eif_lab.data.task import Samples, Task
from eif_lab.errors import rule_error
from eif_lab.options import Options, option

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, targets) to a mean loss."""


@runtime_checkable
class Packed(Protocol):
    """Rows that are packed so that what they share is computed once; their model takes it in place of inputs."""

    @property
    def saved(self) -> float:
        """The share of the plain rows' computation that packing saves."""


@runtime_checkable
class SharesPrefixes(Protocol):
    """A model that computes the shared beginnings of texts once."""

    def can_share(self, length: int) -> bool:
        """Whether that is exact for texts of this length, in tokens."""

    def share_prefixes(self, inputs: Tensor, targets: Tensor) -> tuple[Packed, Tensor]:
        """Texts, (n, T) token ids, packed; and the targets, (n, answers), at the positions that the model gives."""


@dataclass
class Training(Options):
    """Base training: AdamW, a linear warm-up over the first tenth of the steps, then a cosine to zero."""

    group: ClassVar[str] = "model.training"

    steps: int = option(150, at_least=1)
    batch_size: int = option(64, at_least=1)
    learning_rate: float = option(2e-3, above=0, hint="Try 0.002.")
    weight_decay: float = option(0.01, at_least=0)
    checkpoint_every: int = option(200, at_least=1)


@dataclass
class BaseModel:
    """A base model, ready to be fine-tuned on single stimuli.

    Attributes:
        module: Called as ``module(inputs)``; in eval mode.
        name: What plots and runs call it; a tiny model says so.
        encode: Samples to (inputs, targets), row by row.
        loss: (output, targets) to a mean loss.
        features: Inputs to (n, d), the representation that feature distances are taken in.
        report: What was measured while it was made, such as its accuracy.
    """

    module: nn.Module
    name: str
    encode: Callable[[Samples], tuple[Tensor, Tensor]]
    loss: Loss
    features: Callable[[Tensor], Tensor]
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """A training that a base model has yet to go through.

    Attributes:
        batches: Of (inputs, targets).
        training: The options of one round.
        rounds: At most so many.
        examine: What follows each round.
    """

    batches: DataLoader
    training: Training
    rounds: int
    examine: Callable[[], Any]


@dataclass(frozen=True)
class Sketch:
    """A base model to plan with: of its size and speed the weights before a training tell as much as those after.

    Attributes:
        base: The model; without numbers, on the meta device, where there are no weights at hand. Its report is that of
            the finished one, where there is one.
        lesson: What it takes to make it; None where it is made.
        kept: Where the finished one is or will be kept; None where there is nothing to make.
    """

    base: BaseModel
    lesson: Lesson | None = None
    kept: Path | None = None


@dataclass
class Model(Options):
    """Where a base model comes from.

    Attributes:
        kind: The kind of data that it reads, ``image`` or ``text``; empty where it reads both.
    """

    group: ClassVar[str] = "model"
    kind: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The name in plots and runs: that of its module, unless an option says another."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def dtype(self) -> str:
        """The precision of its weights, as torch names it, unless an option says another."""
        return "float32"

    def prepare(self, task: Task, cache: Path, seed: int, device: str) -> BaseModel:
        """The base model, trained where it has to be.

        Args:
            task: What it will be measured on; it may hold training images, or a background to be taught.
            cache: What is slow to make is kept in ``cache/models``.
            seed: Of its training.
            device: As torch names it.

        Raises:
            ConfigError: The model cannot be made, or the task is not one for it.
        """
        raise NotImplementedError

    def sketch(self, task: Task, cache: Path, seed: int, device: str) -> Sketch:
        """The model before its training, to plan with; nothing is trained or written. Arguments are those of `prepare`.

        Raises:
            ConfigError: The model cannot be planned with.
        """
        hint = "Give it one, as eif_lab/models/cnn.py has."
        raise rule_error("plan", "be false with a model that has no sketch()", self.name, hint)


def training_environment(device: str) -> list[Any]:
    """The environment that decides a training's last bits: the machine, and whether all algorithms are deterministic.

    Versions of libraries are not in it, as they are not in an array's key: an upgrade makes nothing anew unasked, and a
    job's manifest names the versions and the weights.
    """
    return [device, torch.are_deterministic_algorithms_enabled()]


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all parameters and buffers, first 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(flat.view(dtype=torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:16]
