"""The Lightning module of all training, and the training of base models."""

from __future__ import annotations

import itertools
import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

from eif_lab.models.base import Loss, Training
from eif_lab.models.checkpoints import CHECKPOINTS, LAST, CheckedFiles, Checkpoints, last_checkpoint
from eif_lab.models.progress import Progress

LONGEST_WARM_UP = 500
"""The most steps of the warm-up."""


class Finetuner(pl.LightningModule):
    """Minimises ``loss(model(inputs), targets)``.

    Args:
        model: It stays in its train or eval mode.
        loss: (output, targets) to a scalar.
        optimizer: Parameters to an optimizer.
        schedule: Optimizer to a learning-rate scheduler that steps with every batch; None keeps it constant.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.make_optimizer = optimizer
        self.make_schedule = schedule

    def training_step(self, batch: Sequence[Any], batch_index: int) -> Tensor:
        """The loss of one batch of (inputs, targets)."""
        inputs, targets = batch
        return self.loss(self.model(inputs), targets)

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The optimizer over what requires a gradient, with its schedule."""
        optimizer = self.make_optimizer([p for p in self.model.parameters() if p.requires_grad])
        if self.make_schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"},
        }


def train(
    model: nn.Module,
    loss: Loss,
    batches: Callable[[int], DataLoader],
    options: Training,
    *,
    directory: Path,
    title: str,
    device: str = "cpu",
    betas: tuple[float, float] = (0.9, 0.999),
) -> float:
    """Train a base model in place; an interrupted run goes on from its last checkpoint.

    Args:
        model: Trained in train mode, left in eval mode.
        loss: Mean loss of (output, targets).
        batches: A function from the number of batches that an interrupted run has used (0 without one) to a loader of
            those after them, as (inputs, targets), until ``options.steps`` steps are done; see `remaining_batches`.
        options: Steps, learning rate and so on.
        directory: Checkpoints live in ``directory/checkpoints`` until the training is done.
        title: The name of the training in the progress line.
        device: As torch names it.
        betas: Of AdamW.

    Returns:
        The mean loss of the last tenth of the steps.
    """

    def schedule(optimizer: Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Linear warm-up over the first tenth of the steps, at most `LONGEST_WARM_UP`, then a cosine to zero."""
        warm = min(max(1, options.steps // 10), LONGEST_WARM_UP)

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / options.steps))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return torch.optim.AdamW(parameters, lr=options.learning_rate, betas=betas, weight_decay=options.weight_decay)

    checkpoints = directory / CHECKPOINTS
    checkpoint = last_checkpoint(directory)
    progress = Progress(title, options.steps)
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=options.steps,
            max_epochs=-1,
            callbacks=[progress, Checkpoints(checkpoints / LAST, options.checkpoint_every)],
            plugins=[CheckedFiles(checkpoint)],
            gradient_clip_val=1.0,
            **trainer_device(device),
            **SILENT,
        )
        module = Finetuner(model.train(), loss, adamw, schedule)
        loader = batches(checkpoint["global_step"] if checkpoint else 0)
        fit(trainer, module, loader, ckpt_path=checkpoints / LAST if checkpoint else None, weights_only=True)
    shutil.rmtree(checkpoints, ignore_errors=True)
    model.eval()
    return progress.recent_loss()


def fit(trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
    """``Trainer.fit`` for callers that go on after Ctrl-C, where Lightning would end the process.

    Raises:
        KeyboardInterrupt: On Ctrl-C, or a signal that the process handles like it.
    """
    try:
        trainer.fit(*arguments, **options)
    except SystemExit:
        raise KeyboardInterrupt from None


class RemainingBatches(IterableDataset):
    """The batches of a loader, epoch after epoch, without the first ones.

    Args:
        batches: A loader with a generator of its own.
        seen: How many batches to leave out.
    """

    def __init__(self, batches: DataLoader, seen: int) -> None:
        self.batches, self.seen = batches, seen

    def __iter__(self) -> Iterator[Any]:
        endless = itertools.chain.from_iterable(itertools.repeat(self.batches))
        return itertools.islice(endless, self.seen, None)


def remaining_batches(batches: DataLoader) -> Callable[[int], DataLoader]:
    """A function for the ``batches`` of `train`: the loader's batches from where an interrupted training stopped.

    So that training ends as if it had not been interrupted; Lightning would begin the epoch again, in its first order.
    """
    return lambda seen: DataLoader(RemainingBatches(batches, seen), batch_size=None)


SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "default_root_dir": os.devnull,  # where Lightning would look, under Slurm, for checkpoints of its own to go on from
}
"""Trainer arguments under which Lightning prints nothing, writes nothing and finds nothing."""


def trainer_device(device: str) -> dict[str, Any]:
    """A torch device name as a Trainer's ``accelerator`` and ``devices``."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu" if kind == "cuda" else kind, "devices": [int(index or 0)] if kind == "cuda" else 1}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's device report, tips and data-loader advice off the console."""
    loggers = [
        logging.getLogger(name)
        for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
            warnings.filterwarnings("ignore", message=r".*(does not have many workers|lr_scheduler\.step|LeafSpec).*")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
