"""Time as a multiple of the floor, eager."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.case import Case, cnn_case, language_case
from benchmarks.floor import parts
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import interleaved, medians, ratio
from eif_lab.influence.engines import batched


def over_floor(cnn: tuple[int, int], language: tuple[int, int], rounds: int) -> Iterator[Row]:
    """The CNN after 3 SGD steps, and phi3-tiny after one, under ``full`` and LoRA.

    Args:
        cnn, language: Stimuli and probes.
        rounds: How often each is timed.
    """
    cases = {
        "CNN 421k, full, 3 steps": (cnn_case(*cnn), "auto", "<= 1.15"),
        "phi3-tiny size, full, 1 step": (language_case(*language), "factored", "<= 1.25"),
        "phi3-tiny size, lora, 1 step": (language_case(*language, method="lora"), "stacked", "<= 1.25"),
    }
    for name, (case, engine, goal) in cases.items():
        what = f"{name}, {case.sizes}, {engine}: time / floor"
        yield from attempt(what, one_row(what, case, engine, goal, rounds), goal)


def one_row(what: str, case: Case, engine: str, goal: str, rounds: int) -> Iterator[Row]:
    """The engine's time over the floor's, and over its own where no stimulus is done again alone."""
    case.influence(engine)
    floor, least = parts(case, engine)
    tasks = {engine: lambda: case.influence(engine), UNCHECKED: lambda: unchecked(case, engine)}
    times = interleaved({**tasks, **least}, rounds)
    note = f"{case.data}; floor: {floor.described}"
    yield ratio_row(what, ratio(times[engine], times["floor"]), goal, medians(times), note)
    again = what.removesuffix("time / floor") + "with / without one stimulus of each chunk done again"
    yield ratio_row(again, ratio(times[engine], times[UNCHECKED]), "<= 1.03")


UNCHECKED = "no stimulus twice"


class Unchecked:
    """In place of `eif_lab.influence.per_sample.recheck.Recheck`: nothing is done again."""

    step = 0

    def __init__(self, *_: object) -> None:
        pass

    def readings(self, *_: object) -> None:
        pass


def unchecked(case: Case, engine: str) -> None:
    """The measurement without its check."""
    before, batched.Recheck = batched.Recheck, Unchecked
    try:
        case.influence(engine)
    finally:
        batched.Recheck = before
