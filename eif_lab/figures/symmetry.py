"""figure-symmetry: what images teach each other, exactly and to first order, and each pair both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from eif_lab.desiderata.selection import same_sample
from eif_lab.desiderata.statistics import divide
from eif_lab.figures.array import order
from eif_lab.figures.panel import BEYOND, HATCHED, UNTAUGHT, draw_points, hatch, mark_good, robust_limits
from eif_lab.figures.runs import dataset_title, finding, judged_array, model_title, select_jobs, setting, taught_nothing
from eif_lab.figures.style import (
    BLUE,
    CLIP,
    GREY,
    LONGEST_CLASS,
    canvas,
    color_limit,
    finding_text,
    fit_name,
    fit_words,
    show_array,
    wrap_title,
)
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Influence arrays of images that are each both stimulus (row) and probe (column), ordered by class. From the "
    "left: the exact array, every update run; its first-order prediction at the same learning rate, on the same "
    "colours; the exact array averaged by class; and each pair both ways, I[i, j] against I[j, i], i not j, on the "
    "diagonal where influence is symmetric. The correlation and its 95 % interval are the symmetry desideratum's. "
    f"Colours end at the 99th percentile of |I|; blue: the target became less likely. {HATCHED} {BEYOND}"
)


TITLES = (("exact", "symmetric: mirrored in the diagonal"), ("first-order prediction", "good: like the exact one"))
"""Of the two arrays, and what is good in each."""


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The exact arrays of all weights, and their predictions."""
    return select_jobs(
        jobs, "an array of images", lambda s: s.images and s.method == "full" and s.perturbation == "include"
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A row for each dataset."""
    exact = [job for job in jobs if setting(job).exact]
    figure = canvas(11.0, 2.75 * len(exact))
    for axes, job in zip(figure.subplots(len(exact), 4, squeeze=False), exact):
        draw_row(axes, job, prediction_of(job, jobs))
    return figure


def prediction_of(job: JobResults, jobs: Sequence[JobResults]) -> JobResults | None:
    """The first-order job of the same dataset, model and seeds; None where none was run."""
    run = setting(job)
    same = (
        other
        for other in jobs
        if not (s := setting(other)).exact and (s.model, s.dataset, s.draw) == (run.model, run.dataset, run.draw)
    )
    return next(same, None)


def draw_row(axes: np.ndarray, job: JobResults, predicted: JobResults | None) -> None:
    """Exact array, prediction, classes, scatter."""
    array = by_class(judged_array(job))
    unit = job.manifest.unit
    arrays = [array] + ([by_class(judged_array(predicted))] if predicted else [])
    untaught = f", {UNTAUGHT}" if taught_nothing(job) else ""
    scale = color_limit(*(one.values for one in arrays))
    for place, one, (title, good) in zip(axes, arrays, TITLES):
        image = show_array(place, one.values, scale)
        mark_classes(place, one)
        place.set_title(title)
        mark_good(place, good)
    if predicted is None:
        axes[1].set_axis_off()
    axes[0].set_ylabel(wrap_title(f"{dataset_title(job)}, {model_title(job)}") + f"{untaught}\nstimulus, by class")
    axes[0].figure.colorbar(image, ax=list(axes[:2]), label=f"influence ({unit})", shrink=0.8, extend="both")
    draw_classes(axes[2], array, unit)
    draw_pairs(axes[3], array, unit)
    if taught_nothing(job):
        for place in axes[2:]:  # the array itself would be hidden
            hatch(place)
    result = finding(job, "symmetry")
    if result is not None:
        effect, verdict = finding_text(result).rsplit(", ", 1)
        axes[3].set_title(f"{fit_words(result.statistic)} {effect}\n{verdict}")


def by_class(array: xr.DataArray) -> xr.DataArray:
    """The array with the samples of a class together."""
    return array.isel({dim: order(array, dim) for dim in array.dims})


def mark_classes(axes: Axes, array: xr.DataArray) -> None:
    """Class names in the middle of their rows, and their borders."""
    starts = np.unique(array["stimulus_class"].values, return_index=True)[1]
    ends = np.append(starts[1:], array.sizes["stimulus"])
    axes.set_yticks((starts + ends - 1) / 2, short(array["stimulus_label"].values[starts]), fontsize=5.5)
    axes.set_xticks([])
    axes.set_xlabel("probe, by class")
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="0.7", linewidth=0.3)
        axes.axvline(start - 0.5, color="0.7", linewidth=0.3)
    axes.tick_params(length=0)


def short(labels: Iterable[object]) -> list[str]:
    """Class names that fit beside their rows: what stands before a slash."""
    return [fit_name(str(label).split("/")[0] or label, LONGEST_CLASS) for label in labels]


def class_table(array: xr.DataArray) -> tuple[list[str], Float[np.ndarray, "classes classes"]]:
    """Class names, and mean influence of a class's stimuli on a class's probes.

    A sample on itself is left out, and so is what is undefined; a mean over nothing is NaN.
    """
    classes = np.unique(array["stimulus_class"].values)
    labels = [str(array["stimulus_label"].values[array["stimulus_class"].values == c][0]) for c in classes]
    rows, columns = ((array[f"{dim}_class"].values[:, None] == classes).astype(float) for dim in array.dims)
    others = ~same_sample(array) & np.isfinite(array.values)
    total = rows.T @ np.where(others, array.values, 0.0) @ columns
    return labels, divide(total, rows.T @ others.astype(float) @ columns)


def draw_classes(axes: Axes, array: xr.DataArray, unit: str) -> None:
    """The array averaged by class, on a colour scale of its own."""
    labels, means = class_table(array)
    image = show_array(axes, means, color_limit(means))
    axes.set_yticks(range(len(labels)), short(labels), fontsize=5.5)
    axes.set_xticks([])
    axes.set_xlabel("probe's class")
    axes.set_title("exact, mean by class")
    mark_good(axes, TITLES[0][1])
    axes.tick_params(length=0)
    axes.figure.colorbar(image, ax=axes, label=f"mean influence ({unit})", shrink=0.8, extend="both")


def draw_pairs(axes: Axes, array: xr.DataArray, unit: str) -> None:
    """Each pair of different samples both ways, where both are defined."""
    upper = np.triu_indices(len(array), 1)
    pairs = np.stack([array.values[upper], array.values.T[upper]])
    there, back = pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    limits = robust_limits(pairs.reshape(-1, 1), most=CLIP)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, zorder=0)
    draw_points(axes, there, back, (limits, limits), s=2, color=BLUE, alpha=0.25)
    mark_good(axes, "symmetric: on the line")
    axes.set_aspect("equal")
    axes.set_xlabel(f"I[i, j] ({unit})")
    axes.set_ylabel(f"I[j, i] ({unit})")
