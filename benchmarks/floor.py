"""The floor: one forward pass of the unchanged base model over all (stimulus, probe) pairs, eager."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.timing import interleaved
from eif_lab.influence.resources.memory import keep_pages

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Floor:
    """Passes of the base model, called as it is, in one layout and probe chunk.

    Attributes:
        layout: Of weights and images; texts have one only.
        chunk: Probes at once.
        model: The base model in that layout.
        inputs: The probes in that layout.
        stimuli: How often all probes are passed.
    """

    layout: str
    chunk: int
    model: nn.Module
    inputs: Tensor
    stimuli: int

    def run(self, stimuli: int | None = None) -> None:
        """All probes, once for each stimulus; memory is kept as the engines keep it."""
        with torch.inference_mode(), keep_pages():
            for _ in range(stimuli or self.stimuli):
                for part in self.inputs.split(self.chunk):
                    self.model(part)

    @property
    def described(self) -> str:
        """Layout and chunk."""
        return f"{self.layout}, {self.chunk} probes at once"


def best_floor(case: Case, rounds: int = 5) -> Floor:
    """The fastest layout and chunk, searched with a few passes of each in turns."""
    choices = {floor.described: floor for floor in candidates(case)}
    times = interleaved({name: partial(floor.run, 1) for name, floor in choices.items()}, rounds)
    return choices[min(times, key=lambda name: statistics.median(times[name]))]


def parts(case: Case, engine: str = "auto") -> tuple[Floor, dict[str, Callable[[], object]]]:
    """What a measurement cannot do without, as tasks to time: the floor, and the same updates read by one probe only.

    The rest of a measurement's time is what reading costs more than the floor.
    """
    floor = best_floor(case)
    return floor, {"floor": floor.run, **updates_alone(case, engine)}


def updates_alone(case: Case, engine: str = "auto") -> dict[str, Callable[[], object]]:
    """The same updates read by one probe only, as a task to time."""
    one_probe = case.take(len(case.stimuli[1]), 1)
    return {"updates, one probe": lambda: one_probe.influence(engine)}


def candidates(case: Case) -> Iterator[Floor]:
    """Every layout with every power of two of probes, from 4 to all of them."""
    inputs, stimuli = case.probes[0], len(case.stimuli[1])
    chunks = sorted({min(2**power, len(inputs)) for power in range(2, 12)})
    for layout, memory_format in LAYOUTS.items():
        if inputs.ndim == 4:
            model = copy.deepcopy(case.model).to(memory_format=memory_format)
            formed = inputs.contiguous(memory_format=memory_format)
        elif layout == "contiguous":
            model, formed = case.model, inputs
        else:
            continue
        for chunk in chunks:
            yield Floor(layout, chunk, model, formed, stimuli)
