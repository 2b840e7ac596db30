"""figure-prompting: asymmetry and desiderata of each knowledge domain, fine-tuning methods beside prompting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.lines import Line2D

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.figures.runs import DOMAINS, finding, model_title, select_jobs, setting
from eif_lab.figures.style import GREY, HOW_LETTERS, MARKERS, METHODS, canvas, fit_words, order_names
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "A row for each knowledge domain, a colour and a shape for each method; prompting moves no weight, the stimulus "
    "stands before the probe. First panel: correlation of the square array of statements with its transpose (1: "
    "symmetric; the further left, the more asymmetric). The others: the findings of the desiderata logic and "
    "negation on clozes; further right is better. Bars are 95 % intervals (the jackknife over worlds); dashed lines "
    "are thresholds. Filled: satisfied; grey: inconclusive; white: violated, with r: reversed (below the control), "
    "a: absent (not above it), or s: short (above it, below the threshold). Of a finding that a domain does not have "
    "there is no mark. The horizontal axes end where the middle of the data does; what is beyond stands at the edge "
    "without its bar's end."
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
FILLINGS = {SATISFIED: GREY, INCONCLUSIVE: "0.85", VIOLATED: "white"}
WIDEST = 3.0
"""Ratios to a strength can be any number: axes go at most so far from zero."""


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs on knowledge domains."""
    return select_jobs(
        jobs, "a job on a knowledge domain", lambda s: bool(s.view) and s.exact and s.perturbation == "include"
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each statistic."""
    domains = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    figure = canvas(11.0, 1.2 + 0.42 * len(domains) * 2)
    grid = figure.subplots(2, 3, sharey=True)
    for axes, (view, desideratum, statistic) in zip(grid.ravel(), PANELS):
        of_view = [job for job in jobs if setting(job).view == view]
        draw_panel(axes, of_view, (desideratum, statistic), domains, methods)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(domains)), [fit_words(domain) for domain in domains])
        axes.set_ylim(len(domains) - 0.4, -0.6)
    figure.suptitle(f"{model_title(jobs[0])}: fine-tuning beside prompting", fontsize=8)
    figure.legend(handles=legend(methods), loc="outside lower center", ncols=len(methods) + len(FILLINGS))
    return figure


def draw_panel(
    axes: Axes,
    jobs: Sequence[JobResults],
    judged: tuple[str, str],
    domains: Sequence[str],
    methods: Sequence[str],
) -> None:
    """One statistic of a desideratum: a mark with its interval by domain and method."""
    for number, method in enumerate(methods):
        shift = 0.7 * ((number + 0.5) / len(methods) - 0.5)
        for job in jobs:
            result = finding(job, *judged) if setting(job).method == method else None
            if result is not None:
                draw_mark(axes, result, domains.index(setting(job).dataset) + shift, method)
                axes.axvline(result.threshold, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
    for border in range(1, len(domains)):
        axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -WIDEST), min(high, WIDEST))
    axes.set_title(TITLES[judged[1]])
    axes.tick_params(axis="y", length=0)


def draw_mark(axes: Axes, result: pd.Series, place: float, method: str) -> None:
    """A finding: colour and shape tell the method, filling the verdict."""
    color = METHODS.get(method, "black")
    filling = color if result.finding_verdict == SATISFIED else FILLINGS[result.finding_verdict]
    axes.plot([result.low, result.high], [place, place], color=color, linewidth=1, zorder=1)
    axes.plot(
        result.effect, place, MARKERS.get(method, "o"), color=color, markerfacecolor=filling, label=method, zorder=2
    )
    if result.finding_how:
        letter = HOW_LETTERS[result.finding_how]
        axes.annotate(letter, (result.high, place), (2, 0), textcoords="offset points", fontsize=5.5, va="center")


def legend(methods: Sequence[str]) -> list[Line2D]:
    """A mark for each method, and one for each verdict."""
    colors = {method: METHODS.get(method, "black") for method in methods}
    marks = [
        Line2D([], [], color=color, marker=MARKERS.get(method, "o"), label=fit_words(method))
        for method, color in colors.items()
    ]
    return marks + [
        Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor=filling, label=verdict)
        for verdict, filling in FILLINGS.items()
    ]
