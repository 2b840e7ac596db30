"""figure-first-order: exact against first-order influence over learning rate and steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.colors import Colormap
from matplotlib.lines import Line2D

from eif_lab.desiderata.strength import direct_influence
from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.errors import rule_error
from eif_lab.figures.panel import (
    HATCHED,
    Mark,
    draw_marks,
    hatch_around,
    hatched_handles,
    is_untaught,
    limits_of,
    mark_good,
)
from eif_lab.figures.runs import dataset_title, finding, model_title, select_jobs, setting, taught_nothing
from eif_lab.figures.style import (
    BLUE,
    FILLINGS,
    GREY,
    SEQUENTIAL,
    VERMILION,
    canvas,
    fit_name,
    line_look,
    log_scale,
)
from eif_lab.influence.agreement import Agreement, agreement
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "How far the first-order prediction (the neural tangent kernel at the base model: learning rate times the inner "
    "product of gradients) is from influence as measured, over all pairs. Left: Pearson's correlation of the two "
    "arrays over the learning rate, a curve for each number of steps. Middle: norm of the difference over the norm of "
    "the exact array; dotted: no better than predicting nothing. Right: the same error against how much a stimulus "
    "raises itself, the mean direct influence: the view holds where it is small. On knowledge domains a last panel has "
    "reach, the influence on what follows less its controls over the strength, as measured (circles) and as predicted "
    "(squares, a share that no rate changes), with 95 % intervals (Fieller's, over worlds). Filled: satisfied; grey: "
    f"inconclusive; white: violated, each job by itself; dashed: the bar. {HATCHED}"
)
MOST_CURVES = 5
REACH = ("logic", "reach")
BESIDE: dict[str, dict[str, Any]] = {
    "exact": {"color": BLUE, "marker": "o"},
    "first order": {"color": VERMILION, "marker": "s"},
}
"""Reach of the one and of the other job of a pair, as it is drawn."""

APART = 1.06
"""Both stand side by side, at this ratio."""


@dataclass(frozen=True)
class Comparison:
    """An exact array beside its prediction.

    Attributes:
        learning_rate: Of both.
        steps: After how many.
        direct: Mean direct influence of the exact array, in the readout's unit.
        agreement: How far the two are from one another.
    """

    learning_rate: float
    steps: int
    direct: float
    agreement: Agreement


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs that have a partner: the same but for the engine."""
    paired = [job for pair in pairs(jobs) for job in pair]
    if not paired:
        rule = "hold exact jobs and engine=first_order jobs alike"
        raise rule_error("results path", rule, [job.manifest.name for job in jobs])
    return select_jobs(paired, "pairs", lambda _: True)


def pairs(jobs: Sequence[JobResults]) -> list[tuple[JobResults, JobResults]]:
    """Exact and predicted job of each setting and learning rate, by learning rate."""

    def key(job: JobResults) -> tuple:
        run, update = setting(job), job.manifest.update
        return (
            run.model,
            run.dataset,
            run.method,
            run.perturbation,
            run.draw,
            update.learning_rate,
            update.steps,
        )

    predicted = {key(job): job for job in jobs if not setting(job).exact}
    both = [(job, predicted[key(job)]) for job in jobs if setting(job).exact and key(job) in predicted]
    return sorted(both, key=lambda pair: pair[0].manifest.update.learning_rate or 0.0)


def compare(exact: JobResults, predicted: JobResults) -> list[Comparison]:
    """The two arrays after each number of steps that both hold, in the first readout and seed."""
    readout = str(exact.influence["readout"].values[0])
    one, other = (job.influence.sel(readout=[readout]).isel(seed=[0]).load() for job in (exact, predicted))
    shared = [int(step) for step in one["step"].values if step in other["step"].values]
    return [compare_after(exact, one.sel(step=[step]), other.sel(step=[step]), readout) for step in shared]


def compare_after(job: JobResults, exact: xr.DataArray, predicted: xr.DataArray, readout: str) -> Comparison:
    """The two arrays after one number of steps."""
    return Comparison(
        learning_rate=job.manifest.update.learning_rate or 0.0,
        steps=int(exact["step"].values[0]),
        direct=direct_influence(exact, readout).effect,
        agreement=agreement(predicted, exact),
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """Correlation and relative error."""
    compared_arrays = [one for pair in pairs(jobs) for one in compare(*pair)]
    steps = sorted({one.steps for one in compared_arrays})
    chosen_steps = sorted({steps[round(place)] for place in np.geomspace(1, len(steps), MOST_CURVES) - 1})
    colors = matplotlib.colormaps[SEQUENTIAL]
    judged = [pair for pair in pairs(jobs) if all(finding(job, *REACH) is not None for job in pair)]
    figure = canvas(13.0 if judged else 10.0, 3.2)
    correlation, error, strength, *reach = figure.subplots(1, 4 if judged else 3)
    for number, count in enumerate(chosen_steps):
        curve = [one for one in compared_arrays if one.steps == count]
        look = line_look(number) | {"color": colors(0.9 * number / max(len(chosen_steps) - 1, 1))}
        rates = [one.learning_rate for one in curve]
        label = f"{count} step{'s' if count > 1 else ''}"
        correlation.plot(rates, [one.agreement.pearson for one in curve], label=label, **look)
        error.plot(rates, [one.agreement.relative_error for one in curve], label=label, **look)
    draw_strength(strength, compared_arrays, colors)
    untaught = {job.manifest.update.learning_rate or 0.0 for job, _ in pairs(jobs) if taught_nothing(job)}
    for axes, rate in itertools.product((correlation, error, *reach), sorted(untaught - {0.0})):
        hatch_around(axes, rate)
    for axes in reach:
        axes.sharex(correlation)
        draw_reach(axes, judged)
    for axes in (correlation, error, *reach):
        log_scale(axes, "x")
        axes.set_xlabel("learning rate")
    for axes in (error, strength):
        log_scale(axes, "y")
        axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_ylabel("relative error")
        mark_good(axes, "better ↓")
    mark_good(correlation, "better ↑")
    correlation.set_ylabel("correlation of exact with first order")
    correlation.legend(handles=[*correlation.get_legend_handles_labels()[0], *hatched_handles(figure)])
    unit = jobs[0].manifest.unit
    strength.set_xlabel(f"mean direct influence, exact ({unit})")
    method, optimizer = fit_name(setting(jobs[0]).method), jobs[0].manifest.update.optimizer
    figure.suptitle(f"{dataset_title(jobs[0])}, {model_title(jobs[0])}, {method}, {optimizer}", fontsize=8)
    return figure


def draw_reach(axes: Axes, judged: Sequence[tuple[JobResults, JobResults]]) -> None:
    """Reach of each job beside that of its prediction, and the verdicts on both."""
    marks = []
    for number, (label, look) in enumerate(BESIDE.items()):
        for pair in judged:
            result = finding(pair[number], *REACH)
            assert result is not None
            axes.axhline(result.threshold, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
            if is_untaught(result.finding_p_value, result.note):
                continue
            filling = look["color"] if result.finding_verdict == SATISFIED else FILLINGS[result.finding_verdict]
            place = (pair[number].manifest.update.learning_rate or 0.0) * APART**number
            drawn = {**look, "markerfacecolor": filling, "label": label}
            marks.append(Mark(float(result.effect), float(result.low), float(result.high), place, drawn))
    draw_marks(axes, marks, limits_of(marks, [0.0, 1.0]), "y")  # between chance and all that was taught
    axes.set_ylabel("reach: gain / strength")
    mark_good(axes, "good: alike")
    axes.legend(handles=[Line2D([], [], linestyle="", label=label, **look) for label, look in BESIDE.items()])


def draw_strength(axes: Axes, compared_arrays: Sequence[Comparison], colors: Colormap) -> None:
    """Error against direct influence, coloured by the number of steps."""
    known = [one for one in compared_arrays if one.direct > 0]
    most = max((one.steps for one in compared_arrays), default=1)
    axes.scatter(
        [one.direct for one in known],
        [one.agreement.relative_error for one in known],
        s=10,
        c=[colors(0.9 * np.log(one.steps) / np.log(max(most, 2))) for one in known],
    )
    axes.set_xscale("log", subs=[2, 5])
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks("{x:g}")
