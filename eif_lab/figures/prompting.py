"""figure-prompting: asymmetry and desiderata of each knowledge domain, fine-tuning methods beside prompting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    Mark,
    draw_marks,
    hatch_row,
    hatched_handles,
    is_untaught,
    limits_of,
    mark_good,
)
from eif_lab.figures.places import IN_ORDER, Place, most_in_a_row, places_of
from eif_lab.figures.runs import (
    DOMAINS,
    finding,
    leave_out_context,
    model_title,
    must_be_one_model,
    select_jobs,
    setting,
)
from eif_lab.figures.style import (
    FILLINGS,
    GREY,
    HOW_LETTERS,
    METHODS,
    canvas,
    fit_words,
    method_handles,
    method_look,
    order_names,
)
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "A row for each knowledge domain, a colour and a shape for each method; prompting moves no weight, the stimulus "
    "stands before the probe. Jobs with the background in the context are left to the figure two-by-two. First panel: "
    "correlation of the square array of statements with its transpose (1: symmetric; the further left, the more "
    "asymmetric). The others: the findings of the desiderata logic and negation on clozes; further right is better. "
    "Bars are 95 % intervals over worlds (Fieller's of what is divided by the strength, else the jackknife's); dashed "
    "lines are thresholds. Filled: satisfied; grey: inconclusive; white: violated, with r: reversed (below the "
    "control), a: absent (not above it), or s: short (above it, below the threshold). Of a finding that a domain does "
    f"not have there is no mark, and of a kind of array that was not measured no panel. {IN_ORDER} {HATCHED} {BEYOND}"
)
PANELS = (
    ("statements", "symmetry", "correlation"),
    ("probes", "logic", "gain"),
    ("probes", "logic", "reach"),
    ("probes", "logic", "converse_held"),
    ("probes", "negation", "fall"),
    ("probes", "negation", "gap"),
)
TITLES = {
    "correlation": "correlation with transpose\n(statements)",
    "gain": "gain: entailed less its controls (nat)",
    "reach": "reach: gain / strength",
    "converse_held": "converse held back",
    "fall": "fall: minus contradicted less its controls (nat)",
    "gap": "gap: (entailed - contradicted) / strength",
}
GOOD = {"correlation": "more symmetric →"}
"""The paper finds prompting less symmetric and calls neither better; what is not here is better to the right."""


class Judged(NamedTuple):
    """A finding of a job with its place in a panel.

    Attributes:
        result: The row of the job's table.
        place: Where it stands.
        method: The job's.
    """

    result: pd.Series
    place: Place
    method: str

    @property
    def untaught(self) -> bool:
        """See `is_untaught`."""
        return is_untaught(self.result.finding_p_value, self.result.note)


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs of one model on knowledge domains, with the background in the weights where there are such."""
    fitting = select_jobs(
        jobs, "a job on a knowledge domain", lambda s: bool(s.view) and s.exact and s.perturbation == "include"
    )
    must_be_one_model(fitting)
    return leave_out_context(fitting)


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each statistic."""
    domains = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    views = {setting(job).view for job in jobs}
    panels = [panel for panel in PANELS if panel[0] in views]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    rows_of = {
        (desideratum, statistic): judged_rows(
            [job for job in jobs if setting(job).view == view], (desideratum, statistic), domains, methods
        )
        for view, desideratum, statistic in panels
    }
    crowd = most_in_a_row([row.place for each in rows_of.values() for row in each])
    figure = canvas(0.8 + 3.4 * columns, 1.2 + max(0.55, 0.13 * crowd) * len(domains) * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes, ((_, statistic), each) in zip(grid.ravel(), rows_of.items()):
        draw_panel(axes, each, len(domains))
        axes.set_title(TITLES[statistic])
        mark_good(axes, GOOD.get(statistic, "better →"))
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(domains)), [fit_words(domain) for domain in domains])
        axes.set_ylim(len(domains) - 0.4, -0.6)
    figure.suptitle(f"{model_title(jobs[0])}: fine-tuning beside prompting", fontsize=8)
    handles = [*legend(methods), *hatched_handles(figure)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def judged_rows(
    jobs: Sequence[JobResults], judged: tuple[str, str], domains: Sequence[str], methods: Sequence[str]
) -> list[Judged]:
    """A statistic of a desideratum, of each job that has it."""
    return [
        Judged(result, place, setting(job).method)
        for job, place in zip(jobs, places_of(jobs, domains, methods))
        if (result := finding(job, *judged)) is not None
    ]


def draw_panel(axes: Axes, rows: Sequence[Judged], domains: int) -> None:
    """One statistic of a desideratum: a mark with its interval by domain and method."""
    draw_findings(axes, rows, finding_limits(rows))
    for border in range(1, domains):
        axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    axes.tick_params(axis="y", length=0)


def finding_limits(rows: Sequence[Judged], anchors: Iterable[float] = ()) -> tuple[float, float]:
    """The limits of panels that show these findings, with chance and bars in them, and other anchors."""
    marks = [mark_of(row) for row in rows if not row.untaught]
    return limits_of(marks, [0.0, *anchors, *(float(row.result.threshold) for row in rows)])


def mark_of(row: Judged) -> Mark:
    """A finding's mark: colour and shape tell the method, filling the verdict."""
    result, look = row.result, method_look(row.method)
    filling = look["color"] if result.finding_verdict == SATISFIED else FILLINGS[result.finding_verdict]
    look |= {"markerfacecolor": filling, "label": row.method}
    return Mark(float(result.effect), float(result.low), float(result.high), row.place.middle, look)


def draw_findings(axes: Axes, rows: Sequence[Judged], limits: tuple[float, float], at_bar: bool = False) -> None:
    """Findings with their bars, a letter beside each that is violated, hatching instead of what was not clearly taught.

    Args:
        axes: The panel.
        rows: What is in it.
        limits: Of its horizontal axis.
        at_bar: Whether the words on hatching begin at the bar, and not at the left end.
    """
    for row in rows:
        result, place, method = row
        axes.axvline(result.threshold, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        if row.untaught:
            hatch_row(axes, *place, fit_words(method), result.threshold if at_bar else limits[0])
        if result.finding_how:
            beside = min(result.high, limits[1]), place.middle
            letter = HOW_LETTERS[result.finding_how]
            axes.annotate(letter, beside, (2, 0), textcoords="offset points", fontsize=5.5, va="center")
    draw_marks(axes, [mark_of(row) for row in rows if not row.untaught], limits)


def legend(methods: Sequence[str]) -> list[Line2D]:
    """A mark for each method, and one for each verdict."""
    return method_handles(methods) + [
        Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor=filling, label=verdict)
        for verdict, filling in FILLINGS.items()
    ]
