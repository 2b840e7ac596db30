"""figure-two-by-two: the background in weights or in the context, by the stimulus in weights or in the context."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from eif_lab.data.worlds import domains
from eif_lab.figures.bounding import of_learners
from eif_lab.figures.prompting import WIDEST, draw_mark, legend
from eif_lab.figures.runs import DOMAINS, finding, model_title, select_jobs, setting
from eif_lab.figures.style import BLACK, GREY, METHODS, canvas, fit_words, order_names
from eif_lab.results.bounds import LEARNERS
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Reach, the influence on what follows less its controls, over the strength: the influence on what is stated less "
    "its controls. A row of panels for where the background is (what is known beforehand: in the weights, where it was "
    "taught or is from pre-training, or read in the context), a column for where the stimulus is; a line in each for "
    "each knowledge domain that has a "
    "background, a mark for each job. Bars are 95 % intervals (Fieller's, over worlds). Dotted: 0, which is chance. "
    "Dashed: the bar. Filled: satisfied; grey: inconclusive; white: violated, with r: reversed (below "
    "the control), a: absent (not above it), or s: short (above it, below the bar). Where the stimuli were not clearly "
    "taught anything there is no ratio, and words instead of a mark. Black: reference learners on the same probes, one "
    "that does what the relations say (three-pointed star) and one that only counts shared words (cross), in shares of "
    "what the first is taught. Where reach is low with the background in the weights and high with it in the "
    "context, the background was not at hand; where it is low in the left column and high in the right one, the "
    "stimulus was learnt, and not used. The horizontal axes end where the middle of the data does."
)
BACKGROUNDS = {("taught", "known"): "background in weights", ("context",): "background in the context"}
STIMULI = {False: "stimulus in weights", True: "stimulus in the context"}
LEARNER_MARKS = {"perfect": "2", "bag_of_words": "x"}


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs on clozes of domains that have a background."""
    without = {domain().name for domain in domains.DOMAINS if not any(domain.settled(1))}
    return select_jobs(
        jobs,
        "a job on a knowledge domain with a background",
        lambda s: s.view == "probes" and s.dataset not in without and s.exact and s.perturbation == "include",
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """Four panels."""
    names = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    figure = canvas(8.0, 1.4 + 0.8 * len(names))
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    for row, (backgrounds, title_start) in zip(grid, BACKGROUNDS.items()):
        for axes, (read, title) in zip(row, STIMULI.items()):
            draw_panel(axes, cell(jobs, backgrounds, read), names)
            axes.set_title(f"{title_start}, {title}")
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(names)), [fit_words(name) for name in names])
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    low, high = grid[0, 0].get_xlim()
    grid[0, 0].set_xlim(max(low, -WIDEST), min(high, WIDEST))
    for axes in grid[1]:
        axes.set_xlabel("reach: gain / strength")
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    learners = [
        Line2D([], [], color=BLACK, marker=LEARNER_MARKS[rule], linestyle="", label=f"learner: {title}")
        for rule, title in LEARNERS.items()
    ]
    handles = [*legend(methods), *learners]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def cell(jobs: Sequence[JobResults], backgrounds: Collection[str], read: bool) -> list[JobResults]:
    """The jobs with one of these backgrounds whose stimuli are read, or else trained on."""
    those = [(job, setting(job)) for job in jobs]
    return [job for job, run in those if run.background in backgrounds and (run.method == "prompt") == read]


def draw_panel(axes: Axes, jobs: Sequence[JobResults], names: Sequence[str]) -> None:
    """One cell of the two by two: reach by domain, with the reference learners."""
    axes.axvline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    for place, name in enumerate(names):
        those = [job for job in jobs if setting(job).dataset == name]
        for number, job in enumerate(those):
            result = finding(job, "logic", "reach")
            if result is None:
                continue
            shift = 0.6 * ((number + 0.5) / len(those) - 0.5)
            axes.axvline(result.threshold, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
            if np.isfinite(result.finding_p_value):
                draw_mark(axes, result, place + shift, setting(job).method)
            else:
                remark = f"{setting(job).method}: not clearly taught"
                axes.annotate(
                    remark,
                    (result.threshold, place + shift),
                    (6, 0),
                    textcoords="offset points",
                    fontsize=5.5,
                    va="center",
                )
        for rule, found in (of_learners(those[0], list(LEARNERS)) if those else {}).items():
            if "reach" in found:
                axes.plot(found["reach"], place, LEARNER_MARKS[rule], color=BLACK, label=rule, zorder=1)
    for border in range(1, len(names)):
        axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    axes.tick_params(axis="y", length=0)
