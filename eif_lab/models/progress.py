"""The progress line of a base training."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

log = logging.getLogger(__name__)


class Progress(Callback):
    """One line that moves on a terminal; a line at the start and at the end elsewhere.

    A checkpoint keeps what the rest of the training needs of it: the losses, and torch's random state.
    """

    def __init__(self, title: str, steps: int) -> None:
        self.title, self.steps = title, steps
        self.losses: list[Tensor] = []
        self.before = 0
        self.random: list[Tensor] = []
        self.started = time.perf_counter()
        self.live = sys.stderr.isatty()

    def state_dict(self) -> dict[str, Any]:
        """Losses and random states, for a checkpoint."""
        on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return {"losses": torch.stack(self.losses).cpu(), "random": [torch.get_rng_state(), *on_cuda]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the losses and random states of a checkpoint."""
        self.losses = list(state_dict["losses"])
        self.before = len(self.losses)
        self.random = state_dict["random"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log that training begins, where no line moves."""
        self.started = time.perf_counter()
        if not self.live:
            earlier = f", {self.before} of them done before" if self.before else ""
            log.info("%s: %d steps%s", self.title, self.steps, earlier)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the random state: only here, because making a loader's iterator draws a number, too."""
        if self.random:
            torch.set_rng_state(self.random[0])
            if self.random[1:]:
                torch.cuda.set_rng_state_all(self.random[1:])
            self.random = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and print the line anew."""
        self.losses.append(outputs["loss"].detach())
        done = trainer.global_step
        if self.live and (done % 10 == 0 or done == self.steps):
            pace = (time.perf_counter() - self.started) / (len(self.losses) - self.before)
            end = "\n" if done == self.steps else ""
            left = f"{pace * (self.steps - done):.0f} s left"
            line = f"{self.title}: {done}/{self.steps} steps, loss {self.losses[-1]:.3f}, {left} "
            print(f"\r{line:<79}", end=end, file=sys.stderr)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the last loss and the time, where no line moves."""
        if not self.live and self.losses:
            log.info("%s: loss %.4f after %.0f s", self.title, self.recent_loss(), time.perf_counter() - self.started)

    def recent_loss(self) -> float:
        """Mean loss over the last tenth of the steps so far."""
        if not self.losses:
            return float("nan")
        recent = self.losses[-max(1, len(self.losses) // 10) :]
        return torch.stack([loss.cpu() for loss in recent]).mean().item()
