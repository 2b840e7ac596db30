"""figure-strength: reach and converse by strength, by the number of steps, and by the number of facts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from eif_lab.errors import rule_error
from eif_lab.figures.bounding import of_learners
from eif_lab.figures.caption import number
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    Mark,
    draw_marks,
    hatch_around,
    hatched_handles,
    is_untaught,
    mark_good,
    robust_limits,
)
from eif_lab.figures.runs import DOMAINS, finding, model_title, select_jobs, setting
from eif_lab.figures.style import (
    BLACK,
    GREY,
    MARKERS,
    OPTIMIZERS,
    OTHER_OPTIMIZER,
    canvas,
    fit_name,
    fit_words,
    order_names,
)
from eif_lab.learners.imitation import title as learner_title
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "A column for each knowledge domain. Reach: the influence on what follows less its controls, over the strength; "
    "converse: the influence on what does not follow, the stimulus read backwards, less its controls, over the "
    "strength. Two rows each are against the strength that the learning rate was calibrated to, against the number of "
    "steps at one strength, and against the number of facts learnt at once, of which the strength is one's own; those "
    "that were not varied are left out. A line for each optimizer (colour and dash) and method (shape), "
    "with 95 % intervals (Fieller's, over worlds). Filled: that strength was reached; hollow: it was not, and the "
    f"number above it is what was reached, in nats. {HATCHED} There is no ratio then, but a cross at the bottom in the "
    "line's colour. Dashed: the bar, above which reach, and below which the converse has to be. Chance is 0. Grey "
    "lines: reference learners on the same probes, in shares of what perfect is taught, which does what the relations "
    f"say; bag of words counts shared words, faint passes on a twentieth. {BEYOND}"
)
LEARNERS = {"perfect": "-", "bag_of_words": ":", "faint": "-."}
STATISTICS = {"reach": "reach", "converse_held": "converse / strength"}
GOOD = {"reach": "better ↑", "converse_held": "better ↓"}
APART = 1.06
"""Marks of different lines at one place stand side by side, at this ratio."""


class Curve(NamedTuple):
    """The key that jobs of one line share.

    Attributes:
        optimizer, method: Names.
        fixed: What is the same along the line: of steps, strength asked for and facts those that are not its axis.
    """

    optimizer: str
    method: str
    fixed: tuple[float, ...]


class Axis(NamedTuple):
    """The quantity along a horizontal axis.

    Attributes:
        label: What it is called.
        place: Where a job is.
        fixed: What is the same for all jobs of a line.
    """

    label: str
    place: Callable[[JobResults], float]
    fixed: tuple[Callable[[JobResults], float], ...]


def target_of(job: JobResults) -> float:
    """The strength asked for, in nats."""
    calibration = job.manifest.update.calibration
    return float("nan") if calibration is None else calibration.target


def step_count(job: JobResults) -> float:
    """The number of steps."""
    return float(job.manifest.update.steps or 0)


def fact_count(job: JobResults) -> float:
    """The number of facts that are learnt at once."""
    return float((job.manifest.config.get("perturbation") or {}).get("facts") or 1)


def alone(job: JobResults) -> bool:
    """Whether nothing but facts is in a set: no other wordings, consequences or retained facts."""
    company = job.manifest.config.get("perturbation") or {}
    return not any(company.get(name) not in (None, 0, "none") for name in ("retained", "wordings", "consequences"))


AXES = (
    Axis("strength asked for (nat)", target_of, (step_count, fact_count)),
    Axis("steps", step_count, (target_of, fact_count)),
    Axis("facts at once", fact_count, (target_of,)),  # with batches, steps follow from the facts
)


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs on clozes of knowledge domains whose rate was calibrated.

    Raises:
        ConfigError: No strength was asked for in any.
    """
    those = select_jobs(
        jobs,
        "a job on clozes of a knowledge domain with an update",
        lambda s: s.view == "probes" and s.method != "prompt" and s.exact and s.perturbation in ("include", "together"),
    )
    calibrated = [job for job in those if np.isfinite(target_of(job)) and alone(job)]
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
    of_domains = {name: [job for job in jobs if setting(job).dataset == name] for name in names}
    learners_of = {name: of_learners(each[0], list(LEARNERS)) for name, each in of_domains.items()}
    limits = {row: row_limits(of_domains.values(), learners_of.values(), *row) for row in rows}
    for column, (name, of_domain) in enumerate(of_domains.items()):
        learners = learners_of[name]
        for axes, (axis, statistic) in zip(grid[:, column], rows):
            for rule, found in learners.items():
                if statistic in found:
                    label = learner_title(rule).removeprefix("reference ")
                    axes.axhline(found[statistic], color=GREY, linestyle=LEARNERS[rule], linewidth=0.8, label=label)
            for count, (curve, each) in enumerate(lines(of_domain, axis).items()):
                points = judged_points(each, axis, statistic, APART**count)
                draw_line(axes, points, curve, limits[axis, statistic], below=count % 2 == 1)
            mark_good(axes, GOOD[statistic])
            places = sorted({axis.place(job) for each in lines(of_domain, axis).values() for job in each})
            axes.set_xscale("log")
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.set_xticks([], minor=True)
            axes.margins(x=0.12)
            axes.set_xlabel(axis.label)
        grid[0, column].set_title(fit_words(name))
    for row, (_, statistic) in zip(grid, rows):
        row[0].set_ylabel(STATISTICS[statistic])
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    handles = {label: handle for axes in grid.ravel() for handle, label in zip(*axes.get_legend_handles_labels())}
    handles |= {patch.get_label(): patch for patch in hatched_handles(figure)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def lines(jobs: Sequence[JobResults], axis: Axis) -> dict[Curve, list[JobResults]]:
    """The jobs of each line along an axis, in its order; only lines of at least two places."""
    found: dict[Curve, list[JobResults]] = {}
    for job in sorted(jobs, key=axis.place):
        curve = Curve(str(job.manifest.update.optimizer), setting(job).method, tuple(one(job) for one in axis.fixed))
        found.setdefault(curve, []).append(job)
    return {curve: each for curve, each in found.items() if len({axis.place(job) for job in each}) > 1}


def displayed_value(statistic: str, value: float) -> float:
    """A statistic as it is drawn: the converse itself, not how much of it is held back."""
    return 1 - value if statistic == "converse_held" else value


class Point(NamedTuple):
    """A job on its line.

    Attributes:
        job: Which.
        result: Its finding.
        place: On the horizontal axis.
        effect, low, high: The statistic as it is drawn.
    """

    job: JobResults
    result: pd.Series
    place: float
    effect: float
    low: float
    high: float

    @property
    def taught(self) -> bool:
        """Whether there is something to take a ratio to; see `is_untaught`."""
        return not is_untaught(self.result.finding_p_value, self.result.note)

    @property
    def reached(self) -> bool:
        """Whether the update reached the strength that it was calibrated to."""
        calibration = self.job.manifest.update.calibration
        return calibration is None or calibration.reached


def judged_points(jobs: Sequence[JobResults], axis: Axis, statistic: str, shift: float = 1.0) -> list[Point]:
    """The points of one line, of the jobs of which the statistic was judged."""
    points = []
    for job in jobs:
        if (result := finding(job, "logic", statistic)) is not None:
            effect, low, high = (displayed_value(statistic, float(result[end])) for end in ("effect", "low", "high"))
            points.append(Point(job, result, axis.place(job) * shift, effect, min(low, high), max(low, high)))
    return points


def row_limits(
    of_domains: Iterable[Sequence[JobResults]],
    learners: Iterable[Mapping[str, Mapping[str, float]]],
    axis: Axis,
    statistic: str,
) -> tuple[float, float]:
    """The vertical limits of a row of panels, with chance, bars and reference learners in them."""
    points = [
        point
        for of_domain in of_domains
        for each in lines(of_domain, axis).values()
        for point in judged_points(each, axis, statistic)
    ]
    bars = [displayed_value(statistic, float(point.result.threshold)) for point in points]
    reached = [found[statistic] for each in learners for found in each.values() if statistic in found]
    return robust_limits([(one.effect, one.low, one.high) for one in points if one.taught], [0.0, *bars, *reached])


def draw_line(
    axes: Axes, points: Sequence[Point], curve: Curve, limits: tuple[float, float], *, below: bool = False
) -> None:
    """One line with its intervals; a mark is hollow where the strength was not reached.

    Args:
        axes: The panel.
        points: In their order along the line.
        curve: Which line.
        limits: Of the vertical axis.
        below: Whether what was reached is written below the intervals, not above.
    """
    line, marker = OPTIMIZERS.get(curve.optimizer, OTHER_OPTIMIZER), MARKERS.get(curve.method, "o")
    color = line["color"]
    axes.axhline(0, color="0.85", linewidth=0.5, zorder=0)
    for point in points:
        bar, place = displayed_value(point.result.statistic, point.result.threshold), point.place
        axes.axhline(bar, color=BLACK, linewidth=0.6, linestyle="--", zorder=0)
        if not point.taught:
            hatch_around(axes, place)
            axes.plot(place, 0.03, "x", color=color, transform=axes.get_xaxis_transform(), markersize=3)
    taught = [point for point in points if point.taught]
    for point in taught:
        draw_point(axes, point, limits, {"color": color, "marker": marker})
        if not point.reached:
            write_reached(axes, point, limits, color, below=below)
    if taught:
        label = f"{fit_name(curve.optimizer)}, {fit_words(curve.method)}"
        through = [(point.place, point.effect) for point in taught]
        axes.plot(*zip(*through), linewidth=0.9, marker=marker, markersize=3.5, label=label, **line)


def draw_point(axes: Axes, point: Point, limits: tuple[float, float], look: Mapping[str, Any]) -> None:
    """One mark; hollow where the strength was not reached."""
    look = {**look, "markerfacecolor": look["color"] if point.reached else "white", "markersize": 4, "zorder": 3}
    draw_marks(axes, [Mark(point.effect, point.low, point.high, point.place, look)], limits, "y")


def write_reached(axes: Axes, point: Point, limits: tuple[float, float], color: str, *, below: bool) -> None:
    """The strength that was reached, beside the end of the interval."""
    calibration = point.job.manifest.update.calibration
    assert calibration is not None
    at, offset, align = (max(point.low, limits[0]), -2, "top") if below else (min(point.high, limits[1]), 2, "bottom")
    axes.annotate(
        number(calibration.strength), (point.place, at), (0, offset), textcoords="offset points", fontsize=5.5,
        ha="center", va=align, color=color, gid="reached",
    )  # fmt: skip
