"""A forecast of a measurement's operations, memory and time, from running small parts of it.

Operations and time are so much for each chunk of stimuli, for each stimulus and for each row that is read, before the
update or after one: `Rates`, which two small runs and some passes over probes tell. A prediction takes as many probes
at once as stimuli: of n stimuli and m rows it is ``a + b n + c m + d n m``, which a few small sizes tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.per_sample.layout import LARGEST_CHUNK
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.memory import peak_bytes

Size = tuple[float, float]
"""Of a part: stimuli, and rows of probes."""

Amount = float | np.ndarray
"""Of one quantity, or of several."""

Quantity = Callable[[Callable[[], Any]], Amount]
"""What a call takes."""

Part = Callable[[Prepared, Size], Prepared]
"""Makes a smaller measurement."""

LONGEST = 1.0
"""Seconds that a timed part should take at most."""


def addmm_flops(_: Sequence[int], left: Sequence[int], right: Sequence[int], **__: Any) -> int:
    """Operations of ``addmm_`` by the shapes of its factors, for which torch's counter has no formula."""
    return 2 * left[0] * left[1] * right[1]


@dataclass(frozen=True)
class Rates:
    """What the parts of a measurement take, in seconds, operations, or both.

    Attributes:
        chunk: Of what is done once for stimuli that are updated together.
        stimulus: Of the update of one.
        row: Of reading one row of the probes.
    """

    chunk: Amount
    stimulus: Amount
    row: Amount

    @classmethod
    def measured(cls, prepared: Prepared, quantity: Quantity, part: Part, most: int = LARGEST_CHUNK) -> Rates:
        """From one stimulus and from several on one pass over probes, and from some passes alone.

        Args:
            prepared: The engine that is to do it.
            quantity: What a call takes.
            part: Makes a smaller measurement of it.
            most: How many stimuli may be tried; of one alone, what is done for a chunk counts as done for each.
        """
        size = prepared.setup.passes.size
        row = of_a_row(prepared.setup.passes, quantity)
        one = quantity(partial(run, part(prepared, (1, size))))
        several = min(stimuli_at_once(prepared), most, max(2, int(LONGEST / float(one))) if quantity is seconds else 2)
        if several == 1:
            return cls(0.0, np.maximum(0.0, one - 2 * size * row), row)
        more = quantity(partial(run, part(prepared, (several, size))))
        stimulus = np.maximum(0.0, (more - one) / (several - 1) - size * row)
        return cls(np.maximum(0.0, one - stimulus - 2 * size * row), stimulus, row)

    def of(self, stimuli: int, pairs: int, rows: int, at_once: int) -> Amount:
        """A whole measurement.

        Args:
            stimuli: How many are updated.
            pairs: How many rows are read after an update, over all stimuli.
            rows: How many are read before.
            at_once: How many stimuli are updated together.
        """
        chunks = math.ceil(stimuli / at_once)
        return chunks * self.chunk + stimuli * self.stimulus + (pairs + rows) * self.row

    def of_search(self, stimuli: int, pairs: int, rows: int, at_once: int, trials: int) -> Amount:
        """A search for a learning rate, which reads the base once, and does once what is done for a chunk.

        Args:
            stimuli, pairs, rows, at_once: Of one trial, as `of` takes them.
            trials: How many rates are tried.
        """
        first = self.of(stimuli, pairs, rows, at_once)
        return first + (trials - 1) * replace(self, chunk=0.0).of(stimuli, pairs, 0, at_once)


def of_a_row(passes: Passes, quantity: Quantity) -> Amount:
    """What reading one row takes, on average over passes at the beginning, in the middle and at the end."""
    size, every = passes.size, len(passes.probes)
    starts = sorted({0, (every - size) // 2, every - size})
    few = passes.of_other_rows(passes.probes.take(torch.cat([torch.arange(s, s + size) for s in starts])))
    for start in range(0, len(few.probes), size):
        few.arranged(slice(start, start + size))  # once for all stimuli
    return quantity(partial(few.read_rows, {})) / len(few.probes)


def corners(prepared: Prepared) -> list[Size]:
    """The sizes that tell a prediction's four numbers: whole chunks of stimuli, by as many probes and twice that."""
    several = stimuli_at_once(prepared)
    rows = min(len(prepared.setup.passes.probes), 2 * several)
    return sorted({(several, m) for m in (max(1, rows // 2), rows)})


def stimuli_at_once(prepared: Prepared) -> int:
    """How many stimuli the engine takes at once."""
    return min(len(prepared.setup.problem.members), prepared.stimuli_at_once)


def extrapolate(known: Mapping[Size, float], size: Size) -> float:
    """A quantity at another size, from what it is at some."""

    def terms(stimuli: float, rows: float) -> list[float]:
        return [1.0, stimuli, rows, stimuli * rows]

    sizes = np.array([terms(*one) for one in known])
    numbers = np.linalg.lstsq(sizes, np.array(list(known.values()), dtype=float), rcond=None)[0]
    return float(np.dot(terms(*size), numbers))


def of_a_prediction(prepared: Prepared, known: Mapping[Size, float]) -> float:
    """A quantity of the whole prediction, from what it is for parts."""
    problem = prepared.setup.problem
    stimuli = max(known)[0]
    return len(problem.members) / stimuli * extrapolate(known, (stimuli, len(problem.probes)))


def extrapolate_total(prepared: Prepared, quantity: Callable[[Callable[[], Any]], float], part: Part) -> float:
    """A quantity of the whole measurement, as `Rates.measured` takes it."""
    if not prepared.engine.exact:
        return of_a_prediction(
            prepared, {size: quantity(partial(run, part(prepared, size))) for size in corners(prepared)}
        )
    return float(Rates.measured(prepared, quantity, part).of(*amounts(prepared)))


def amounts(prepared: Prepared) -> tuple[int, int, int, int]:
    """What `Rates.of` takes."""
    problem = prepared.setup.problem
    reads = problem.steps if problem.trajectory else 1
    return len(problem.members), reads * problem.pairs, len(problem.probes), stimuli_at_once(prepared)


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, by torch's own formulas: a multiplication and its addition are two."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_flops}) as counter:
        call()
    return counter.get_total_flops()


def flops(prepared: Prepared) -> float:
    """Floating-point operations of the whole measurement; the model may be without numbers, on the meta device."""
    return extrapolate_total(prepared, operations, outline_part)


def peak(prepared: Prepared, most: int = LARGEST_CHUNK) -> int:
    """The most bytes that a measurement holds at once beside the model and the data, which may be without numbers.

    Args:
        prepared: The engine that is to do it.
        most: Stimuli that are tried at once; where the engine takes more, by what each of them adds.
    """
    problem, passes = prepared.setup.problem, prepared.setup.passes
    chunk, most = stimuli_at_once(prepared), max(2, most)
    unseen = prepared.engine.unseen_bytes(problem)

    def of(stimuli: int, probes: int) -> int:
        part = outline_part(prepared, (stimuli, probes))
        return unseen + peak_bytes(partial(run, part), problem.probes.device)

    if chunk <= most or not prepared.engine.exact:
        return of(chunk, passes.size)
    # with one probe it is what updating takes, with all of a pass it may be what reading takes
    parts = ({(float(n), 1.0): float(of(n, m)) for n in (most // 2, most)} for m in {1, passes.size})
    return round(max(extrapolate(one, (chunk, 1)) for one in parts))


def seconds(call: Callable[[], Any]) -> float:
    """Seconds that a call takes, until the accelerator has finished, too; the least of three short calls."""
    times: list[float] = []
    while not times or (len(times) < 3 and sum(times) < LONGEST):
        finish()
        started = time.perf_counter()
        call()
        finish()
        times.append(time.perf_counter() - started)
    return min(times)


def both(call: Callable[[], Any]) -> np.ndarray:
    """Seconds and floating-point operations of one call, for a model of which each takes long."""
    finish()
    started = time.perf_counter()
    counted = operations(call)
    finish()
    return np.array([time.perf_counter() - started, counted])


def finish() -> None:
    """Wait for what the accelerator still has to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def part(prepared: Prepared, size: Size) -> Prepared:
    """The prepared measurement of the first stimuli and rows alone, with all findings about the whole kept."""
    return prepared.engine.prepare(prepared.setup.first(*map(int, size)))


def outline_part(prepared: Prepared, size: Size) -> Prepared:
    """A measurement with the operators of `part`, also on the meta device."""
    return prepared.engine.outline().prepare(prepared.setup.first(*map(int, size)))


def run(prepared: Prepared) -> None:
    """The measurement at a learning rate of zero, which takes as long as any and is never refused."""
    for _ in prepared.influence(replace(prepared.setup.problem.update, learning_rate=0.0)):
        pass
