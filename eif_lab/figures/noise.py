"""figure-noise: what clean and noisy images teach each other, over the strength and the kind of noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from eif_lab.desiderata.noise_invariance import Teaching, measure_teaching, noise_levels
from eif_lab.desiderata.statistics import jackknife
from eif_lab.errors import NotApplicable
from eif_lab.figures.runs import dataset_title, judged_array, model_title, select_jobs, setting
from eif_lab.figures.style import BLACK, BLUE, ORANGE, PURPLE, canvas, fit_words, order_names
from eif_lab.figures.symmetry import short
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Mean influence of an image on the other images of its class, over the strength of the noise: a noisy image on "
    "clean ones, a clean one on noisy ones, and a noisy one on images as noisy as itself; the dotted line is clean "
    "on clean. First row: all classes; below: single classes. Bars are 95 % intervals (the jackknife over images, "
    "each with its clean and noisy versions). Strength: the standard deviation of Gaussian noise (pixels lie between "
    "0 and 1), the share of pixels (salt and pepper), the share of the area (occlusion). Curves at the height of the "
    "dotted line say that noise takes nothing away."
)
SHOWN_CLASSES = 3
CURVES = {"noisy to clean": (BLUE, "o"), "clean to noisy": (ORANGE, "s"), "noisy to noisy": (PURPLE, "^")}


class Point(NamedTuple):
    """Mean influence with its interval."""

    mean: float
    low: float
    high: float


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs with noise."""
    return select_jobs(jobs, "a job with perturbation=noise", lambda s: s.perturbation == "noise" and s.exact)


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A column for each dataset and kind of noise, a row for all classes and for each of several."""
    classes = {setting(job).dataset: shown_classes(judged_array(job)) for job in jobs}
    rows = 1 + max(len(shown) for shown in classes.values())
    figure = canvas(max(4.5, 1.2 + 1.75 * len(jobs)), 0.9 + 1.5 * rows)
    grid = figure.subplots(rows, len(jobs), squeeze=False, sharex="col")
    for column, job in enumerate(jobs):
        array = judged_array(job)
        parts = [("all classes", array)] + [(name, of_class(array, name)) for name in classes[setting(job).dataset]]
        for row, (name, part) in enumerate(parts):
            draw_curves(grid[row, column], part)
            grid[row, column].set_title(short([name])[0], fontsize=7)
        grid[0, column].set_title(f"{dataset_title(job)}\n{fit_words(setting(job).noise)}\nall classes")
        for unused in grid[len(parts) :, column]:
            unused.set_axis_off()
    share_heights(grid, [setting(job).dataset for job in jobs])
    unit = jobs[0].manifest.unit
    figure.supylabel(f"mean influence on others of the class ({unit}), {model_title(jobs[0])}", fontsize=8)
    figure.supxlabel("strength of the noise", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def shown_classes(array: xr.DataArray) -> list[str]:
    """Several classes, spread evenly over all; none of texts."""
    if "stimulus_class" not in array.coords:
        return []
    labels, classes = array["stimulus_label"].values, array["stimulus_class"].values
    named = [str(labels[classes == number][0]) for number in np.unique(classes)]
    picked = np.linspace(0, len(named) - 1, min(SHOWN_CLASSES, len(named))).round().astype(int)
    return order_names([named[place] for place in picked], [])


def of_class(array: xr.DataArray, label: str) -> xr.DataArray:
    """The stimuli and the probes of one class."""
    return array.isel({dim: np.flatnonzero(array[f"{dim}_label"].values == label) for dim in array.dims})


def teach_each_other(array: xr.DataArray) -> tuple[Point, dict[str, dict[float, Point]]]:
    """Clean on clean, and for each of `CURVES` the influence by strength, of the stimuli that did not diverge.

    Raises:
        NotApplicable: There are too few images.
    """
    array = array.isel(stimulus=np.flatnonzero(np.isfinite(array.values).all(axis=1)))
    levels = noise_levels(array)
    teaching = measure_teaching(array, levels)
    clean = point(teaching, 0.0, 0.0)
    curves = {
        "noisy to clean": {sigma: point(teaching, sigma, 0.0) for sigma in levels},
        "clean to noisy": {sigma: point(teaching, 0.0, sigma) for sigma in levels},
        "noisy to noisy": {sigma: point(measure_teaching(as_clean(array, sigma), []), 0.0, 0.0) for sigma in levels},
    }
    return clean, curves


def point(teaching: Teaching, a: float, b: float) -> Point:
    """``T(a, b)`` with the interval of the jackknife over images."""
    estimate = jackknife(lambda counts: teaching.mean(a, b, counts), teaching.units)
    return Point(estimate.value, *estimate.interval(0.95))


def as_clean(array: xr.DataArray, sigma: float) -> xr.DataArray:
    """The stimuli and the probes of one strength, as if they were clean."""
    part = array.isel({dim: np.flatnonzero(array[f"{dim}_sigma"].values == sigma) for dim in array.dims})
    return part.assign_coords({f"{dim}_sigma": (dim, np.zeros(part.sizes[dim])) for dim in part.dims})


def draw_curves(axes: Axes, array: xr.DataArray) -> None:
    """One panel; one that has too few images says so."""
    try:
        clean, curves = teach_each_other(array)
    except NotApplicable:
        axes.text(0.5, 0.5, "too few\nimages", ha="center", va="center", transform=axes.transAxes)
        return
    axes.axhline(clean.mean, color=BLACK, linewidth=0.8, linestyle=":", label="clean to clean")
    axes.axhspan(clean.low, clean.high, color=BLACK, alpha=0.08, linewidth=0)
    for shift, (name, (color, marker)) in zip((-1, 0, 1), CURVES.items()):
        sigma = np.array(list(curves[name]))
        mean, low, high = np.array(list(curves[name].values())).T
        # side by side, so that no interval hides another
        place = sigma + shift * 0.02 * sigma.max()
        axes.errorbar(
            place,
            mean,
            np.abs([mean - low, high - mean]),
            color=color,
            marker=marker,
            markersize=3,
            linewidth=1,
            label=name,
        )
    axes.set_xlim(0, None)


def share_heights(grid: np.ndarray, datasets: Sequence[str]) -> None:
    """One vertical axis for all panels of a dataset in a row, and zero in it."""
    for row in grid:
        for name in dict.fromkeys(datasets):
            of_dataset = [axes for axes, dataset in zip(row, datasets) if dataset == name]
            low = min(0.0, *(axes.get_ylim()[0] for axes in of_dataset))
            high = max(axes.get_ylim()[1] for axes in of_dataset)
            for place, axes in enumerate(of_dataset):
                axes.set_ylim(low, high)
                axes.tick_params(labelleft=place == 0)
