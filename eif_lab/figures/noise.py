"""figure-noise: what clean and noisy images teach each other, over the strength and the kind of noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from eif_lab.desiderata.noise_invariance import Teaching, measure_teaching, noise_levels
from eif_lab.desiderata.statistics import jackknife
from eif_lab.errors import NotApplicable
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    UNTAUGHT,
    Mark,
    draw_marks,
    hatch,
    hatched_handles,
    mark_good,
    robust_limits,
)
from eif_lab.figures.runs import dataset_title, judged_array, model_title, select_jobs, setting, taught_nothing
from eif_lab.figures.style import BLACK, canvas, fit_words, line_look, order_names
from eif_lab.figures.symmetry import short
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Mean influence of an image on the other images of its class, over the strength of the noise: a noisy image on "
    "clean ones, a clean one on noisy ones, and a noisy one on images as noisy as itself; the dotted line is clean on "
    "clean. First row: all classes; below: single classes. Bars are 95 % intervals (the jackknife over images, each "
    "with its clean and noisy versions). Strength: the standard deviation of Gaussian noise (pixels lie between 0 and "
    "1), the share of pixels (salt and pepper), the share of the area (occlusion). Curves at the height of the dotted "
    "line say that noise takes nothing away; the desideratum asks for a noisy image that teaches clean ones less, and "
    f"for clean to noisy above noisy to clean. {HATCHED} {BEYOND}"
)
SHOWN_CLASSES = 3
ALL = "all classes"
CURVES = {name: line_look(number) for number, name in enumerate(("noisy to clean", "clean to noisy", "noisy to noisy"))}
GOOD = "good: ● low, ■ high"
"""By the shapes of noisy to clean and of clean to noisy."""


class Point(NamedTuple):
    """Mean influence with its interval."""

    mean: float
    low: float
    high: float


Taught = tuple[Point, dict[str, dict[float, Point]]]
"""Clean on clean, and for each of `CURVES` the influence by strength of the noise."""


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs with noise."""
    return select_jobs(jobs, "a job with perturbation=noise", lambda s: s.perturbation == "noise" and s.exact)


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A column for each dataset and kind of noise, a row for all classes and for each of several."""
    classes = {setting(job).dataset: shown_classes(judged_array(job)) for job in jobs}
    rows = 1 + max(len(shown) for shown in classes.values())
    figure = canvas(max(4.5, 1.2 + 1.75 * len(jobs)), 0.9 + 1.5 * rows)
    grid = figure.subplots(rows, len(jobs), squeeze=False, sharex="col")
    datasets = [setting(job).dataset for job in jobs]
    taught = [teaching_by_class(judged_array(job), classes[name]) for job, name in zip(jobs, datasets)]
    for column, (job, name, parts) in enumerate(zip(jobs, datasets, taught)):
        of_dataset = [each for each, other in zip(taught, datasets) if other == name]
        for axes, (title, part) in zip(grid[:, column], parts.items()):
            draw_curves(axes, part, shared_limits([each[title] for each in of_dataset if title in each]))
            axes.set_title(short([title])[0], fontsize=7)
            axes.tick_params(labelleft=column == datasets.index(name))
            if taught_nothing(job):
                hatch(axes)
        title = f"{dataset_title(job)}\n{fit_words(setting(job).noise)}\n{ALL}"
        grid[0, column].set_title(f"{title}, {UNTAUGHT}" if taught_nothing(job) else title)
        for unused in grid[len(parts) :, column]:
            unused.set_axis_off()
    unit = jobs[0].manifest.unit
    figure.supylabel(f"mean influence on others of the class ({unit}), {model_title(jobs[0])}", fontsize=8)
    figure.supxlabel("strength of the noise", fontsize=8)
    figure.legend(handles=[*legend(), *hatched_handles(figure)], loc="outside upper center", ncols=len(CURVES) + 1)
    return figure


def legend() -> list[Line2D]:
    """A line for each curve, and the dotted one."""
    dotted = Line2D([], [], color=BLACK, linewidth=0.8, linestyle=":", label="clean to clean")
    return [dotted, *(Line2D([], [], markersize=3, linewidth=1, label=name, **look) for name, look in CURVES.items())]


def teaching_by_class(array: xr.DataArray, classes: Sequence[str]) -> dict[str, Taught | None]:
    """What `teach_each_other` finds for all classes and for some; None where there are too few images."""
    found: dict[str, Taught | None] = {}
    for name, part in {ALL: array, **{name: of_class(array, name) for name in classes}}.items():
        try:
            found[name] = teach_each_other(part)
        except NotApplicable:
            found[name] = None
    return found


def shared_limits(panels: Sequence[Taught | None]) -> tuple[float, float]:
    """One vertical axis for all panels of a dataset in a row, with zero in it.

    In a panel the largest mark alone can be too far from the others, since a curve may well rise; of panels those that
    are too far from the smaller half.
    """
    ends = []
    for clean, curves in (panel for panel in panels if panel is not None):
        points = [clean, *(point for curve in curves.values() for point in curve.values())]
        ends.append(robust_limits(points, most=1 - 1 / len(points)))
    return robust_limits(ends, most=0.5)


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


def teach_each_other(array: xr.DataArray) -> Taught:
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


def draw_curves(axes: Axes, taught: Taught | None, limits: tuple[float, float]) -> None:
    """One panel; one that has too few images says so."""
    if taught is None:
        axes.text(0.5, 0.5, "too few\nimages", ha="center", va="center", transform=axes.transAxes)
        return
    clean, curves = taught
    axes.axhline(clean.mean, color=BLACK, linewidth=0.8, linestyle=":")
    axes.axhspan(clean.low, clean.high, color=BLACK, alpha=0.08, linewidth=0)
    draw_marks(axes, [Mark(*clean, 0.0, {"color": BLACK, "marker": "."})], limits, "y")
    for shift, (name, look) in zip((-1, 0, 1), CURVES.items()):
        sigma = np.array(list(curves[name]))
        places = sigma + shift * 0.02 * sigma.max()  # side by side, so that no interval hides another
        points = list(curves[name].values())
        axes.plot(places, [one.mean for one in points], linewidth=1, markersize=3, **look)
        draw_marks(axes, [Mark(*one, at, {**look, "markersize": 3}) for one, at in zip(points, places)], limits, "y")
    axes.set_xlim(0, None)
    mark_good(axes, GOOD)
