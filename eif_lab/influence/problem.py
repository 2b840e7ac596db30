"""What every engine is given, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from eif_lab.influence.readout import Readout
from eif_lab.influence.update import Update
from eif_lab.models.base import Loss
from eif_lab.schema import Options, option


class Batch(NamedTuple):
    """Rows of inputs with their targets."""

    inputs: Tensor
    targets: Tensor

    def take(self, rows: Tensor | slice) -> Batch:
        """The rows, in that order."""
        return Batch(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class Problem:
    """One influence measurement: which model, updated how, on which batches, watched by which probes.

    Attributes:
        model: In eval mode; exactly its parameters that require a gradient are trained.
        loss: (output, target) to a mean loss.
        samples: What can be trained on.
        members: (stimuli, size), rows of ``samples``: the batch that each update trains on.
        probes: What is watched.
        readouts: By name.
        update: The recipe.
        trajectory: Read after every step, not only after the last.
        probe_chunk: How many probes go through the model at once.
    """

    model: nn.Module
    loss: Loss
    samples: Batch
    members: Int[Tensor, "stimuli size"]
    probes: Batch
    readouts: Mapping[str, Readout]
    update: Update
    trajectory: bool = False
    probe_chunk: int = 512

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that move, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def read(self, call: Callable[[Tensor], Tensor]) -> Tensor:
        """Every readout of every probe: (probes, readouts).

        Args:
            call: Inputs to the output of the base or an updated model. It sees the same probes in the same chunks
                every time, so that an update that changes nothing changes no bit of what is read.
        """
        rows = []
        for inputs, targets in zip(
            self.probes.inputs.split(self.probe_chunk), self.probes.targets.split(self.probe_chunk)
        ):
            output = call(inputs)
            rows.append(torch.stack([readout(output, targets) for readout in self.readouts.values()], dim=-1))
        return torch.cat(rows)


@dataclass
class Engine(Options):
    """How influence is computed."""

    group: ClassVar[str] = "engine"
    incidental: ClassVar[tuple[str, ...]] = ("memory_budget",)

    memory_budget: float = option(2.0, above=0, hint="Try 2 (GiB).")

    @property
    def name(self) -> str:
        """What it is called in configs and results."""
        return type(self).__name__.lower()

    def refuses(self, problem: Problem) -> str:
        """Why it cannot do this problem; empty where it can."""
        return ""

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Readings after the update, chunk by chunk in the order of ``problem.members``.

        Yields:
            (stimuli in this chunk, steps read, probes, readouts).
        """
        raise NotImplementedError
