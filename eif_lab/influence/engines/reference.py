"""The oracle: one Lightning fit per stimulus."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from eif_lab.influence.engines.engine import Engine, Prepared, ReadPlainly
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.passes import Passes, Wanted
from eif_lab.influence.setup import Setup


@dataclass
class Reference(Engine):
    """Copy the model, fit the copy with a ``Trainer``, read the probes, throw the copy away."""

    name: ClassVar[str] = "reference"

    def prepared(self, setup: Setup) -> Prepared:
        """Prepare without a trial: nothing has to be found out, and rows are read as they are."""
        return PreparedFits(self, replace(setup, passes=setup.passes.plain(setup.passes.one_pass)))

    def outline(self) -> Engine:
        """The loop: the trainer knows no meta device."""
        return Loop(self.memory_budget)

    def unseen_bytes(self, problem: Problem) -> int:
        """The copy of the model."""
        return sum(p.nbytes for p in problem.model.parameters())


class PreparedFits(ReadPlainly):
    """One fit of a copy per stimulus."""

    def readings(self, problem: Problem) -> Iterator[Tensor]:
        """One chunk per stimulus."""
        for i, rows in enumerate(problem.members):
            yield fit_and_read(problem, self.setup.passes, rows, problem.rows_of(i))[None]


def fit_and_read(problem: Problem, passes: Passes, rows: Tensor, wanted: Wanted = None) -> Tensor:
    """Readings of the rows wanted after training on the samples at ``rows``: (steps read, probes, readouts)."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, Dataset

    from eif_lab.models.training import SILENT, Finetuner, fit, quiet_lightning, trainer_device

    class Read(pl.Callback):
        """Reads the probes after every step."""

        def __init__(self) -> None:
            self.readings: list[Tensor] = []

        def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
            if problem.trajectory or trainer.global_step == problem.steps:
                self.readings.append(passes.read(model, wanted))

    model = copy.deepcopy(problem.model)
    reader = Read()
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=problem.steps,
            max_epochs=-1,
            callbacks=[reader],
            gradient_clip_val=problem.update.gradient_clip,
            **trainer_device(str(rows.device)),
            **SILENT,
        )
        module = Finetuner(model, problem.loss, problem.update.make_optimizer)
        batches = [tuple(problem.samples.take(rows[places])) for places in problem.batches]
        fit(trainer, module, DataLoader(cast(Dataset, batches), batch_size=None))
    return torch.stack(reader.readings)
