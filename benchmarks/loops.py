"""Against one Lightning fit per stimulus, and against a plain loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.case import Case, cnn_case
from benchmarks.floor import parts
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import interleaved, medians, ratio
from eif_lab.models.reading import read_log_probs


def loops(stimuli: int, probes: dict[int, str], rounds: int) -> Iterator[Row]:
    """The CNN after 3 SGD steps.

    Args:
        stimuli: How many.
        probes: How many, each with the goal for the ratio to a Lightning fit per stimulus.
        rounds: How often each is timed.
    """
    for count, goal in probes.items():
        what = f"CNN 421k, full, 3 steps, {stimuli} x {count}"
        yield from attempt(what, both_loops(what, partial(cnn_case, stimuli, count), goal, rounds), goal)


def both_loops(what: str, make: Callable[[], Case], goal: str, rounds: int) -> Iterator[Row]:
    """How many times longer each loop takes than ``auto``."""
    case = make()
    apart = float(np.abs(case.influence() - plain_loop(case)).max())
    tasks = {
        "auto": case.influence,
        "lightning": lambda: case.influence("reference"),
        "loop": lambda: plain_loop(case),
        **parts(case)[1],
    }
    times = interleaved(tasks, rounds)
    note = f"{case.data}; largest difference between auto and the plain loop {apart:.1e} nat"
    fits, loop = (ratio(times[name], times["auto"]) for name in ("lightning", "loop"))
    yield ratio_row(f"{what}: one Lightning fit per stimulus / auto", fits, goal, medians(times), note)
    yield ratio_row(f"{what}: plain loop / auto", loop)


def plain_loop(case: Case, rows: Iterable[Any] | None = None) -> np.ndarray:
    """What one would write first: copy the model, step with ``torch.optim``, read the probes.

    Args:
        case: What is measured.
        rows: Indices of the stimuli that each fine-tuning is on; each stimulus alone where None.

    Returns:
        (fine-tunings, probes): the log-probability of each probe's target, less the one before.
    """
    (inputs, targets), (watched, wanted) = case.stimuli, case.probes
    before, moved = read_log_probs(case.model, watched, wanted, wanted.device), []
    for held in ([i] for i in range(len(targets))) if rows is None else rows:
        model = copy.deepcopy(case.model)
        optimizer = case.update.make_optimizer(model.parameters())
        for _ in range(case.update.steps):
            optimizer.zero_grad()
            case.loss(model(inputs[held]), targets[held]).backward()
            optimizer.step()
        moved.append(read_log_probs(model, watched, wanted, wanted.device) - before)
    return torch.stack(moved).numpy()
