"""How time grows with the number of pairs: the log-log slope, beside the floor's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.case import Case, cnn_case, language_case
from benchmarks.floor import best_floor
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import Rounds, interleaved, medians, ratio, spread

GOAL = "<= 1.25"
Sizes = Sequence[tuple[int, int]]


def growth(cnn: Sizes, language: Sizes, rounds: int) -> Iterator[Row]:
    """The CNN after 3 SGD steps, and phi3-tiny after one.

    Args:
        cnn, language: Stimuli and probes, smallest first.
        rounds: How often each size is timed.
    """
    series = {
        "CNN 421k, full, 3 steps, auto": ([cnn_case(*size) for size in cnn], "auto"),
        "phi3-tiny size, full, 1 step, factored": ([language_case(*size) for size in language], "factored"),
    }
    for name, (cases, engine) in series.items():
        what = f"{name}: slope / the floor's"
        yield from attempt(what, slopes(what, cases, engine, rounds), GOAL)


def slopes(what: str, cases: Sequence[Case], engine: str, rounds: int) -> Iterator[Row]:
    """The ratio of the two slopes."""
    times = [timed(case, engine, rounds) for case in cases]
    pairs = [len(case.stimuli[1]) * len(case.probes[1]) for case in cases]
    own, floor = (slope_by_round(pairs, [time[name] for time in times]) for name in (engine, "floor"))
    sizes = ", ".join(case.sizes for case in cases)
    note = f"slopes {spread(own).median:.2f} and {spread(floor).median:.2f} over {sizes}; seconds of the last"
    compared = ratio(own, floor)._replace(fastest=None)  # slopes are no times
    yield ratio_row(what, compared, GOAL, medians(times[-1]), note)


def timed(case: Case, engine: str, rounds: int) -> dict[str, Rounds]:
    """The engine and the floor at one size."""
    case.influence(engine)
    floor = best_floor(case)
    return interleaved({engine: lambda: case.influence(engine), "floor": floor.run}, rounds, warm_up=False)


def slope_by_round(pairs: Sequence[int], times: Sequence[Rounds]) -> list[float]:
    """Least-squares slope of log time over log pairs, for each round."""
    return [float(np.polyfit(np.log(pairs), np.log(one_round), 1)[0]) for one_round in zip(*times)]
