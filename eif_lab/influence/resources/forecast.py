"""A forecast of a measurement's operations, memory and time, from running small parts of it.

Of n stimuli and m rows of probes each of them is ``a + b n + c m + d n m``: what is done once, for each stimulus, for
each row, and for each pair. A few small sizes give the four numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.per_sample.layout import LARGEST_CHUNK
from eif_lab.influence.resources.memory import peak_bytes

Size = tuple[float, float]
"""Of a part: stimuli, and rows of probes."""

LONGEST = 1.0
"""Seconds that a timed part should take at most."""


def addmm_flops(_: Sequence[int], left: Sequence[int], right: Sequence[int], **__: Any) -> int:
    """Operations of ``addmm_`` by the shapes of its factors, for which torch's counter has no formula."""
    return 2 * left[0] * left[1] * right[1]


def corners(prepared: Prepared, stimuli: int) -> list[Size]:
    """The sizes that tell a quantity's four numbers: one stimulus and several, by one pass over probes and two.

    A prediction takes as many probes at once as stimuli, so that of it only whole chunks tell anything.
    """
    exact, passes = prepared.engine.exact, prepared.setup.passes
    several = (1, stimuli) if exact else (stimuli_at_once(prepared),)
    rows = min(len(passes.probes), 2 * (passes.chunks.size if exact else several[0]))
    return sorted({(n, m) for n in several for m in (max(1, rows // 2), rows)})


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


def extrapolate_total(prepared: Prepared, known: Mapping[Size, float]) -> float:
    """A quantity of the whole measurement, from what it is for parts."""
    problem = prepared.setup.problem
    every, rows = len(problem.members), len(problem.probes)
    if prepared.engine.exact:
        return max(*known.values(), extrapolate(known, (every, rows)))  # times are noisy
    stimuli = max(known)[0]
    return every / stimuli * extrapolate(known, (stimuli, rows))


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, by torch's own formulas: a multiplication and its addition are two."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_flops}) as counter:
        call()
    return counter.get_total_flops()


def flops(prepared: Prepared) -> float:
    """Floating-point operations of the whole measurement; the model may be without numbers, on the meta device."""
    sizes = corners(prepared, min(2, len(prepared.setup.problem.members)))
    return extrapolate_total(prepared, {size: operations(partial(run, outline_part(prepared, size))) for size in sizes})


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


def timings(prepared: Prepared) -> dict[Size, float]:
    """Seconds that parts of the measurement take; ``in_all`` makes the whole of them.

    As many stimuli as go at once, or as `LONGEST` lets. Passes are not compiled: that takes longer than planning may.
    """
    every = len(prepared.setup.problem.members)
    one = seconds(partial(run, part(prepared, corners(prepared, 1)[-1])))
    stimuli = max(min(2, every), min(every, LARGEST_CHUNK, int(LONGEST / one)))
    return {size: seconds(partial(run, part(prepared, size))) for size in corners(prepared, stimuli)}


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
