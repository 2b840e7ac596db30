"""An influence array as a picture."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eif_lab.desiderata.evaluation import must_be_numbers
from eif_lab.errors import must_be, rule_error, unknown_name
from eif_lab.figures.style import (
    DIVERGING,
    LONGEST_CLASS,
    canvas,
    color_limit,
    fit_name,
    one_font_warning,
    paper_style,
)
from eif_lab.results.job import JobResults
from eif_lab.results.summary import last_step, unit
from eif_lab.results.sweep import SweepResults, open_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 6.4, 5.2
"""Of the picture, in inches."""


def plot_array(results: JobResults | xr.DataArray, readout: str | None = None) -> Axes:
    """An influence array as a heat map, through matplotlib: stimuli down, probes across, ordered by class or world.

    Red is a probe that became likelier, blue one that became less likely, white zero; the scale ends at the 99th
    percentile of the magnitudes.

    Args:
        results: A job, or an array such as `measure_task` gives: dims (stimulus, probe) and any of seed, step and
            readout. The last step is drawn, and the mean over seeds.
        readout: Which; the first where None.

    Returns:
        The axes, of a new figure of pyplot: ``axes.figure.savefig("array.png")``, or ``pyplot.show()``.

    Raises:
        ConfigError: It is neither, has no such readout, or the job left no array.

    Examples:
        >>> from eif_lab import annotate, load_task
        >>> task = load_task("ontology", worlds=2, stimuli_per_world=1)
        >>> axes = plot_array(annotate((task.relation == "entailed") * 1.0, task))
        >>> axes.get_ylabel()
        'stimulus, by world'
    """
    from matplotlib import pyplot

    must_be("results", results, JobResults | xr.DataArray, "one job or an array", "Try sweep.jobs[0].")
    influence = results.influence if isinstance(results, JobResults) else results
    must_be_numbers(influence)
    with paper_style():
        _, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
        draw_array(axes, influence, readout)
    return axes


def draw_array(axes: Axes, influence: xr.DataArray, readout: str | None = None) -> None:
    """Draw an array after its last step, mean over seeds, ordered by class or world; arguments as `plot_array` has."""
    readouts = list(map(str, np.atleast_1d(influence["readout"].values))) if "readout" in influence.coords else [""]
    shown = readouts[0] if readout is None else readout
    if shown not in readouts:
        raise unknown_name("readout", shown, readouts)
    array = last_step(influence)
    array = array.isel(readout=readouts.index(shown)) if "readout" in array.dims else array
    array = array.isel({dim: order(array, dim) for dim in array.dims})
    kind = next((name for name in ("class", "world") if f"stimulus_{name}" in array.coords), "")
    scale = color_limit(array.values)
    image = axes.imshow(array.values, cmap=DIVERGING, vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
    for dim, set_ticks, line in (("stimulus", axes.set_yticks, axes.axhline), ("probe", axes.set_xticks, axes.axvline)):
        groups, starts = np.unique(group_of(array, dim), return_index=True)
        ends = np.append(starts[1:], array.sizes[dim])
        names = [
            fit_name(name, LONGEST_CLASS)
            for name in (array[f"{dim}_label"].values[starts] if kind == "class" else groups)
        ]
        if kind:
            set_ticks((starts + ends - 1) / 2, names, fontsize=8)
        for start in starts[1:]:
            line(start - 0.5, color="0.7", linewidth=0.4)
    axes.tick_params(axis="x", rotation=90 if kind == "class" else 0)
    axes.set_ylabel(f"stimulus, by {kind}" if kind else "stimulus")
    axes.set_xlabel(f"probe, by {kind}" if kind else "probe")
    parts = [
        fit_name(influence.attrs[key])
        for key in ("model", "dataset", "method", "perturbation")
        if key in influence.attrs
    ]
    axes.set_title(" · ".join(parts))
    bar = axes.figure.colorbar(image, ax=axes, extend="both")
    measure = f"influence on {(shown or 'the probe').replace('_', '-')}"
    bar.set_label(f"{measure} ({named})" if (named := unit(influence, shown)) else measure)


def group_of(array: xr.DataArray, dim: Hashable) -> np.ndarray:
    """The attribute by which samples are ordered: class, world, or none."""
    for name in ("class", "world"):
        if f"{dim}_{name}" in array.coords:
            return np.asarray(array[f"{dim}_{name}"].values)
    return np.zeros(array.sizes[dim], dtype=int)


def order(array: xr.DataArray, dim: Hashable) -> np.ndarray:
    """Indices that bring the samples of a group together, otherwise in their own order."""
    return np.argsort(group_of(array, dim), kind="stable")


def write_picture(folder: Path, file: Path) -> Path:
    """Draw the array of a job into a file.

    Raises:
        ConfigError: The folder holds no job, or the file's name ends in no format.
        OSError: The file cannot be written.
    """
    job = open_results(folder)
    if isinstance(job, SweepResults):
        raise rule_error("results path", "be a job", str(folder), "Try one of the folders in it.")
    kind = file.suffix.removeprefix(".")
    with paper_style():
        figure = canvas(*SIZE)
        draw_array(figure.subplots(), job.influence)
        known = sorted(figure.canvas.get_supported_filetypes())
        if kind not in known:
            raise rule_error("picture", f"end in one of {', '.join(known)}", str(file), "Try array.png.")
        with one_font_warning():
            figure.savefig(file, dpi=150)
    return file
