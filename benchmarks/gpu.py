"""What an accelerator is for: Phi-3-mini's size, a thousand sentences on as many clozes, the CNN at 4096 x 1024.

``python -m benchmarks.gpu``: each row is printed and written as it is measured; some eight minutes on an H200, by
estimate. It imports no Hydra, zarr or W&B.
"""

from __future__ import annotations

import argparse
import copy
import gc
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.case import COARSE, MINI, SMOL, Architecture, Case, cnn_case, language_case, parameters
from benchmarks.floor import Floor, best_floor
from benchmarks.report import Report, Row, attempt, ratio_row
from benchmarks.timing import Rounds, interleaved, medians, ratio, seconds, spread
from eif_lab.methods import named_method
from eif_lab.readouts.classes import log_prob

SMALL = Architecture(64, 128, 2, 4, 256)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        architecture: Of the language model.
        dtype: Of its weights.
        stimuli, probes, tokens: Texts, and their mean length.
        looped: Stimuli that the loop is timed on; the rest is extrapolated.
        images: Stimuli and probes of the CNN.
        fits: Lightning fits that are timed; the rest is extrapolated.
        matrix: Side of the product that the matrix rate is measured with.
        rounds: How often each is timed.
        middle: The language model of the clozes.
        clozes: Stimuli and clozes of it.
    """

    architecture: Architecture
    dtype: torch.dtype
    stimuli: int
    probes: int
    tokens: int
    looped: int
    images: tuple[int, int]
    fits: int
    matrix: int
    rounds: int
    middle: Architecture
    clozes: tuple[int, int]


SIZES = {
    "full": Size(MINI, torch.bfloat16, 256, 64, 20, 8, (4096, 1024), 16, 8192, 3, SMOL, (1000, 1000)),
    "small": Size(SMALL, torch.float32, 8, 8, 10, 2, (8, 16), 2, 256, 2, SMALL, (8, 16)),
}


def agreement(size: Size, device: str) -> Iterator[Row]:
    """Each engine's relative distance to ``reference`` in float32."""
    torch.backends.cudnn.allow_tf32 = False
    tiny = partial(language_case, 4, 8, device=device)
    middle = partial(language_case, 4, 8, architecture=size.middle, clozes=True, device=device)
    cases: dict[str, tuple[Callable[[], Case], str]] = {
        "phi3-tiny size, full, 1 step": (tiny, "factored"),
        "phi3-tiny size, lora, 1 step": (partial(tiny, method="lora"), "stacked"),
        "SmolLM2's size, full, 1 step, clozes": (middle, "factored"),
        "SmolLM2's size, lora, 1 step, clozes": (partial(middle, method="lora"), "stacked"),
        "CNN 421k, full, 3 steps": (partial(cnn_case, 4, 16, real=False, device=device), "auto"),
    }
    for name, (make, engine) in cases.items():
        what = f"{name}, {engine}: distance to reference / reference's norm, float32"
        yield from attempt(what, distance(what, make, engine))
    torch.backends.cudnn.allow_tf32 = True


def many_clozes(size: Size, checkpoint: str | None, device: str) -> Iterator[Row]:
    """Pairs per second at SmolLM2's size, in float32 and in bfloat16, whose array is held to the other's."""
    for method, engine in (("full", "factored"), ("lora", "stacked")):
        arrays: dict[str, np.ndarray] = {}
        for dtype in (torch.float32, torch.bfloat16):
            what = f"SmolLM2's size, {method}, 1 step, {' x '.join(map(str, size.clozes))} clozes, {engine}, {dtype}"
            what = what.replace("torch.", "")
            make = partial(
                language_case,
                *size.clozes,
                method=method,
                architecture=size.middle,
                clozes=True,
                checkpoint=checkpoint,
                rate=COARSE,
                dtype=dtype,
                device=device,
            )
            yield from attempt(what, pairs_per_second(what, make, engine, arrays))


def pairs_per_second(what: str, make: Callable[[], Case], engine: str, arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    """How many (stimulus, cloze) are measured in a second, once; and how far the array is off the first one's."""
    case = make()
    case.take(2, 16).influence(engine)  # so that kernels are loaded
    took = seconds(lambda: arrays.update({what: case.influence(engine)}))
    first, own = next(iter(arrays.values())), arrays[what]
    yield Row(f"{what}: pairs / second", own.size / took, "/ s", seconds={engine: took}, note=case.data)
    if own is not first:
        off = float(np.linalg.norm(own - first) / np.linalg.norm(first))
        yield Row(f"{what}: distance to float32's array / its norm", off, "")


def distance(what: str, make: Callable[[], Case], engine: str) -> Iterator[Row]:
    """Of one engine's array to the reference's."""
    case = make()
    exact, own = case.influence("reference"), case.influence(engine)
    yield Row(what, float(np.linalg.norm(own - exact) / np.linalg.norm(exact)), "")


def language(size: Size, method: str, engine: str, device: str) -> Iterator[Row]:
    """Memory over inference's, speed against a loop, and share of the matrix rate, of one method."""
    make = partial(
        language_case,
        size.stimuli,
        size.probes,
        method=method,
        architecture=size.architecture,
        tokens=size.tokens,
        dtype=size.dtype,
        device=device,
    )
    what = f"{method} by {engine}, {size.stimuli} x {size.probes}"
    yield from attempt(what, rows_of_texts(what, make, engine, size))


def rows_of_texts(what: str, make: Callable[[], Case], engine: str, size: Size) -> Iterator[Row]:
    """How large the model is, and what `memory` and `speed` find, each of which may fail alone."""
    case = make()
    yield Row(
        f"{what}: parameters, {str(size.dtype).removeprefix('torch.')}", parameters(case.model), "", note=case.data
    )
    floor = best_floor(case, rounds=2)
    yield from attempt(what, memory(what, case, engine, floor))
    yield from attempt(what, speed(what, case, engine, floor, size))


def memory(what: str, case: Case, engine: str, floor: Floor) -> Iterator[Row]:
    """Peaks compared; what the engine sets up once is in its peak."""
    base, top = peak(lambda: floor.run(1)), peak(lambda: case.influence(engine))
    what = f"{what}: peak memory / inference's"
    if base is None or top is None:
        yield Row(what, None, goal="<= 1.25", note="not measured: only an accelerator tells its peaks")
    else:
        note = f"{top:.1f} and {base:.1f} GiB allocated; inference: {floor.described}"
        yield Row(what, top / base, goal="<= 1.25", note=note)


def speed(what: str, case: Case, engine: str, floor: Floor, size: Size) -> Iterator[Row]:
    """Against the loop and the floor, and as a share of the matrix rate; run once before."""
    half = case.take(size.stimuli, size.probes // 2)
    tasks = {
        engine: lambda: case.influence(engine),
        "half the probes": lambda: half.influence(engine),
        "floor": lambda: floor.run(size.looped),
        "loop": StepAndRestore(case, floor.chunk, size.looped).run,
    }
    tasks["loop"]()
    times = interleaved(tasks, size.rounds, warm_up=False)
    for name in ("floor", "loop"):
        times[name] = [time * size.stimuli / size.looped for time in times[name]]
    note = f"floor and loop on {size.looped} stimuli, extrapolated; the loop copies the weights back"
    yield ratio_row(f"{what}: loop / {engine}", ratio(times["loop"], times[engine]), ">= 3", medians(times), note)
    yield ratio_row(f"{what}: time / floor", ratio(times[engine], times["floor"]), note=floor.described)
    yield from shares(what, case, times[engine], times["half the probes"], size)


def shares(what: str, case: Case, whole: Rounds, half: Rounds, size: Size) -> Iterator[Row]:
    """Of the matrix rate, over the whole time, and over what the second half of the probes added to it."""
    rate = matrix_rate(size.matrix, str(case.probes[0].device))
    yield Row(f"matrix rate measured, bfloat16, side {size.matrix}", rate / 1e12, "TFLOP/s")
    work = 2 * matrix_parameters(case.model) * case.probes[0].numel() * len(case.stimuli[1])
    note = "2 x parameters of linear layers x probe tokens, over the time of "
    overall = spread([work / time / rate for time in whole])
    added = spread([work / 2 / (time - part) / rate for time, part in zip(whole, half)])
    yield ratio_row(f"{what}: share of the matrix rate", overall, ">= 0.5", note=note + "everything, updates too")
    yield ratio_row(f"{what}: the same of the probe passes alone", added, note=note + "all probes less that of half")


class StepAndRestore:
    """The best loop without an engine: step the weights in place, read, copy the kept ones back.

    Args:
        case: What to measure.
        chunk: Probes at once.
        stimuli: How many to run.
    """

    def __init__(self, case: Case, chunk: int, stimuli: int) -> None:
        method = named_method(case.method)
        self.model = method.apply(copy.deepcopy(case.model) if method.adds_modules else case.model, 0).eval()
        self.case, self.chunk, self.stimuli = case, chunk, stimuli
        self.trained: list[Tensor] = [p for p in self.model.parameters() if p.requires_grad]
        self.kept = [p.detach().clone() for p in self.trained]

    @torch.no_grad()
    def run(self) -> Tensor:
        """Readings after each update, (stimuli, probes)."""
        inputs, targets = self.case.stimuli
        parts = [t.split(self.chunk) for t in self.case.probes]
        readings = []
        for i in range(self.stimuli):
            with torch.enable_grad():
                loss = self.case.loss(self.model(inputs[i : i + 1]), targets[i : i + 1])
                gradients = torch.autograd.grad(loss, self.trained)
            torch._foreach_add_(self.trained, list(gradients), alpha=-(self.case.update.learning_rate or 0))
            del gradients
            readings.append(torch.cat([log_prob(self.model(watched), wanted) for watched, wanted in zip(*parts)]))
            torch._foreach_copy_(self.trained, self.kept)
        return torch.stack(readings)


def images(size: Size, device: str) -> Iterator[Row]:
    """The CNN against a Lightning fit per stimulus."""
    what = f"CNN 421k, full, 3 steps, {size.images[0]} x {size.images[1]}"
    yield from attempt(what, against_fits(what, partial(cnn_case, *size.images, real=False, device=device), size))


def against_fits(what: str, make: Callable[[], Case], size: Size) -> Iterator[Row]:
    """Speed against fits of a few stimuli, extrapolated, and against the floor."""
    case = make()
    few = case.take(size.fits, len(case.probes[1]))
    for engine in ("auto", "reference"):
        few.influence(engine)
    floor = best_floor(case, rounds=3)
    tasks: dict[str, Callable[[], object]] = {
        "auto": case.influence,
        "lightning": lambda: few.influence("reference"),
        "floor": floor.run,
    }
    times = interleaved(tasks, size.rounds, warm_up=False)
    stimuli = len(case.stimuli[1])
    times["lightning"] = [time * stimuli / size.fits for time in times["lightning"]]
    note = f"{size.fits} fits timed, extrapolated to {stimuli}"
    fits = ratio(times["lightning"], times["auto"])
    yield ratio_row(f"{what}: one Lightning fit per stimulus / auto", fits, ">= 50", medians(times), note)
    yield ratio_row(f"{what}: time / floor", ratio(times["auto"], times["floor"]), note=floor.described)


def peak(task: Callable[[], object]) -> float | None:
    """The most that the accelerator's memory holds while ``task`` runs, in GiB; None on a CPU."""
    gc.collect()
    if not torch.cuda.is_available():
        task()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    task()
    return torch.cuda.max_memory_allocated() / 2**30


def matrix_rate(side: int, device: str, products: int = 20) -> float:
    """Floating-point operations per second of a large product in bfloat16, on random numbers."""
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))

    def run() -> None:
        for _ in range(products):
            a @ b

    run()
    return 2 * side**3 * products / min(seconds(run) for _ in range(5))


def matrix_parameters(model: nn.Module) -> int:
    """Weights that a token is multiplied with: those of linear layers, not the embedding's."""
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))


def main() -> None:
    """Run all parts, writing after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="small is for trying it, also on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="as torch names it")
    parser.add_argument("--stimuli", type=int, help="texts trained on")
    parser.add_argument("--probes", type=int, help="texts watched")
    parser.add_argument("--rounds", type=int, help="how often each is timed")
    parser.add_argument("--only", help="parts, with commas between: agreement, full, lora, images, clozes")
    parser.add_argument("--checkpoint", help="a folder with SmolLM2's weights for the part clozes; random without")
    parser.add_argument("--output", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    if arguments.size == "full" and arguments.device == "cpu":
        parser.error("--size must be small without an accelerator, got full. Try make bench-gpu SIZE=small.")
    changes = {name: getattr(arguments, name) for name in ("stimuli", "probes", "rounds")}
    size = replace(SIZES[arguments.size], **{name: value for name, value in changes.items() if value})
    device = arguments.device
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "agreement": lambda: agreement(size, device),
        "full": lambda: language(size, "full", "factored", device),
        "lora": lambda: language(size, "lora", "stacked", device),
        "images": lambda: images(size, device),
        "clozes": lambda: many_clozes(size, arguments.checkpoint, device),
    }
    chosen = arguments.only.split(",") if arguments.only else list(parts)
    for name in chosen:
        if name not in parts:
            parser.error(f"--only must name parts out of {', '.join(parts)}, got {name!r}")
    warnings.filterwarnings("ignore")
    whole = arguments.size == "full" and not arguments.only and not any(changes.values())
    folder = arguments.output or Path("benchmarks/results" if whole else "outputs/benchmarks")
    accelerator = torch.cuda.get_device_name() if device.startswith("cuda") else "no accelerator"
    path = folder / re.sub(r"\W+", "-", accelerator.lower())
    command = f"make bench-gpu SIZE={arguments.size}" + f" (--only {arguments.only})" * bool(arguments.only)
    report = Report(path, f"Benchmarks on {accelerator}", command, judged=arguments.size == "full")
    for name in chosen:
        report.add(name, parts[name]())
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print(f"\nwritten to {report.path}.md and .json", flush=True)


if __name__ == "__main__":
    main()
