"""The checkpoints of a base training, from which an interrupted one goes on."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import IO, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import CheckpointIO

from eif_lab.files.checksums import checked_file, opened_checked

log = logging.getLogger(__name__)

CHECKPOINTS, LAST = "checkpoints", "last.ckpt"


def last_checkpoint(directory: Path) -> dict[str, Any] | None:
    """The last checkpoint of the interrupted training in ``directory``; None where there is none, or it is damaged."""
    last = directory / CHECKPOINTS / LAST
    if not os.path.lexists(last):
        return None
    try:
        with opened_checked(last) as file:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if checkpoint["global_step"] < 0:
            raise ValueError("it counts no steps")
    except Exception as error:  # of any kind, since the file can be anything
        log.warning("%s is damaged; training starts anew (%s)", last, type(error).__name__)
        if last.is_dir() and not last.is_symlink():
            shutil.rmtree(last)  # no file can be moved to its place
        return None
    return checkpoint


class CheckedFiles(CheckpointIO):
    """Lightning's checkpoints as files that appear whole or not at all, and that are checked when they are read.

    A path is one of this machine; Lightning's file access would take ``a::b`` for an address.

    Args:
        checkpoint: The one that `last_checkpoint` gave. Lightning is given that and reads no file, so that weights and
            batches go on from the same step.
    """

    def __init__(self, checkpoint: dict[str, Any] | None) -> None:
        self.checkpoint = checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint piece by piece, since it may be as large as the memory."""
        with checked_file(Path(path)) as file:
            torch.save(checkpoint, cast(IO[bytes], file))  # torch.save only writes to it

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint that training goes on from; it is given away, so that memory holds it once."""
        assert self.checkpoint is not None
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Callback):
    """Writes a checkpoint every few steps.

    Args:
        path: The file.
        every: Steps between two checkpoints.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Replace the file."""
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)
