"""figure-two-by-two: the background in weights or in the context, by the stimulus in weights or in the context."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from eif_lab.data.worlds import domains
from eif_lab.figures.bounding import of_learners
from eif_lab.figures.panel import BEYOND, HATCHED, hatched_handles, mark_good
from eif_lab.figures.places import IN_ORDER, most_in_a_row
from eif_lab.figures.prompting import Judged, draw_findings, finding_limits, judged_rows, legend
from eif_lab.figures.runs import CONTEXT, DOMAINS, model_title, must_be_one_model, select_jobs, setting
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
    "each knowledge domain that has a background, a mark for each job. Bars are 95 % intervals (Fieller's, over "
    f"worlds). {IN_ORDER} Dotted: 0, which is chance. Dashed: the bar. Filled: satisfied; grey: inconclusive; white: "
    "violated, with r: reversed (below the control), a: absent (not above it), or s: short (above it, below the bar). "
    f"{HATCHED} Black: reference learners on the same probes, one that does what the relations say (three-pointed "
    "star) and one that only counts shared words (cross), in shares of what the first is taught. Where reach is low "
    "with the background in the weights and high with it in the context, the background was not at hand; where it is "
    f"low in the left column and high in the right one, the stimulus was learnt, and not used. {BEYOND}"
)
BACKGROUNDS = {("taught", "known"): "background in weights", (CONTEXT,): "background in the context"}
STIMULI = {False: "stimulus in weights", True: "stimulus in the context"}
LEARNER_MARKS = {"perfect": "2", "bag_of_words": "x"}


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs of one model on clozes of domains that have a background."""
    without = {domain().name for domain in domains.DOMAINS if not any(domain.settled(1))}
    fitting = select_jobs(
        jobs,
        "a job on a knowledge domain with a background",
        lambda s: s.view == "probes" and s.dataset not in without and s.exact and s.perturbation == "include",
    )
    must_be_one_model(fitting)
    return fitting


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each of the four that was run; where the background was in one place alone, a row of two."""
    names = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    backgrounds = [those for those in BACKGROUNDS if any(setting(job).background in those for job in jobs)]
    stimuli = [read for read in STIMULI if any(is_read(job) == read for job in jobs)]
    cells = [(those, read) for those in backgrounds for read in stimuli]
    rows = {cell: rows_of(jobs_in(jobs, *cell), names) for cell in cells}
    height = max(0.4, 0.13 * most_in_a_row([row.place for each in rows.values() for row in each]))
    figure = canvas(1.0 + 3.5 * len(stimuli), 1.4 + height * len(names) * len(backgrounds))
    grid = figure.subplots(len(backgrounds), len(stimuli), sharex=True, sharey=True, squeeze=False)
    learners = {cell: reach_of_learners(jobs_in(jobs, *cell), names) for cell in cells}
    reached = [reach for each in learners.values() for _, reach, _ in each]
    limits = finding_limits([row for each in rows.values() for row in each], reached)
    for axes, cell in zip(grid.ravel(), cells):
        draw_panel(axes, rows[cell], learners[cell], limits)
        axes.set_title(f"{BACKGROUNDS[cell[0]]}, {STIMULI[cell[1]]}")
        for border in range(1, len(names)):
            axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(names)), [fit_words(name) for name in names])
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    for axes in grid[-1]:
        axes.set_xlabel("reach: gain / strength")
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    marks = [
        Line2D([], [], color=BLACK, marker=LEARNER_MARKS[rule], linestyle="", label=f"learner: {title}")
        for rule, title in LEARNERS.items()
    ]
    handles = [*legend(methods), *marks, *hatched_handles(figure)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def jobs_in(jobs: Sequence[JobResults], backgrounds: Collection[str], read: bool) -> list[JobResults]:
    """The jobs with one of these backgrounds whose stimuli are read, or else trained on."""
    return [job for job in jobs if setting(job).background in backgrounds and is_read(job) == read]


def is_read(job: JobResults) -> bool:
    """Whether the stimuli are read in the context, and not trained on."""
    return setting(job).method == "prompt"


def rows_of(jobs: Sequence[JobResults], names: Sequence[str]) -> list[Judged]:
    """Reach of the jobs of one panel."""
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    return judged_rows(jobs, ("logic", "reach"), names, methods)


def reach_of_learners(jobs: Sequence[JobResults], names: Sequence[str]) -> list[tuple[str, float, int]]:
    """Rule, reach and place of the reference learners of one panel."""
    first = {setting(job).dataset: job for job in reversed(jobs)}
    learnt = {place: of_learners(first[name], list(LEARNERS)) for place, name in enumerate(names) if name in first}
    return [
        (rule, each["reach"], at) for at, found in learnt.items() for rule, each in found.items() if "reach" in each
    ]


def draw_panel(
    axes: Axes, rows: Sequence[Judged], learners: Sequence[tuple[str, float, int]], limits: tuple[float, float]
) -> None:
    """One cell of the two by two: reach by domain, with the reference learners."""
    axes.axvline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    draw_findings(axes, rows, limits, at_bar=True)
    for rule, reach, place in learners:
        axes.plot(reach, place, LEARNER_MARKS[rule], color=BLACK, label=rule, zorder=1)
    mark_good(axes)
    axes.tick_params(axis="y", length=0)
