"""Times that can be compared: what is compared runs in turns, so that noise hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

Rounds = list[float]
"""What one task took in each round, in seconds."""


class Ratio(NamedTuple):
    """A ratio of times: its median over the rounds, the smallest and the largest round.

    ``fastest`` is the fastest time of the one over the fastest of the other, which noise disturbs least.
    """

    median: float
    low: float
    high: float
    fastest: float | None = None


def interleaved(tasks: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True) -> dict[str, Rounds]:
    """Run all tasks in every round, each round beginning with another one.

    Args:
        tasks: By name; what they return is thrown away.
        rounds: How many.
        warm_up: Run each once before, untimed.
    """
    if warm_up:
        for task in tasks.values():
            task()
    times: dict[str, Rounds] = {name: [] for name in tasks}
    names = list(tasks)
    for number in range(rounds):
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(seconds(tasks[name]))
    return times


def seconds(task: Callable[[], Any]) -> float:
    """What one run takes, until the accelerator has finished too."""
    finish()
    started = time.perf_counter()
    task()
    finish()
    return time.perf_counter() - started


def finish() -> None:
    """Wait for what the accelerator still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(numerator: Rounds, denominator: Rounds) -> Ratio:
    """Of two tasks' times, round by round."""
    by_round = spread([a / b for a, b in zip(numerator, denominator)])
    return by_round._replace(fastest=min(numerator) / min(denominator))


def spread(values: list[float]) -> Ratio:
    """Median, smallest, largest."""
    return Ratio(statistics.median(values), min(values), max(values))


def medians(times: Mapping[str, Rounds]) -> dict[str, float]:
    """Each task's median."""
    return {name: statistics.median(rounds) for name, rounds in times.items()}
