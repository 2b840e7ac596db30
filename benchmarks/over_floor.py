"""Time as a multiple of the floor, eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import numpy as np
import torch

from benchmarks.case import COARSE, SMOL, Case, cnn_case, language_case
from benchmarks.floor import Floor, best_floor, parts, updates_alone
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import interleaved, medians, ratio
from eif_lab.influence.engines import batched

TIMED = 4
"""Stimuli that the floor of a large model is timed on; the rest is extrapolated, since every stimulus is alike."""


def over_floor(cnn: tuple[int, int], language: tuple[int, int], rounds: int) -> Iterator[Row]:
    """The CNN after 3 SGD steps, and phi3-tiny after one, under ``full`` and LoRA, on texts and on clozes.

    Args:
        cnn, language: Stimuli and probes.
        rounds: How often each is timed.
    """
    images, texts = (f"{stimuli} x {probes}" for stimuli, probes in (cnn, language))
    tiny = partial(language_case, *language)
    lora = partial(tiny, method="lora")
    cases: dict[str, tuple[Callable[[], Case], str, str]] = {
        f"CNN 421k, full, 3 steps, {images}": (partial(cnn_case, *cnn), "auto", "<= 1.15"),
        f"phi3-tiny size, full, 1 step, {texts}": (tiny, "factored", "<= 1.25"),
        f"phi3-tiny size, lora, 1 step, {texts}": (lora, "stacked", "<= 1.25"),
        f"phi3-tiny size, full, 1 step, clozes, {texts}": (partial(tiny, clozes=True), "factored", "<= 0.9"),
        f"phi3-tiny size, lora, 1 step, clozes, {texts}": (partial(lora, clozes=True), "stacked", "<= 0.9"),
    }
    for name, (make, engine, goal) in cases.items():
        what = f"{name}, {engine}: time / floor"
        yield from attempt(what, one_row(what, make, engine, goal, rounds), goal)


def one_row(what: str, make: Callable[[], Case], engine: str, goal: str, rounds: int) -> Iterator[Row]:
    """The engine's time over the floor's, and over its own where no stimulus is done again alone."""
    case = make()
    case.influence(engine)
    floor, least = parts(case, engine)
    tasks = {engine: lambda: case.influence(engine), UNCHECKED: lambda: unchecked(case, engine)}
    times = interleaved({**tasks, **least}, rounds)
    note = f"{case.data}; floor: {floor.described}"
    yield ratio_row(what, ratio(times[engine], times["floor"]), goal, medians(times), note)
    again = what.removesuffix("time / floor") + "with / without one stimulus of each chunk done again"
    yield ratio_row(again, ratio(times[engine], times[UNCHECKED]), "<= 1.03")


def large_over_floor(stimuli: int, probes: int, rounds: int) -> Iterator[Row]:
    """SmolLM2's size after one SGD step: clozes that begin alike, and texts that do not, with all tokens scored.

    Args:
        stimuli, probes: How many.
        rounds: How often each is timed.
    """
    make = partial(language_case, stimuli, probes, architecture=SMOL)
    cases: dict[str, tuple[Callable[[], Case], str, str]] = {
        "full, clozes": (partial(make, clozes=True), "factored", "<= 0.8"),
        "lora, clozes": (partial(make, clozes=True, method="lora"), "stacked", "<= 0.8"),
        "full, texts": (make, "factored", "<= 1.15"),
        "lora, texts": (partial(make, method="lora"), "stacked", "<= 1.15"),
    }
    for name, (build, engine, goal) in cases.items():
        what = f"SmolLM2's size, {name}, 1 step, {stimuli} x {probes}, {engine}"
        yield from attempt(what, large_row(what, build, engine, goal, rounds), goal)
    what = f"SmolLM2's size, full, clozes, 1 step, {stimuli} x {probes}, factored, bfloat16"
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):  # a round would take a quarter of an hour
        yield Row(what, None, note="not measured: this CPU has no instructions for bfloat16")
    else:
        yield from attempt(what, in_bfloat16(what, make, rounds))


def large_row(what: str, make: Callable[[], Case], engine: str, goal: str, rounds: int) -> Iterator[Row]:
    """The engine's time over the floor's."""
    case = make()
    floor = best_floor(case, rounds=2)
    tasks: dict[str, Callable[[], object]] = {
        engine: lambda: case.influence(engine),
        "floor": partial(floor.run, TIMED),
    }
    tasks |= updates_alone(case, engine)
    times = interleaved(tasks, rounds, warm_up=False)
    times["floor"] = extrapolated(times["floor"], case)
    note = f"{case.data}; floor: {floor.described}, {TIMED} stimuli timed"
    yield ratio_row(f"{what}: time / floor", ratio(times[engine], times["floor"]), goal, medians(times), note)


def in_bfloat16(what: str, make: Callable[..., Case], rounds: int) -> Iterator[Row]:
    """A base in bfloat16 against the same in float32: its time, its floor, and how far its array is off."""
    make = partial(make, clozes=True, rate=COARSE)
    single, half = make(), make(dtype=torch.bfloat16)
    half.model.load_state_dict(single.model.state_dict())
    arrays = dict[str, np.ndarray]()

    def measure(name: str, case: Case) -> None:
        arrays[name] = case.influence("factored")

    floors = {
        name: Floor("contiguous", len(one.probes[1]), one.model, one.probes[0], TIMED)
        for name, one in {"float32 floor": single, "bfloat16 floor": half}.items()
    }
    tasks = {"float32": lambda: measure("float32", single), "bfloat16": lambda: measure("bfloat16", half)}
    times = interleaved({**tasks, **{name: floor.run for name, floor in floors.items()}}, rounds, warm_up=False)
    for name in floors:
        times[name] = extrapolated(times[name], single)
    note = f"{half.data}; the same weights, rounded"
    yield ratio_row(f"{what}: time / float32's", ratio(times["bfloat16"], times["float32"]), "", medians(times), note)
    yield ratio_row(f"{what}: time / its own floor", ratio(times["bfloat16"], times["bfloat16 floor"]))
    exact, rounded = arrays["float32"], arrays["bfloat16"]
    off = float(np.linalg.norm(rounded - exact) / np.linalg.norm(exact))
    yield Row(f"{what}: distance to float32's array / its norm", off, "")


def extrapolated(seconds: list[float], case: Case) -> list[float]:
    """The floor of all stimuli from that of a few."""
    return [time * len(case.stimuli[1]) / TIMED for time in seconds]


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
    with mock.patch.object(batched, "Recheck", Unchecked):
        case.influence(engine)
