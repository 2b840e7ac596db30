"""An influence array as a picture."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eif_lab.errors import rule_error
from eif_lab.figures.style import LONGEST_CLASS, color_limit, fit_name, one_font_warning, paper_style
from eif_lab.results.summary import last_step, unit
from eif_lab.results.sweep import SweepResults, open_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_array(influence: xr.DataArray) -> Figure:
    """The array after the last step, of the first readout, mean over seeds, ordered by class or world.

    Args:
        influence: Dims (seed, stimulus, step, probe, readout), with the coordinates of a job.
    """
    from matplotlib.figure import Figure

    readout = str(influence["readout"].values[0])
    array = last_step(influence).isel(readout=0).transpose("stimulus", "probe")
    array = array.isel({dim: order(array, dim) for dim in array.dims})
    kind = "class" if "stimulus_class" in array.coords else "world"
    scale = color_limit(array.values)
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(array.values, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
    for dim, set_ticks, line in (("stimulus", axes.set_yticks, axes.axhline), ("probe", axes.set_xticks, axes.axvline)):
        groups, starts = np.unique(group_of(array, dim), return_index=True)
        ends = np.append(starts[1:], array.sizes[dim])
        names = [
            fit_name(name, LONGEST_CLASS)
            for name in (array[f"{dim}_label"].values[starts] if kind == "class" else groups)
        ]
        set_ticks((starts + ends - 1) / 2, names, fontsize=8)
        for start in starts[1:]:
            line(start - 0.5, color="0.7", linewidth=0.4)
    axes.tick_params(axis="x", rotation=90 if kind == "class" else 0)
    axes.set_ylabel(f"stimulus trained on, by {kind}")
    axes.set_xlabel(f"probe read, by {kind}")
    parts = [
        fit_name(influence.attrs[key])
        for key in ("model", "dataset", "method", "perturbation")
        if key in influence.attrs
    ]
    axes.set_title(" · ".join(parts))
    bar = figure.colorbar(image, ax=axes, extend="both")
    bar.set_label(f"influence on {readout.replace('_', '-')} ({unit(influence, readout)})")
    return figure


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
        figure = draw_array(job.influence)
        known = sorted(figure.canvas.get_supported_filetypes())
        if kind not in known:
            raise rule_error("picture", f"end in one of {', '.join(known)}", str(file), "Try array.png.")
        with one_font_warning():
            figure.savefig(file, dpi=150)
    return file
