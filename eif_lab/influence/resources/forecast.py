"""What a measurement would take, from running small parts of it: operations, memory and time.

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

from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.per_sample.gradients import LARGEST_CHUNK
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.resources.memory import peak_bytes

Size = tuple[float, float]
"""Of a part: stimuli, and rows of probes."""

LONGEST = 1.0
"""Seconds that a timed part should take at most."""


def added_in_place(_: Sequence[int], left: Sequence[int], right: Sequence[int], **__: Any) -> int:
    """Operations of ``addmm_`` by the shapes of its factors, for which torch's counter has no formula."""
    return 2 * left[0] * left[1] * right[1]


def part(problem: Problem, size: Size) -> Problem:
    """The same measurement of the first stimuli and rows alone, with what was found out about all."""
    stimuli, rows = (int(one) for one in size)
    few = replace(problem, members=problem.members[:stimuli], probes=problem.probes.take(slice(rows)))
    known = {
        name: getattr(problem, name) for name in ("layouts", "probe_bytes", "shares_prefixes", "likes_channels_last")
    }
    vars(few).update(known)  # as cached as if the part itself had found it out
    return few


def corners(engine: Engine, problem: Problem, stimuli: int) -> list[Size]:
    """The sizes that tell a quantity's four numbers: one stimulus and several, by one pass over probes and two.

    A prediction takes as many probes at once as stimuli, so that of it only whole chunks tell anything.
    """
    several = (1, stimuli) if engine.exact else (at_once(engine, problem),)
    rows = min(len(problem.probes), 2 * (problem.passes.size if engine.exact else several[0]))
    return sorted({(n, m) for n in several for m in (max(1, rows // 2), rows)})


def at_once(engine: Engine, problem: Problem) -> int:
    """How many stimuli the engine takes at once."""
    return min(len(problem.members), engine.chunks(problem).size)


def grown(found: Mapping[Size, float], size: Size) -> float:
    """A quantity at another size, from what it is at some."""

    def terms(stimuli: float, rows: float) -> list[float]:
        return [1.0, stimuli, rows, stimuli * rows]

    known = np.array([terms(*one) for one in found])
    numbers = np.linalg.lstsq(known, np.array(list(found.values()), dtype=float), rcond=None)[0]
    return float(np.dot(terms(*size), numbers))


def in_all(engine: Engine, problem: Problem, found: Mapping[Size, float]) -> float:
    """A quantity of the whole measurement, from what it is for parts."""
    every, rows = len(problem.members), len(problem.probes)
    if engine.exact:
        return max(*found.values(), grown(found, (every, rows)))  # times are noisy
    stimuli = max(found)[0]
    return every / stimuli * grown(found, (stimuli, rows))


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, by torch's own formulas: a multiplication and its addition are two."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added_in_place}) as counter:
        call()
    return counter.get_total_flops()


def flops(engine: Engine, problem: Problem) -> float:
    """Floating-point operations of the whole measurement; the model may be without numbers, on the meta device."""
    sizes = corners(engine, problem, min(2, len(problem.members)))
    return in_all(engine, problem, {size: operations(partial(trace, engine, part(problem, size))) for size in sizes})


def peak(engine: Engine, problem: Problem, most: int = LARGEST_CHUNK) -> int:
    """The most bytes that it holds at once beside the model and the data, which may be without numbers.

    Args:
        engine: That is to do it.
        problem: What is asked.
        most: Stimuli that are tried at once; where the engine takes more, by what each of them adds.
    """
    device, rows = problem.probes.device, min(len(problem.probes), problem.passes.size)
    chunk, most = at_once(engine, problem), max(2, most)
    unseen = sum(p.nbytes for p in problem.model.parameters()) if isinstance(engine, Reference) else 0

    def of(stimuli: int, probes: int) -> int:
        return unseen + peak_bytes(partial(trace, engine, part(problem, (stimuli, probes))), device)

    if chunk <= most or not engine.exact:
        return of(chunk, rows)
    # with one probe it is what updating takes, with all of a pass it may be what reading takes
    found = ({(float(n), 1.0): float(of(n, m)) for n in (most // 2, most)} for m in {1, rows})
    return round(max(grown(one, (chunk, 1)) for one in found))


def timings(engine: Engine, problem: Problem) -> dict[Size, float]:
    """Seconds that parts of the measurement take; ``in_all`` makes the whole of them.

    As many stimuli as go at once, or as `LONGEST` lets. Passes are not compiled: that takes longer than planning may.
    """
    every = len(problem.members)
    one = seconds(partial(run, engine, part(problem, corners(engine, problem, 1)[-1])))
    stimuli = max(min(2, every), min(every, LARGEST_CHUNK, int(LONGEST / one)))
    sizes = corners(engine, problem, stimuli)
    return {size: seconds(partial(run, engine, part(problem, size))) for size in sizes}


def seconds(call: Callable[[], Any]) -> float:
    """What a call takes, until the accelerator has finished, too; the least of three calls where they are short."""
    taken: list[float] = []
    while not taken or (len(taken) < 3 and sum(taken) < LONGEST):
        finish()
        started = time.perf_counter()
        call()
        finish()
        taken.append(time.perf_counter() - started)
    return min(taken)


def finish() -> None:
    """Wait for what the accelerator still has to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def run(engine: Engine, problem: Problem) -> None:
    """The measurement, its readings thrown away."""
    if engine.exact:
        engine.before(problem)
    for _ in engine.run(problem):
        pass


def trace(engine: Engine, problem: Problem) -> None:
    """The same operators as `run`, also on the meta device."""
    if not isinstance(engine, Reference):
        run(engine, problem)
        return
    run(Loop(engine.memory_budget), problem)  # without the trainer, which knows no meta device
