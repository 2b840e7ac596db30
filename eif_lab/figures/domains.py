"""figure-domains: what each statement of a knowledge domain does to each other one, relations marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D

from eif_lab.desiderata.selection import texts
from eif_lab.desiderata.statistics import divide
from eif_lab.figures.panel import HATCHED, UNTAUGHT, hatch, mark_cells, mark_good
from eif_lab.figures.runs import data_title, finding, judged_array, model_title, select_jobs, taught_nothing
from eif_lab.figures.style import BLACK, canvas, color_limit, finding_text, fit_name, show_array, wrap_title
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Each statement of a world as stimulus (row) and as probe (column, in the same order), read as the log-likelihood "
    "of the whole statement; first what is known beforehand, then what is stated, what follows, and its negation. "
    "Cells are means over worlds, which are built alike; the words are the first world's. Circles: the row entails "
    "the column; crosses: it contradicts it. A network that reasons would have red circles and blue crosses. Colours "
    "are each panel's own and end at the 99th percentile of |I|. Above: the correlation of the whole array with its "
    f"transpose, with its 95 % interval and the verdict. {HATCHED}"
)
SAYS = {"entailed": "entails", "contradicted": "contradicts"}
MARKS = {"entailed": "o", "contradicted": "x"}


class Statements(NamedTuple):
    """A domain's array within a world.

    Attributes:
        labels: The statements of the first world.
        relation: What a statement says about another.
        mean: Mean influence over the worlds where it is defined.
        worlds: How many.
    """

    labels: list[str]
    relation: np.ndarray
    mean: Float[np.ndarray, "n n"]
    worlds: int


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The square arrays of statements under fine-tuning of all weights."""
    return select_jobs(
        jobs,
        "a job with dataset.view=statements and method=full",
        lambda s: s.view == "statements" and s.method == "full" and s.perturbation == "include" and s.exact,
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each domain."""
    columns = min(2, len(jobs))
    rows = math.ceil(len(jobs) / columns)
    figure = canvas(5.6 * columns, 3.5 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(jobs) :]:
        axes.set_axis_off()
    for axes, job in zip(grid.ravel(), jobs):
        draw_domain(axes, job)
    marked = {label for axes in grid.ravel() for label in axes.get_legend_handles_labels()[1]}
    look: dict[str, Any] = {"linestyle": "", "color": BLACK, "markerfacecolor": "none", "markersize": 4}
    handles = [
        Line2D([], [], marker=marker, label=f"the row {SAYS[name]} the column", **look)
        for name, marker in MARKS.items()
        if name in marked
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def within_world(job: JobResults) -> Statements:
    """The mean over the worlds that are built like the first one."""
    array = judged_array(job)
    world, relation = array["stimulus_world"].values, texts(array, "relation")
    blocks = [np.flatnonzero(world == number) for number in np.unique(world)]
    first = relation[np.ix_(blocks[0], blocks[0])]
    like = [b for b in blocks if len(b) == len(first) and (relation[np.ix_(b, b)] == first).all()]
    each = np.stack([array.values[np.ix_(block, block)] for block in like])
    known = np.isfinite(each)
    mean = divide(np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0))
    labels = texts(array, "stimulus_label")[blocks[0]]
    return Statements([fit_name(str(label).removesuffix(" .")) for label in labels], first, mean, len(like))


def draw_domain(axes: Axes, job: JobResults) -> None:
    """One panel."""
    labels, relation, mean, worlds = within_world(job)
    image = show_array(axes, mean, color_limit(mean))
    for name, marker in MARKS.items():
        if (relation == name).any():
            mark_cells(axes, image, relation == name, marker, size=160 / len(labels), label=name)
    numbers = [str(place + 1) for place in range(len(labels))]
    axes.set_yticks(range(len(labels)), [f"{label}  {n}" for label, n in zip(labels, numbers)], fontsize=5.6)
    axes.set_xticks(range(len(labels)), numbers, fontsize=5.6, rotation=90)
    axes.tick_params(length=0)
    title = wrap_title(f"{data_title(job)}, {model_title(job)}, {worlds} worlds")
    result = finding(job, "symmetry")
    if taught_nothing(job):
        title += f"\n{UNTAUGHT}"
        hatch(axes)
    if result is not None:
        title += f"\ncorrelation with its transpose {finding_text(result)}"
    axes.set_title(title, fontsize=7)
    mark_good(axes, "good: ○ red, x blue")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.75, extend="both")
    bar.set_label(f"influence ({job.manifest.unit})", fontsize=6)
    bar.ax.tick_params(labelsize=5.5)
