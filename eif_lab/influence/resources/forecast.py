"""A forecast of a measurement's operations, memory and time, from running small parts of it.

Operations and time are so much for each chunk of stimuli, for each stimulus and for each row that is read, before the
update or after one: `Rates`, which three small runs and some passes over probes tell. Of an update of many steps the
first are run; all of them take as much longer as they have more operations. A prediction takes as many probes at once
as stimuli: of n stimuli and m rows it is ``a + b n + c m + d n m``, which a few small sizes tell.
"""

from __future__ import annotations

import math
import time
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.per_sample.layout import LARGEST_CHUNK
from eif_lab.influence.resources.memory import peak_bytes

Size = tuple[float, float]
"""Of a part: stimuli, and rows of probes."""

Quantity = Callable[[Callable[[], Any]], float]
"""What a call takes."""

Part = Callable[[Prepared, Size], Prepared]
"""Makes a smaller measurement."""

LONGEST = 0.5
"""Seconds that a timed part should take at most."""

SEVERAL = 4
"""Stimuli that are timed beside one alone, at least: with fewer, what each of them adds is lost in noise."""

FIRST_STEPS = 2
"""Of an update of more steps, that are run."""

FEW_ROWS = 4
"""Of probes, on which a large model's updates are read while they are timed: a whole pass takes longer than they do."""


def addmm_flops(_: Tensor, left: Tensor, right: Tensor, **__: Any) -> int:
    """Operations of ``addmm_``, for which torch has no formula."""
    return 2 * left.shape[0] * left.shape[1] * right.shape[1]


class OperationCounter(TorchDispatchMode):
    """Counts floating-point operations by the formulas of torch's `FlopCounterMode`, in a fifth of its time.

    That also tells them by module and operator, for which it goes by hooks; of a model with many small operators most
    of a plan's time was that.

    Attributes:
        total: The operations so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count it, or the parts that it is made of."""
        kwargs = kwargs or {}
        formula = flops_of(func)
        if formula is None and is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


@cache
def flops_of(func: Any) -> Callable[..., int] | None:
    """The formula of an operator; None where there is none."""
    packet = getattr(func, "_overloadpacket", func)
    if packet is torch.ops.aten.addmm_:
        return addmm_flops
    return flop_registry.get(packet)


@cache
def is_composite(func: Any) -> bool:
    """Whether an operator is made of others."""
    has_kernel = getattr(func, "has_kernel_for_dispatch_key", None)
    return has_kernel is not None and has_kernel(torch._C.DispatchKey.CompositeImplicitAutograd)


@dataclass(frozen=True)
class Rates:
    """What the parts of a measurement take, in seconds or operations.

    Attributes:
        chunk: Of what is done once for stimuli that are updated together.
        again: Of one of these that is done again alone.
        stimulus: Of the update of one.
        row: Of reading one row of the probes.
    """

    chunk: float
    again: float
    stimulus: float
    row: float

    @classmethod
    def measured(cls, parts: Parts, quantity: Quantity, steps: int, row: float, most: int = LARGEST_CHUNK) -> Rates:
        """From one stimulus and from several, read on some rows in one pass.

        Args:
            parts: Smaller measurements.
            quantity: What a call takes.
            steps: Of the update, that are run.
            row: What reading one row takes.
            most: How many stimuli may be tried; of one alone, what is done for a chunk counts as done for each.
        """
        most = min(most, stimuli_at_once(parts.prepared))
        reads = steps if parts.prepared.setup.problem.trajectory else 1
        few = parts.of(min(2, most))
        read = reads * quantity(partial(few.read_base, few.setup.passes))

        def taken(stimuli: int, rechecks: bool) -> float:
            part = parts.of(max(stimuli, min(2, most)))
            return quantity(partial(run, part, steps, rechecks, stimuli)) - read * stimuli

        one = taken(1, rechecks=stimuli_at_once(parts.prepared) == parts.prepared.checked_of)
        if most == 1:
            return cls(0.0, 0.0, max(0.0, one), row)
        several = min(most, max(SEVERAL, int(LONGEST / (one + read))) if quantity is seconds else 2)
        stimulus = max(0.0, (taken(several, rechecks=False) - one) / (several - 1))
        return cls(max(0.0, one - stimulus), max(0.0, taken(1, rechecks=True) - one), stimulus, row)

    def more_steps(self, first: Rates, steps: int) -> Rates:
        """Operations of an update of more steps, of which these are those of two and ``first`` those of one.

        A step may take more than the one before it, always by as much: it computes with what these have left.
        """
        growth = max(0.0, self.stimulus - 2 * first.stimulus)
        second = self.stimulus - first.stimulus - growth
        stimulus = first.stimulus + (steps - 1) * second + growth * steps * (steps - 1) / 2
        chunk, again = (
            one + (two - one) * (steps - 1) for one, two in ((first.chunk, self.chunk), (first.again, self.again))
        )
        return Rates(chunk, again, stimulus, self.row)

    def of_more_steps(self, stimulus: float, steps: float) -> Rates:
        """Seconds of an update of more steps.

        Args:
            stimulus: As how many times as many operations a stimulus takes.
            steps: How many times as many there are, by which what is done for a chunk takes longer.
        """
        return replace(self, chunk=self.chunk * steps, stimulus=self.stimulus * stimulus)

    def of(self, stimuli: int, pairs: int, rows: int, at_once: int, again: bool = True) -> float:
        """A whole measurement.

        Args:
            stimuli: How many are updated.
            pairs: How many rows are read after an update, over all stimuli.
            rows: How many are read before.
            at_once: How many stimuli are updated together.
            again: Whether one of each chunk is done again alone.
        """
        chunks = math.ceil(stimuli / at_once)
        return chunks * (self.chunk + again * self.again) + stimuli * self.stimulus + (pairs + rows) * self.row

    def of_search(self, stimuli: int, pairs: int, rows: int, at_once: int, trials: int) -> float:
        """A search for a learning rate, which reads the base once, and does stimuli again alone at its first rate.

        Args:
            stimuli, pairs, rows, at_once: Of one trial, as `of` takes them.
            trials: How many rates are tried.
        """
        return self.of(stimuli, pairs, rows, at_once) + (trials - 1) * self.of(stimuli, pairs, 0, at_once, again=False)


@dataclass
class Parts:
    """Measurements of the first stimuli on the first probes, each prepared once, and the base read.

    Attributes:
        prepared: The whole measurement.
        make: Makes a smaller one.
        rows: Of probes, that fit into one pass.
    """

    prepared: Prepared
    make: Part
    rows: int
    made: dict[int, Prepared] = field(default_factory=dict)

    def of(self, stimuli: int) -> Prepared:
        """The measurement of so many stimuli."""
        if stimuli not in self.made:
            self.made[stimuli] = self.make(self.prepared, (stimuli, self.rows))
            self.made[stimuli].before()
        return self.made[stimuli]


def measured_rates(prepared: Prepared, large: bool) -> tuple[Rates, Rates | None]:
    """Operations of the parts of a measurement, and their seconds; none of a model without numbers.

    Args:
        prepared: The engine that is to do it.
        large: Whether the model is so large that its parts are run no more often, and on no more, than they must be.
    """
    problem, passes, most = prepared.setup.problem, prepared.setup.passes, 1 if large else LARGEST_CHUNK
    # in low precision a change stays beside its weight, and what that adds to each row counts as the stimulus's
    few = large and all(torch.finfo(parameter.dtype).bits >= 32 for parameter in problem.trained.values())
    rows, steps = min(FEW_ROWS, passes.size) if few else passes.size, problem.steps
    outlines = Parts(prepared, outline_part, rows)
    tried = [steps] if steps <= FIRST_STEPS else range(1, FIRST_STEPS + 1)
    whole_passes, read = some_passes(prepared, 1 if large else 3)
    row = operations(whole_passes) / read
    counted = [Rates.measured(outlines, operations, some, row, most) for some in tried]
    every = counted[-1] if len(counted) == 1 else counted[-1].more_steps(counted[0], steps)
    if problem.members.is_meta:
        return every, None
    parts = outlines if prepared.engine.outline() is prepared.engine else Parts(prepared, part, rows)
    timed = Rates.measured(parts, seconds, tried[-1], seconds(whole_passes) / read)
    some = counted[-1].stimulus
    return every, timed.of_more_steps(every.stimulus / some if some else 1.0, steps / tried[-1])


def some_passes(prepared: Prepared, count: int) -> tuple[Callable[[], Tensor], int]:
    """Some of the passes by which the base is read, spread evenly, and how many rows they have.

    Args:
        prepared: The measurement.
        count: How many passes.
    """
    passes = prepared.setup.passes
    every = len(passes.probes)
    runs = passes.runs or (slice(0, every),)
    starts = [(start, run.stop) for run in runs for start in range(run.start, run.stop, passes.size)]
    middles = np.linspace(0, every - 1, count + 2)[1:-1]
    chosen = sorted({bisect([start for start, _ in starts], middle) - 1 for middle in middles})
    rows = [torch.arange(start, min(start + passes.size, stop)) for start, stop in (starts[i] for i in chosen)]
    ends = np.cumsum([len(some) for some in rows]).tolist()
    few = passes.of_other_rows(
        passes.probes.take(torch.cat(rows)), runs=tuple(slice(*pair) for pair in pairwise([0, *ends]))
    )
    return partial(prepared.read_base, few), ends[-1]


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


def of_whole_prediction(prepared: Prepared, quantity: Quantity, part: Part) -> float:
    """A quantity of a whole prediction, from some sizes of it."""
    steps = prepared.setup.problem.steps
    known = {size: quantity(partial(run, part(prepared, size), steps)) for size in corners(prepared)}
    return of_a_prediction(prepared, known)


def amounts(prepared: Prepared) -> tuple[int, int, int, int]:
    """What `Rates.of` takes."""
    problem = prepared.setup.problem
    reads = problem.steps if problem.trajectory else 1
    return len(problem.members), reads * problem.rows_read, len(problem.probes), stimuli_at_once(prepared)


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, by torch's own formulas: a multiplication and its addition are two."""
    with OperationCounter() as counter:
        call()
    return counter.total


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
        return unseen + peak_bytes(partial(run, part, problem.steps), problem.probes.device)

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


def run(prepared: Prepared, steps: int, rechecks: bool = True, stimuli: int | None = None) -> None:
    """The measurement at a learning rate of zero, which takes as long as any and is never refused.

    Args:
        prepared: The measurement.
        steps: Of its update, the first.
        rechecks: Whether one stimulus of each chunk is done again alone.
        stimuli: How many, the first; None for all.
    """
    prepared.rechecks = rechecks
    update = replace(prepared.setup.problem.update, learning_rate=0.0, steps=steps, epochs=None)
    for _ in prepared.influence(update, rows=slice(stimuli)):
        pass
