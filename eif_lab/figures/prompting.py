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
from eif_lab.figures.runs import CONTEXT, DOMAINS, finding, model_title, must_be_one_model, select_jobs, setting
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
    "lines are thresholds. Filled: satisfied; grey: inconclusive; "
    "white: violated, with r: reversed (below the control), a: absent (not above it), or s: short (above "
    "it, below the threshold). Of a finding that a domain does not have there is no mark, and of a kind of array that "
    f"was not measured no panel. {HATCHED} {BEYOND}"
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

ROW = 0.7
"""The height of a domain's marks together."""


class Judged(NamedTuple):
    """A finding of a job with its place in a panel.

    Attributes:
        result: The row of the job's table.
        place: On the vertical axis.
        method: The job's.
    """

    result: pd.Series
    place: float
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
    return [job for job in fitting if setting(job).background != CONTEXT] or fitting


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each statistic."""
    domains = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    views = {setting(job).view for job in jobs}
    panels = [panel for panel in PANELS if panel[0] in views]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = canvas(0.8 + 3.4 * columns, 1.2 + 0.55 * len(domains) * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes, (view, desideratum, statistic) in zip(grid.ravel(), panels):
        of_view = [job for job in jobs if setting(job).view == view]
        draw_panel(axes, of_view, (desideratum, statistic), domains, methods)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(domains)), [fit_words(domain) for domain in domains])
        axes.set_ylim(len(domains) - 0.4, -0.6)
    figure.suptitle(f"{model_title(jobs[0])}: fine-tuning beside prompting", fontsize=8)
    handles = [*legend(methods), *hatched_handles(figure)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def draw_panel(
    axes: Axes,
    jobs: Sequence[JobResults],
    judged: tuple[str, str],
    domains: Sequence[str],
    methods: Sequence[str],
) -> None:
    """One statistic of a desideratum: a mark with its interval by domain and method."""
    rows = []
    for number, method in enumerate(methods):
        shift = ROW * ((number + 0.5) / len(methods) - 0.5)
        for job in jobs:
            result = finding(job, *judged) if setting(job).method == method else None
            if result is not None:
                rows.append(Judged(result, domains.index(setting(job).dataset) + shift, method))
    draw_findings(axes, rows, finding_limits(rows), ROW / len(methods))
    for border in range(1, len(domains)):
        axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    axes.set_title(TITLES[judged[1]])
    mark_good(axes, GOOD.get(judged[1], "better →"))
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
    return Mark(float(result.effect), float(result.low), float(result.high), row.place, look)


def draw_findings(
    axes: Axes, rows: Sequence[Judged], limits: tuple[float, float], height: float, at_bar: bool = False
) -> None:
    """Findings with their bars, a letter beside each that is violated, hatching instead of what was not clearly taught.

    Args:
        axes: The panel.
        rows: What is in it.
        limits: Of its horizontal axis.
        height: That of a row.
        at_bar: Whether the words on hatching begin at the bar, and not at the left end.
    """
    for row in rows:
        result, place, method = row
        axes.axvline(result.threshold, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        if row.untaught:
            hatch_row(axes, place, height, fit_words(method), result.threshold if at_bar else limits[0])
        if result.finding_how:
            beside = min(result.high, limits[1]), place
            letter = HOW_LETTERS[result.finding_how]
            axes.annotate(letter, beside, (2, 0), textcoords="offset points", fontsize=5.5, va="center")
    draw_marks(axes, [mark_of(row) for row in rows if not row.untaught], limits)


def legend(methods: Sequence[str]) -> list[Line2D]:
    """A mark for each method, and one for each verdict."""
    return method_handles(methods) + [
        Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor=filling, label=verdict)
        for verdict, filling in FILLINGS.items()
    ]
