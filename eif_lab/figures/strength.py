"""figure-strength: reach and converse by strength and by the number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eif_lab.errors import rule_error
from eif_lab.figures.bounding import of_learners
from eif_lab.figures.caption import number
from eif_lab.figures.runs import DOMAINS, finding, model_title, select_jobs, setting
from eif_lab.figures.style import BLACK, BLUE, GREY, ORANGE, PURPLE, canvas, fit_name, fit_words, order_names
from eif_lab.learners.imitation import title as learner_title
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "A column for each knowledge domain. Reach: the influence on what follows less its controls, over the strength; "
    "converse: the influence on what does not follow, the stimulus read backwards, less its controls, over the "
    "strength. The upper two rows are against the strength that the learning rate was calibrated to, the lower two "
    "against the number of steps at one strength. A line for each optimizer and method, with 95 % intervals "
    "(Fieller's, over worlds). Filled: that strength was reached; hollow: it was not, and the number above it is "
    "what was reached, in nats. A cross at the bottom: the stimuli were not clearly taught anything, so that there "
    "is no ratio. Dashed: the bar, above which reach, and below which the converse has to be. Chance is 0. Grey lines: "
    "reference learners on the same probes, in shares of what perfect is taught, which does what the relations say; "
    "bag of words counts shared words, faint passes on a twentieth. The vertical axes end at twice what was stated."
)
LEARNERS = {"perfect": "-", "bag_of_words": ":", "faint": "-."}
OPTIMIZERS = {"sgd": BLUE, "adam": ORANGE, "adamw": PURPLE}
MARKS = {"full": "o", "lora": "s", "adapter": "D"}
STATISTICS = {"reach": "reach", "converse_held": "converse / strength"}
HIGHEST = 2.0
APART = 1.06
"""Marks of different lines at one place stand side by side, at this ratio."""


class Curve(NamedTuple):
    """The key that jobs of one line share.

    Attributes:
        optimizer, method: Names.
        fixed: What is the same along the line: the steps, or the strength asked for.
    """

    optimizer: str
    method: str
    fixed: float


class Axis(NamedTuple):
    """The quantity along a horizontal axis.

    Attributes:
        label: What it is called.
        place: Where a job is.
        fixed: What is the same for all jobs of a line.
        held: Words for that.
    """

    label: str
    place: Callable[[JobResults], float]
    fixed: Callable[[JobResults], float]
    held: str


def target_of(job: JobResults) -> float:
    """The strength asked for, in nats."""
    calibration = job.manifest.update.calibration
    return float("nan") if calibration is None else calibration.target


def step_count(job: JobResults) -> float:
    """The number of steps."""
    return float(job.manifest.update.steps or 0)


AXES = (
    Axis("strength asked for (nat)", target_of, step_count, "{:g} steps"),
    Axis("steps", step_count, target_of, "{:g} nat"),
)


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs on clozes of knowledge domains whose rate was calibrated.

    Raises:
        ConfigError: No strength was asked for in any.
    """
    those = select_jobs(
        jobs,
        "a job on clozes of a knowledge domain with an update",
        lambda s: s.view == "probes" and s.method != "prompt" and s.exact and s.perturbation == "include",
    )
    calibrated = [job for job in those if np.isfinite(target_of(job))]
    if not calibrated:
        names = [job.manifest.name for job in those]
        raise rule_error("results path", "hold a job whose learning rate was calibrated", names)
    return calibrated


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A column for each domain."""
    names = order_names([setting(job).dataset for job in jobs], DOMAINS)
    axes_of = [axis for axis in AXES if lines(jobs, axis)]
    rows = [(axis, statistic) for axis in axes_of for statistic in STATISTICS]
    figure = canvas(max(5.0, 0.8 + 2.4 * len(names)), 0.9 + 1.7 * len(rows))
    grid = figure.subplots(len(rows), len(names), squeeze=False, sharey="row", sharex="row")
    for column, name in enumerate(names):
        of_domain = [job for job in jobs if setting(job).dataset == name]
        learners = of_learners(of_domain[0], list(LEARNERS))
        for axes, (axis, statistic) in zip(grid[:, column], rows):
            for rule, found in learners.items():
                if statistic in found:
                    label = learner_title(rule).removeprefix("reference ")
                    axes.axhline(found[statistic], color=GREY, linestyle=LEARNERS[rule], linewidth=0.8, label=label)
            for place, (curve, each) in enumerate(lines(of_domain, axis).items()):
                draw_line(axes, each, axis, statistic, curve, shift=APART**place)
            places = sorted({axis.place(job) for each in lines(of_domain, axis).values() for job in each})
            axes.set_xscale("log")
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.set_xticks([], minor=True)
            axes.margins(x=0.12)
            axes.set_xlabel(axis.label)
        grid[0, column].set_title(fit_words(name))
    for row, (_, statistic) in zip(grid, rows):
        row[0].set_ylabel(STATISTICS[statistic])
        low, high = row[0].get_ylim()
        row[0].set_ylim(max(low, -HIGHEST), min(high, HIGHEST))
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    handles = {label: handle for axes in grid.ravel() for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def lines(jobs: Sequence[JobResults], axis: Axis) -> dict[Curve, list[JobResults]]:
    """The jobs of each line along an axis, in its order; only lines of at least two places."""
    found: dict[Curve, list[JobResults]] = {}
    for job in sorted(jobs, key=axis.place):
        curve = Curve(str(job.manifest.update.optimizer), setting(job).method, axis.fixed(job))
        found.setdefault(curve, []).append(job)
    return {curve: each for curve, each in found.items() if len({axis.place(job) for job in each}) > 1}


def displayed_value(statistic: str, value: float) -> float:
    """A statistic as it is drawn: the converse itself, not how much of it is held back."""
    return 1 - value if statistic == "converse_held" else value


def draw_line(
    axes: Axes, jobs: Sequence[JobResults], axis: Axis, statistic: str, curve: Curve, *, shift: float = 1.0
) -> None:
    """One line with its intervals; a mark is hollow where the strength was not reached."""
    color, marker = OPTIMIZERS.get(curve.optimizer, BLACK), MARKS.get(curve.method, "o")
    axes.axhline(0, color="0.85", linewidth=0.5, zorder=0)
    judged: list[tuple[float, float]] = []
    for job in jobs:
        result, place = finding(job, "logic", statistic), axis.place(job) * shift
        if result is None:
            continue
        axes.axhline(displayed_value(statistic, result.threshold), color=BLACK, linewidth=0.6, linestyle="--", zorder=0)
        if not np.isfinite(result.finding_p_value):
            axes.plot(place, 0.03, "x", color=color, transform=axes.get_xaxis_transform(), markersize=3)
            continue
        judged.append((place, displayed_value(statistic, result.effect)))
        ends = [displayed_value(statistic, end) for end in (result.low, result.high)]
        axes.plot([place, place], ends, color=color)
        draw_mark(axes, job, judged[-1], top=min(max(ends), HIGHEST), color=color, marker=marker)
    if judged:
        label = f"{fit_name(curve.optimizer)}, {fit_words(curve.method)}"
        axes.plot(*zip(*judged), color=color, linewidth=0.9, marker=marker, markersize=0, label=label)


def draw_mark(axes: Axes, job: JobResults, place: tuple[float, float], *, top: float, color: str, marker: str) -> None:
    """One mark; hollow, and with what was reached above its interval, where the strength was not."""
    calibration = job.manifest.update.calibration
    reached = calibration is None or calibration.reached
    axes.plot(*place, marker, color=color, markerfacecolor=color if reached else "white", markersize=4, zorder=3)
    if calibration is not None and not reached:
        text = number(calibration.strength)
        axes.annotate(text, (place[0], top), (0, 2), textcoords="offset points", fontsize=5.5, ha="center", color=color)
