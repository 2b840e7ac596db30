"""The oracle: one Lightning fit per stimulus."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from eif_lab.influence.problem import Engine, Problem


@dataclass
class Reference(Engine):
    """Copy the model, fit the copy with a ``Trainer``, read the probes, throw the copy away."""

    def before(self, problem: Problem) -> Tensor:
        """The plain way, as after a fit."""
        try:
            return problem.read(problem.model)
        finally:
            problem.restore()

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """One chunk per stimulus."""
        for rows in problem.members:
            yield fit_and_read(problem, rows)[None]


def fit_and_read(problem: Problem, rows: Tensor) -> Tensor:
    """Readings after training on the samples at ``rows``: (steps read, probes, readouts)."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, Dataset

    from eif_lab.models.training import SILENT, Finetuner, fit, quiet_lightning, trainer_device

    class Read(pl.Callback):
        """Reads the probes after every step."""

        def __init__(self) -> None:
            self.readings: list[Tensor] = []

        def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
            if problem.trajectory or trainer.global_step == problem.update.steps:
                self.readings.append(problem.read(model))

    model = copy.deepcopy(problem.model)
    batch = problem.samples.take(rows)
    reader = Read()
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=problem.update.steps,
            max_epochs=-1,
            callbacks=[reader],
            gradient_clip_val=problem.update.gradient_clip,
            **trainer_device(str(batch.device)),
            **SILENT,
        )
        module = Finetuner(model, problem.loss, problem.update.make_optimizer)
        batches = [tuple(problem.samples.take(rows)) for _ in range(problem.update.steps)]
        fit(trainer, module, DataLoader(cast(Dataset, batches), batch_size=None))
    return torch.stack(reader.readings)
