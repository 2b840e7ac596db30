"""figure-sparsity: Lorenz curves of the influence that a stimulus has, and how many probes it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import special

from eif_lab.desiderata.selection import clean, related, unread
from eif_lab.desiderata.statistics import effective_number
from eif_lab.figures.panel import HATCHED, UNTAUGHT, hatch, mark_good
from eif_lab.figures.runs import (
    IMAGES,
    data_title,
    finding,
    judged_array,
    model_title,
    select_jobs,
    setting,
    taught_nothing,
)
from eif_lab.figures.style import BLUE, GREY, VERMILION, canvas, finding_text, line_look
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Left: Lorenz curves: the share of a stimulus's |I| that the least moved probes have together, mean over stimuli. "
    "The diagonal is influence spread evenly, the dashed curve that of Gaussian noise; the further below, the fewer "
    "probes are moved. Right, after the look of a job's curve: the effective number of probes moved, 1 / sum(p^2) with "
    "p = |I| / sum |I|, by stimulus (box: quartiles; whiskers: 5th to 95th percentile), as a share of all probes; the "
    "diamond is the share that a stimulus is related to, so that the right number moved would lie on it. Beside it how "
    "well |I| tells related probes from the stimulus's own foils, or its class from others (average precision above "
    "chance), with its 95 % "
    f"interval and the sparsity desideratum's verdict. {HATCHED}"
)
POINTS = 101


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs with exact arrays under training of all weights; of knowledge domains, those on clozes."""
    return select_jobs(
        jobs,
        "an exact array with method=full",
        lambda s: s.method == "full" and s.exact and s.perturbation == "include" and s.view != "statements",
    )


def draw(jobs: Sequence[JobResults]) -> Figure:
    """Lorenz curves of images and of texts, and the effective number of each dataset."""
    figure = canvas(11.0, max(3.4, 0.9 + 0.34 * len(jobs)))
    looks = {job.path: line_look(number) | {"markersize": 3} for number, job in enumerate(jobs)}
    images = [job for job in jobs if setting(job).dataset in IMAGES]
    texts = [job for job in jobs if job not in images]
    groups = [group for group in (images, texts) if group]
    *curves, numbers = figure.subplots(1, len(groups) + 1, width_ratios=[1] * len(groups) + [1.6])
    for axes, group in zip(curves, groups):
        draw_lorenz(axes, group, looks)
    draw_numbers(numbers, jobs, looks)
    return figure


def row_title(job: JobResults) -> str:
    """The data, where the background is in the context, and whether nothing was taught."""
    return ",\n".join([*data_title(job).split(", "), *([UNTAUGHT] if taught_nothing(job) else [])])


def moving_rows(job: JobResults) -> xr.DataArray:
    """The clean stimuli that moved a probe, with finite influence, but for NaN where they were not read."""
    array = clean(judged_array(job))
    finite = (np.isfinite(array.values) | unread(array)).all(axis=1)
    return array[finite & (np.nan_to_num(array.values) != 0).any(axis=1)]


def read_cells(array: xr.DataArray) -> list[np.ndarray]:
    """Of each stimulus its influence on the probes that it was read on."""
    return [row[~np.isnan(row)] for row in array.values]


def lorenz(
    values: Float[np.ndarray, "stimulus probe"], at: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Share of the sum of ``|values|`` that the smallest have together, mean over rows.

    Args:
        values: Rows that are not all zero; NaN does not count.
        at: Shares of the probes, 0 to 1; between two probes the curve is straight.
    """
    curves = []
    for row in values:
        together = np.pad(np.sort(np.abs(row[~np.isnan(row)])).cumsum(), (1, 0))
        curves.append(np.interp(at, np.linspace(0, 1, len(together)), together / together[-1]))
    return np.mean(curves, axis=0)


def gaussian_lorenz(at: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """The Lorenz curve of ``|x|`` for a normal x: ``1 - exp(-q^2 / 2)`` with q its quantile."""
    return 1 - np.exp(-(special.ndtri((1 + at) / 2) ** 2) / 2)


def draw_lorenz(axes: Axes, jobs: Sequence[JobResults], looks: Mapping[Path, Mapping[str, Any]]) -> None:
    """The curves of a group of datasets, of each job in its look."""
    at = np.linspace(0, 1, POINTS)
    axes.plot(at, at, color=GREY, linewidth=0.8, label="spread evenly")
    axes.plot(at, gaussian_lorenz(at), color=GREY, linewidth=0.8, linestyle="--", label="Gaussian noise")
    for number, job in enumerate(jobs):
        places = number * POINTS // 20 % (POINTS // 5), POINTS // 5
        axes.plot(at, lorenz(moving_rows(job).values, at), markevery=places, **looks[job.path])
    mark_good(axes, "sparser ↓")
    axes.set_aspect("equal")
    axes.set_xlabel("share of the probes, least moved first")
    axes.set_ylabel("share of |I|")
    axes.set_title(model_title(jobs[0]))
    axes.legend(loc="upper left", fontsize=5.8, labelspacing=0.15, handlelength=1.4, borderaxespad=0)


def draw_numbers(axes: Axes, jobs: Sequence[JobResults], looks: Mapping[Path, Mapping[str, Any]]) -> None:
    """The effective number of probes moved, a row for each job, after the look of its curve."""
    arrays = [moving_rows(job) for job in jobs]
    shares = [[effective_number(row) / len(row) for row in read_cells(array)] for array in arrays]
    places = list(range(len(jobs)))
    axes.boxplot(
        shares, positions=places, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.55,
        medianprops={"color": BLUE}, manage_ticks=False,
    )  # fmt: skip
    axes.plot(
        [related(array)[~unread(array)].mean() for array in arrays],
        places,
        "D",
        color=VERMILION,
        label="related probes",
    )
    for place, job in zip(places, jobs):
        beside = axes.get_yaxis_transform()
        axes.plot([-0.06, -0.03, 0.0], [place] * 3, markevery=[1], transform=beside, clip_on=False, **looks[job.path])
        if taught_nothing(job):
            hatch(axes, place - 0.45, place + 0.45)
        result = finding(job, "sparsity")
        if result is not None:
            axes.text(1.03, place, finding_text(result), fontsize=6.5, va="center", transform=beside)
    axes.text(1.03, 1.0, "average precision, above chance", fontsize=6.5, va="bottom", transform=axes.transAxes)
    axes.set_yticks(places, [row_title(job) for job in jobs])
    axes.tick_params(axis="y", length=0, pad=26)
    mark_good(axes, "good: on the diamond")
    axes.set_ylim(len(jobs) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("effective number of probes moved, as a share of all")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
