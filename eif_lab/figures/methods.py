"""figure-methods: the scorecard, desiderata by model and method, effect with interval and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from eif_lab.desiderata.format import statistic_text, verdict_text
from eif_lab.desiderata.verdict import SATISFIED
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    Mark,
    draw_marks,
    hatch,
    hatched_handles,
    is_untaught,
    limits_of,
    mark_good,
)
from eif_lab.figures.runs import model_title, select_jobs, setting
from eif_lab.figures.style import (
    GREY,
    HOW_MARKS,
    METHODS,
    VERDICTS,
    canvas,
    fit_name,
    fit_words,
    order_names,
)
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE
from eif_lab.results.tables import sweep_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "The scorecard: a row for each model and method, a mark for each job: the effect of the desideratum's headline "
    "statistic with its 95 % interval, against the threshold (dashed). The verdict is that of all findings of the "
    "desideratum, so that a mark beyond the threshold can still be red. Green disc: satisfied; red: violated, by how: "
    "triangle to the left: reversed (below chance), cross: absent (not above chance), triangle to the right: short "
    "(above chance, below the bar); white: inconclusive. p-values of either verdict are corrected over all jobs shown "
    "(Benjamini-Hochberg). At the right of each panel: how many jobs satisfy it, of those it applies to. Methods are "
    "matched in strength by their learning rates, and prompting has none: the caption's table has what was reached. "
    f"{HATCHED} {BEYOND}"
)
DESIDERATA = ("symmetry", "distance_decay", "sparsity", "noise_invariance", "logic", "negation")


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """All exact jobs; of knowledge domains those on clozes."""
    return select_jobs(jobs, "an exact job", lambda s: s.exact and s.view != "statements")


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each desideratum that applies to any job."""
    table = scores(jobs)
    groups = order_names(list(table["group"]), sorted(set(table["group"]), key=place_of))
    names = [name for name in DESIDERATA if (table["desideratum"] == name).any()]
    figure = canvas(1.6 + 1.95 * len(names), 0.9 + 0.75 * len(groups))
    grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(grid, names):
        draw_desideratum(axes, table[table["desideratum"] == name], groups)
        axes.set_title(fit_words(name))
    grid[0].set_yticks(range(len(groups)), groups)
    grid[0].set_ylim(len(groups) - 0.4, -0.6)
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels())}
    handles |= {patch.get_label(): patch for patch in hatched_handles(figure)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles) or 1)
    return figure


def scores(jobs: Sequence[JobResults]) -> pd.DataFrame:
    """The headline findings of all jobs, corrected together, with ``group``, model and method, beside them.

    Of a job with noise only noise invariance is shown: its clean images are those of another job.
    """
    table = sweep_table(jobs)
    table = table[(table["status"] == DONE) & (table["finding"] == 0)]
    by_path = {str(job.path): job for job in jobs}
    noisy = [bool(setting(by_path[path]).noise) for path in table["path"]]
    table = table[(table["desideratum"] == "noise_invariance") == noisy].copy()
    table["group"] = [group_of(by_path[path]) for path in table["path"]]
    return table


def group_of(job: JobResults) -> str:
    """The row that a job belongs to."""
    return f"{model_title(job).replace(' (', chr(10) + '(')}\n{fit_name(setting(job).method)}"


def place_of(group: str) -> tuple[str, int]:
    """Sorts rows by model, then by method."""
    model, _, method = group.rpartition("\n")
    return model, list(METHODS).index(method) if method in METHODS else len(METHODS)


def draw_desideratum(axes: Axes, rows: pd.DataFrame, groups: Sequence[str]) -> None:
    """One panel."""
    marks, taught = [], []
    for place, group in enumerate(groups):
        of_group = rows[rows["group"] == group]
        apart = 0.66 / (len(of_group) + 1)
        for number, row in enumerate(of_group.itertuples(), start=1):
            look = VERDICTS[row.verdict] | ({"marker": HOW_MARKS[row.how]} if row.how else {})
            look |= {"markersize": 3.5, "label": verdict_text(row.verdict, row.how)}
            at = place - 0.33 + number * apart
            marks.append(Mark(row.effect, row.low, row.high, at, look))
            if is_untaught(row.p_violated, row.note):
                hatch(axes, at - apart / 2, at + apart / 2)
            else:
                taught.append(marks[-1])
        if len(of_group):
            label = f"{(of_group['verdict'] == SATISFIED).sum()}/{len(of_group)}"
            axes.text(1.02, place, label, fontsize=6.5, va="center", transform=axes.get_yaxis_transform())
        axes.axhline(place + 0.5, color="0.9", linewidth=0.5, zorder=0)
    bars = rows["threshold"].dropna().unique()
    for bar in bars:
        axes.axvline(bar, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
    draw_marks(axes, marks, limits_of(taught or marks, [rows["chance"].iloc[0], *bars]))
    mark_good(axes)
    names = "\n".join(statistic_text(name) for name in dict.fromkeys(rows["statistic"]))
    axes.set_xlabel("\n".join(fit_name(line) for line in names.replace(", ", ",\n").split("\n")))
    axes.tick_params(axis="y", length=0)
