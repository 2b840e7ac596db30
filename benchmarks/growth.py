"""How time grows with stimuli, probes, pairs, tokens and parameters: the log-log slope, beside the floor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.case import SMOL, TINY, Architecture, Case, cnn_case, language_case, parameters, phi3
from benchmarks.floor import best_floor
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import Rounds, interleaved, medians, ratio, spread

GOAL = "<= 1.25"

SIZES = (TINY, Architecture(256, 768, 8, 4, 4096), Architecture(384, 1024, 14, 6, 16384), SMOL)
"""From phi3-tiny's, of 1.2 million parameters, to SmolLM2's, of 135 million."""


@dataclass(frozen=True)
class Series:
    """Cases of which one thing grows.

    Attributes:
        name: The model, the update and the engine.
        title: The model, the update and what does not grow, for a figure.
        engine: Which is timed.
        axis: What grows.
        cases: What makes each, by how much of it there is, smallest first.
    """

    name: str
    title: str
    engine: str
    axis: str
    cases: Mapping[int, Callable[[], Case]]


def growth(times: int, rounds: int, picture: Path) -> Iterator[Row]:
    """phi3-tiny's size after one step along each axis, and the CNN after 3 SGD steps by pairs.

    Args:
        times: How many sizes of each axis, each twice the one before; of parameters at most four.
        rounds: How often each is timed.
        picture: Where the figure is written.
    """
    doubled = [2**power for power in range(times)]
    drawn: list[tuple[Series, list[dict[str, Rounds]]]] = []
    for series in every_series(doubled):
        what = f"{series.name}, by {series.axis}: slope / the floor's"
        yield from attempt(what, slopes(what, series, rounds, drawn), GOAL)
        if drawn:
            draw(drawn, picture)


def every_series(doubled: Sequence[int]) -> Iterator[Series]:
    """Two series over pairs, of images and of texts, and one over each other axis."""
    images = {(32 * k) ** 2: partial(cnn_case, 32 * k, 32 * k) for k in doubled}
    yield Series("CNN 421k, full, 3 steps, auto", "CNN, full, 3 steps, n x n", "auto", "pairs", images)
    grown: dict[str, tuple[str, dict[int, Callable[[], Case]]]] = {
        "pairs": ("n x n", {(16 * k) ** 2: partial(language_case, 16 * k, 16 * k) for k in doubled}),
        "stimuli": ("32 probes", {16 * k: partial(language_case, 16 * k, 32) for k in doubled}),
        "probes": ("32 stimuli", {16 * k: partial(language_case, 32, 16 * k) for k in doubled}),
        "tokens": ("16 x 32", {10 * k: partial(language_case, 16, 32, tokens=10 * k) for k in doubled}),
    }
    name = "phi3-tiny size, full, 1 step"
    for axis, (fixed, cases) in grown.items():
        yield Series(f"{name}, factored", f"{name}, {fixed}", "factored", axis, cases)
    sized = {
        parameters(phi3(size, torch.float32, "meta")): partial(language_case, 4, 16, architecture=size)
        for size in SIZES[: len(doubled)]
    }
    name = "Phi-3's form, full, 1 step"
    yield Series(f"{name}, factored, 4 x 16", f"{name}, 4 x 16", "factored", "parameters", sized)


def slopes(
    what: str, series: Series, rounds: int, drawn: list[tuple[Series, list[dict[str, Rounds]]]]
) -> Iterator[Row]:
    """The ratio of the two slopes; the times go to what is drawn."""
    times = [timed(make(), series.engine, rounds) for make in series.cases.values()]
    drawn.append((series, times))
    sizes = list(series.cases)
    own, floor = (slope_by_round(sizes, [time[name] for time in times]) for name in (series.engine, "floor"))
    told = ", ".join(f"{size:,}" for size in sizes)
    note = f"slopes {spread(own).median:.2f} and {spread(floor).median:.2f} over {told} {series.axis}; "
    compared = ratio(own, floor)._replace(fastest=None)  # slopes are no times
    yield ratio_row(what, compared, GOAL, medians(times[-1]), note + "seconds of the last")


def timed(case: Case, engine: str, rounds: int) -> dict[str, Rounds]:
    """The engine and the floor at one size."""
    case.influence(engine)
    floor = best_floor(case, rounds=2)
    return interleaved({engine: lambda: case.influence(engine), "floor": floor.run}, rounds, warm_up=False)


def slope_by_round(sizes: Sequence[int], times: Sequence[Rounds]) -> list[float]:
    """Least-squares slope of log time over log size, for each round."""
    return [float(np.polyfit(np.log(sizes), np.log(one_round), 1)[0]) for one_round in zip(*times)]


def draw(drawn: Sequence[tuple[Series, list[dict[str, Rounds]]]], picture: Path) -> None:
    """A panel for each series: medians, smallest and largest round, of the engine and the floor."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from eif_lab.figures.style import BLUE, ORANGE

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    for panel, (series, times) in zip(panels, drawn):
        sizes = list(series.cases)
        for name, style, colour in ((series.engine, "o-", BLUE), ("floor", "s--", ORANGE)):
            middle, low, high = (np.array([one(time[name]) for time in times]) for one in (np.median, min, max))
            label = "plain forward pass of all pairs" if name == "floor" else "exact influence"
            panel.errorbar(
                sizes, middle, yerr=(middle - low, high - middle), fmt=style, color=colour, label=label, capsize=2
            )
        panel.set(xscale="log", yscale="log", xlabel=series.axis, ylabel="seconds")
        panel.set_xticks(sizes, [short(size) for size in sizes])
        panel.set_xticks([], minor=True)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_title(series.title, fontsize=9)
    for panel in panels[len(drawn) :]:
        panel.set_visible(False)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)


def short(size: int) -> str:
    """A count; from a million on in millions, M."""
    return f"{size / 1e6:.3g} M" if size >= 10**6 else f"{size:,}"
