"""One Lightning module for all training, and the base training that uses it."""

from __future__ import annotations

import itertools
import logging
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

from eif_lab.files.checksums import checked_file, opened_checked
from eif_lab.models.base import Loss, Training

log = logging.getLogger(__name__)

CHECKPOINTS, LAST = "checkpoints", "last.ckpt"

LONGEST_WARM_UP = 500
"""Steps."""


class Finetuner(pl.LightningModule):
    """Minimises ``loss(model(inputs), targets)``.

    Args:
        model: Kept in the train or eval mode that it comes in.
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

    def training_step(self, batch: Sequence[Tensor], batch_index: int) -> Tensor:
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
        batches: Given how many batches an interrupted run has taken (0 where there was none), what yields those behind
            them, as (inputs, targets); repeated until ``options.steps`` steps are done. `unseen` makes it of a loader.
        options: Steps, learning rate and so on.
        directory: Checkpoints live in ``directory/checkpoints`` until the training is done.
        title: What the progress line calls it.
        device: As torch names it.
        betas: Of AdamW.

    Returns:
        The mean loss of the last tenth of the steps.
    """

    def schedule(optimizer: Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Linear warm-up over the first tenth, or `LONGEST_WARM_UP`, then a cosine to zero."""
        warm = min(max(1, options.steps // 10), LONGEST_WARM_UP)

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / options.steps))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return torch.optim.AdamW(parameters, lr=options.learning_rate, betas=betas, weight_decay=options.weight_decay)

    checkpoints = directory / CHECKPOINTS
    before = interrupted(directory)
    progress = Progress(title, options.steps)
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=options.steps,
            max_epochs=-1,
            callbacks=[progress, Checkpoints(checkpoints / LAST, options.checkpoint_every)],
            plugins=[CheckedFiles(before)],
            gradient_clip_val=1.0,
            **trainer_device(device),
            **SILENT,
        )
        module = Finetuner(model.train(), loss, adamw, schedule)
        loader = batches(before["global_step"] if before else 0)
        fit(trainer, module, loader, ckpt_path=checkpoints / LAST if before else None, weights_only=True)
    shutil.rmtree(checkpoints, ignore_errors=True)
    model.eval()
    return progress.recent_loss()


def fit(trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
    """``Trainer.fit`` for callers that have more to do after Ctrl-C: Lightning would end the process there and then.

    Raises:
        KeyboardInterrupt: On Ctrl-C, or a signal that the process takes for the same.
    """
    try:
        trainer.fit(*arguments, **options)
    except SystemExit:
        raise KeyboardInterrupt from None


def interrupted(directory: Path) -> dict[str, Any] | None:
    """The last checkpoint of the interrupted training in ``directory``; None where there is none, or it is damaged."""
    last = directory / CHECKPOINTS / LAST
    if not os.path.lexists(last):
        return None
    try:
        with opened_checked(last) as file:
            found = torch.load(file, map_location="cpu", weights_only=True)
        if found["global_step"] < 0:
            raise ValueError("it counts no steps")
    except Exception as error:  # of any kind, since the file can be anything
        log.warning("%s is damaged; training starts anew (%s)", last, type(error).__name__)
        if last.is_dir() and not last.is_symlink():
            shutil.rmtree(last)  # no file can be moved to its place
        return None
    return found


class CheckedFiles(CheckpointIO):
    """Lightning's checkpoints as files that appear whole or not at all, and that are checked before they are believed.

    A path is one of this machine; Lightning's own files would take ``a::b`` for an address.

    Args:
        before: What `interrupted` found. Lightning is given that and reads no file itself, so that the weights go on
            from the very step that the batches go on from.
    """

    def __init__(self, before: dict[str, Any] | None) -> None:
        self.before = before

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one, piece by piece: it may be as large as the memory."""
        with checked_file(Path(path)) as file:
            torch.save(checkpoint, cast(IO[bytes], file))  # which it writes to, and no more

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What the training goes on from, handed over so that it is not held twice."""
        assert self.before is not None
        found, self.before = self.before, None
        return found

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove one."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Callback):
    """Keeps where a training is.

    Args:
        path: The file.
        every: Steps.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Replace the file by one of now."""
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)


class Unseen(IterableDataset):
    """The batches of a loader, epoch after epoch, without the first ones.

    Args:
        batches: Whose order a generator of its own decides.
        seen: How many to leave out.
    """

    def __init__(self, batches: DataLoader, seen: int) -> None:
        self.batches, self.seen = batches, seen

    def __iter__(self) -> Iterator[Any]:
        endless = itertools.chain.from_iterable(itertools.repeat(self.batches))
        return itertools.islice(endless, self.seen, None)


def unseen(batches: DataLoader) -> Callable[[int], DataLoader]:
    """For `train`: the loader's batches from where an interrupted training was, so that it ends like any other.

    Lightning would begin the epoch again, in the order of the first one.
    """
    return lambda seen: DataLoader(Unseen(batches, seen), batch_size=None)


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


class Progress(Callback):
    """One line that moves on a terminal; a line at the start and at the end elsewhere.

    Its part of a checkpoint is what the rest of the training must find as it was: losses, and torch's random numbers.
    """

    def __init__(self, title: str, steps: int) -> None:
        self.title, self.steps = title, steps
        self.losses: list[Tensor] = []
        self.before = 0
        self.random: list[Tensor] = []
        self.started = time.perf_counter()
        self.live = sys.stderr.isatty()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return {"losses": torch.stack(self.losses).cpu(), "random": [torch.get_rng_state(), *on_cuda]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.losses = list(state_dict["losses"])
        self.before = len(self.losses)
        self.random = state_dict["random"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what begins."""
        self.started = time.perf_counter()
        if not self.live:
            gone = f", {self.before} of them done before" if self.before else ""
            log.info("%s: %d steps%s", self.title, self.steps, gone)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw on from where the checkpoint was: only here, because making a loader's iterator draws a number, too."""
        if self.random:
            torch.set_rng_state(self.random[0])
            if self.random[1:]:
                torch.cuda.set_rng_state_all(self.random[1:])
            self.random = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss and move the line."""
        self.losses.append(outputs["loss"].detach())
        done = trainer.global_step
        if self.live and (done % 10 == 0 or done == self.steps):
            pace = (time.perf_counter() - self.started) / (len(self.losses) - self.before)
            end = "\n" if done == self.steps else ""
            left = f"{pace * (self.steps - done):.0f} s left"
            line = f"{self.title}: {done}/{self.steps} steps, loss {self.losses[-1]:.3f}, {left} "
            print(f"\r{line:<79}", end=end, file=sys.stderr)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it ended."""
        if not self.live and self.losses:
            log.info("%s: loss %.4f after %.0f s", self.title, self.recent_loss(), time.perf_counter() - self.started)

    def recent_loss(self) -> float:
        """Mean loss of the last tenth of the steps taken."""
        if not self.losses:
            return float("nan")
        recent = self.losses[-max(1, len(self.losses) // 10) :]
        return torch.stack([loss.cpu() for loss in recent]).mean().item()
