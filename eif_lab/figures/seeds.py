"""figure-seeds: what of influence is the sample's and what the run's, and each desideratum run by run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.format import statistic_text
from eif_lab.desiderata.training_noise import EVERY, training_noise
from eif_lab.desiderata.verdict import VIOLATED, Finding, Verdict
from eif_lab.errors import rule_error
from eif_lab.figures.methods import DESIDERATA
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    OUTLIER,
    Mark,
    draw_marks,
    draw_points,
    hatch,
    hatched_handles,
    is_untaught,
    limits_of,
    mark_good,
)
from eif_lab.figures.runs import dataset_title, model_title, setting, taught_nothing
from eif_lab.figures.style import (
    COLOURS,
    GREY,
    HOW_MARKS,
    SHAPES,
    VERDICTS,
    canvas,
    fit_name,
    fit_words,
    log_scale,
    order_names,
)
from eif_lab.results.job import JobResults
from eif_lab.results.seeds import by_draw, over_seeds, same_but_for_seeds, verdicts_over_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

SHOWS = (
    "Several runs of training on the same samples: base model, what the method draws and the order of batches differ. "
    "Above, each cell of the array, a stimulus and a probe: the spread of its influence over runs against the size of "
    "its mean. On the dashed line the two are equal: above it a single run does not tell the cell's sign. Beside a "
    "panel: the sample's share of the variance between cells, ICC(1), with its 95 % interval, over all cells and over "
    "those of each relation; and how much larger the spread is without pairing, when the runs with and without the "
    "sample are different ones (median over cells). Below, the headline of each desideratum: small marks are single "
    "runs, the large one is the mean over runs with its 95 % interval, which holds the spread of units (worlds, "
    "classes) and of runs, with the verdict over all runs, uncorrected; the number beside it is the runs' share of its "
    f"variance. There is no lower part where no desideratum has a verdict in every run. The bar is dashed. {HATCHED} "
    f"{BEYOND}"
)
MOST = 4
"""Groups that there is room for: panels side by side above, and rows below."""

ENDS = 0.005
"""The share of cells that may lie beyond either end of a logarithmic axis: beyond the upper one only those that are
more than `OUTLIER` times as large as all others."""


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The exact jobs of which there are at least two runs on the same samples.

    Raises:
        ConfigError: There are none, or of more settings than there is room for.
    """
    groups = groups_of([job for job in jobs if setting(job).exact])
    if not groups:
        hint = "Try -m seed=0,1,2 data_seed=0."
        raise rule_error("results path", "hold at least two runs on the same samples", len(jobs), hint)
    if len(groups) > MOST:
        names, hint = [runs[0].manifest.name for runs in groups], "Give the folders of fewer jobs."
        raise rule_error("results path", f"hold runs of at most {MOST} settings", names, hint)
    return [job for runs in groups for job in runs]


def groups_of(jobs: Sequence[JobResults]) -> list[list[JobResults]]:
    """The runs on the same samples."""
    return [runs for group in same_but_for_seeds(jobs) for data_seed, runs in by_draw(group) if data_seed is not None]


def draw(jobs: Sequence[JobResults]) -> Figure:
    """Cells of each group of runs above; below, where they have any, their desiderata."""
    groups = groups_of(jobs)
    verdicts = [{verdict.desideratum: verdict for verdict in verdicts_over_runs(runs)} for runs in groups]
    names = [name for name in DESIDERATA if any(name in each for each in verdicts)]
    heights = [3.1, 0.9 + 0.55 * len(groups)][: 2 if names else 1]
    figure = canvas(1.4 + 2.2 * max(len(groups), len(names)), sum(heights))
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    draw_above(parts[0, 0], groups)
    if names:
        draw_below(parts[1, 0], groups, verdicts, names)
    return figure


def draw_above(figure: SubFigure, groups: Sequence[Sequence[JobResults]]) -> None:
    """A panel of cells for each group."""
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, runs in zip(panels, groups):
        draw_cells(axes, over_seeds(runs), runs[0].manifest.unit)
        if any(map(taught_nothing, runs)):
            hatch(axes)
        axes.set_title(title_of(runs))
    panels[0].set_ylabel("standard deviation over runs")
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    handles |= {patch.get_label(): patch for patch in hatched_handles(figure)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), markerscale=2)


def draw_below(
    figure: SubFigure,
    groups: Sequence[Sequence[JobResults]],
    verdicts: Sequence[Mapping[str, Verdict]],
    names: Sequence[str],
) -> None:
    """A panel for each desideratum, in it a row for each group."""
    forests = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(forests, names):
        draw_desideratum(axes, name, verdicts, groups)
        axes.set_title(fit_words(name))
    forests[0].set_yticks(range(len(groups)), [title_of(runs) for runs in groups])
    forests[0].set_ylim(len(groups) - 0.4, -0.6)
    marks = {label: handle for axes in forests for handle, label in zip(*axes.get_legend_handles_labels())}
    marks |= {patch.get_label(): patch for patch in hatched_handles(figure)}
    figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks) or 1)


def title_of(runs: Sequence[JobResults]) -> str:
    """Model, data and method of a group, and the number of its runs."""
    job = runs[0]
    return f"{model_title(job)}\n{dataset_title(job)}, {fit_name(setting(job).method)}, {len(runs)} runs"


def draw_cells(axes: Axes, array: xr.DataArray, unit: str) -> None:
    """Spread over runs against the size of mean influence, each relation in a colour and a shape."""
    noise = training_noise(array)
    size, spread = np.abs(noise["mean"].values), noise["sd"].values
    known = np.isfinite(size) & np.isfinite(spread)
    limits = limits_of_cells(size[known], spread[known])
    log_scale(axes, "x")
    log_scale(axes, "y")
    draw_points(axes, size[known], spread[known], (limits, limits), s=0)  # what lies beyond, of all relations
    inside = known & (np.clip(size, *limits) == size) & (np.clip(spread, *limits) == spread)
    relation = noise["relation"].values.astype(str)
    for place, name in enumerate(RELATIONS):
        cells = inside & (relation == name)
        if cells.any():
            look: dict[str, Any] = {
                "color": COLOURS[place],
                "marker": SHAPES[place],
                "s": 5,
                "linewidths": 0,
                "rasterized": True,
            }
            axes.scatter(size[cells], spread[cells], alpha=0.5, zorder=2 - cells.mean(), label=fit_words(name), **look)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_aspect("equal")
    axes.text(1.03, 0.98, shares_text(noise), transform=axes.transAxes, fontsize=5.8, va="top", linespacing=1.3)
    axes.set_xlabel(f"|mean influence| ({unit})")
    mark_good(axes, "steadier ↓")


def limits_of_cells(size: Float[np.ndarray, " cells"], spread: Float[np.ndarray, " cells"]) -> tuple[float, float]:
    """The ends of both logarithmic axes; see `ENDS`."""
    positive = np.concatenate([size, spread])
    positive = positive[positive > 0]
    if not positive.size:
        return 0.1, 1.0
    larger = np.maximum(size, spread)
    others = np.quantile(larger[larger > 0], 1 - ENDS, method="lower")
    high = positive[positive <= OUTLIER * others].max(initial=others)
    return 0.8 * float(np.quantile(positive, ENDS)), 1.25 * float(high)


def shares_text(noise: xr.Dataset) -> str:
    """The sample's share by relation, and what pairing takes out."""
    lines = ["the sample's share"]
    for name in order_names(noise["of"].values.tolist(), [EVERY, *RELATIONS]):
        row = noise.sel(of=name)
        lines.append(f"{'all cells' if name == EVERY else name} {row.icc:.2f} [{row.icc_low:.2f}, {row.icc_high:.2f}]")
    if "unpaired_sd" in noise:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (noise["unpaired_sd"] / noise["sd"]).values
        ratio = ratio[np.isfinite(ratio)]
        lines += ["", f"unpaired: {float(np.median(ratio)):,.1f} times the spread"] if ratio.size else []
    return "\n".join(lines)


def draw_desideratum(
    axes: Axes, name: str, verdicts: Sequence[Mapping[str, Verdict]], groups: Sequence[Sequence[JobResults]]
) -> None:
    """The headline of a desideratum, a row for each group of runs."""
    marks, taught, bars, statistics = [], [], [], []
    for place, (each, runs) in enumerate(zip(verdicts, groups)):
        axes.axhline(place + 0.5, color="0.9", linewidth=0.5, zorder=0)
        if name not in each:
            continue
        verdict, one = each[name], each[name].findings[0]
        bars.append(one.threshold)
        statistics.append(one.statistic)
        marks.append(mark_of(verdict, one, place - 0.15))
        if is_untaught(one.p_violated, verdict.note):
            hatch(axes, place - 0.5, place + 0.5)
        else:
            taught.append(marks[-1])
        for effect in effects_of(runs, name):
            marks.append(Mark(effect, np.nan, np.nan, place + 0.2, {"marker": "|", "color": GREY, "label": "a run"}))
        if np.isfinite(one.run_share):
            share = f"{one.run_share:.0%}"
            axes.text(1.02, place, share, fontsize=6.5, va="center", transform=axes.get_yaxis_transform())
    for bar in dict.fromkeys(bars):
        axes.axvline(bar, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
    draw_marks(axes, marks, limits_of(taught or marks, [0.0, *bars]))
    mark_good(axes)
    names = [line for one in dict.fromkeys(statistics) for line in statistic_text(one).replace(", ", ",\n").split("\n")]
    axes.set_xlabel("\n".join(map(fit_name, names)))
    axes.tick_params(axis="y", length=0)


def mark_of(verdict: Verdict, one: Finding, place: float) -> Mark:
    """A finding over runs, by its desideratum's verdict."""
    outcome = verdict.outcome()
    how = {"marker": HOW_MARKS[verdict.failing.how]} if outcome == VIOLATED else {}
    label = f"{outcome}: {verdict.failing.how}" if outcome == VIOLATED else outcome
    return Mark(one.effect, one.low, one.high, place, {**VERDICTS[outcome], **how, "markersize": 4.5, "label": label})


def effects_of(runs: Sequence[JobResults], name: str) -> list[float]:
    """The headline's effect in each run."""
    return [
        float(row["effect"])
        for job in runs
        for row in job.verdict_rows
        if row["desideratum"] == name and row["finding"] == 0
    ]
