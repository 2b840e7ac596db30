"""Costs of ways to compute the same result, by rules that were measured (docs/decisions.md)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.reading.compiling import is_compiled
from eif_lab.influence.reading.passes import Passes, convolves

TRAFFIC = 40
"""Multiplications that fit into the time of moving one number to or from memory."""


def cheaper_merged(shape: Sequence[int], rank: int, rows: float) -> bool:
    """Whether a change of a weight is better put into it than kept beside it as factors.

    Merged, ``W + B^T A`` is formed once per stimulus: ``rank`` multiplications for each of its ``in * out`` numbers,
    which are read and written. Beside it, each of the rows that go through the layer costs
    ``rank * (in + out)`` multiplications, and its output is read and written once more.

    Args:
        shape: (out, in) of the weight.
        rank: Of the change.
        rows: Through the layer, over all probes.
    """
    outputs, inputs = shape[0], shape[1]
    merged = outputs * inputs * (rank + 2 * TRAFFIC)
    beside = rows * (rank * (inputs + outputs) + 2 * TRAFFIC * outputs)
    return merged < beside


LARGEST_COPY = {"cpu": 2**18}
"""Bytes of a copied parameter, on average, up to which copies for many stimuli are faster than a loop in place: larger
ones stream through memory, where the loop finds its own in the cache (docs/decisions.md)."""


def worth_copying(problem: Problem, copied: Sequence[str]) -> bool:
    """Whether updating a copy per stimulus, all at once, takes less time than a loop that updates in place.

    Args:
        problem: What is measured.
        copied: Names of what would be copied.
    """
    size = sum(problem.trained[name].nbytes for name in copied)
    return size <= len(copied) * LARGEST_COPY.get(problem.members.device.type, float("inf"))


COMPILING_PAYS = {"cpu": 2e12}
"""Floating-point operations over probes from which compiling a network with convolutions saves more than it takes."""


def worth_compiling(compile: str, problem: Problem, passes: Passes) -> bool:
    """Whether passes over probes should go through ``torch.compile``.

    It fuses what stands between convolutions, which is half of such a network's time on a CPU; a transformer's time is
    in its products. In low precision it is never done: there changes must not be merged into weights, and kept beside
    them they are no part of a compiled pass. Nor are they where the merged weights would not fit the budget.

    Args:
        compile: ``always``, ``never``, or ``auto``: where it saves more than it takes.
        problem: What is measured.
        passes: How its probes go through the model.
    """
    weights = problem.trained.values()
    merged = sum(weight.nbytes for weight in problem.model.parameters())
    possible = all(torch.finfo(w.dtype).bits >= 32 for w in weights) and merged < problem.memory_budget * GIB / 2
    if not possible or compile == "never" or is_compiled(problem.model):
        return False
    if compile == "always" or not convolves(problem.model):
        return compile == "always"
    try:
        with FlopCounterMode(display=False) as counter:
            passes.read_pass(problem.model, *passes.arranged(slice(1)))
    except (AssertionError, NotImplementedError, RuntimeError):
        return False  # torch's counter goes by hooks that some modules do not bear
    reads = problem.steps if problem.trajectory else 1
    total = counter.get_total_flops() * problem.pairs * reads
    return total > COMPILING_PAYS.get(problem.probes.device.type, float("inf"))
