"""What a model room hands on: a module in eval mode, how samples become tensors for it, its loss and its features."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from torch import Tensor, nn

from eif_lab.data.task import Samples
from eif_lab.schema import ConfigError, Options, option

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, targets) to a mean loss."""

REPORT = "report.json"


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


def made_once(directory: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The report of what ``make`` left in ``directory``, made now if it is not there.

    ``make`` works in a ``.partial`` folder beside it that outlives an interruption (training goes on from its last
    checkpoint there) and is renamed when done; a lock that dies with its holder keeps a second process waiting.

    Args:
        directory: Where the result is looked for and kept.
        make: Writes files to the folder it is given and returns a report that JSON can hold.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(directory.name + ".lock")):
        if not (directory / REPORT).exists():
            partial = directory.with_name(directory.name + ".partial")
            partial.mkdir(exist_ok=True)
            try:
                report = make(partial)
            except ConfigError:
                if not any(partial.iterdir()):
                    partial.rmdir()
                raise
            (partial / REPORT).write_text(json.dumps(report, indent=2))
            shutil.rmtree(directory, ignore_errors=True)
            partial.rename(directory)
    return json.loads((directory / REPORT).read_text())


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all parameters and buffers, first 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(flat.view(dtype=torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:16]
