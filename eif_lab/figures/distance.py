"""figure-distance: influence against semantic distance, with the decay that was fitted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float
from matplotlib.lines import Line2D

from eif_lab.desiderata.format import statistic_text, verdict_text
from eif_lab.desiderata.selection import clean, clusters, same_sample
from eif_lab.desiderata.statistics import divide, jackknife
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    UNTAUGHT,
    Mark,
    draw_marks,
    draw_points,
    hatch,
    mark_good,
    robust_limits,
)
from eif_lab.figures.runs import data_title, finding, judged_array, model_title, select_jobs, taught_nothing
from eif_lab.figures.style import BLUE, GREEN, LONGEST_LINE, VERMILION, canvas, fit_name, fit_words, wrap_title
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "Size of influence on a probe against its distance from the stimulus: for images between the base model's "
    "features (or pixels), for texts the path between their words in the world's ontology; the horizontal axis says "
    "which. A sample on itself is left out. Dots: pairs. Round points: means at a distance, or in 20 bins with "
    "equally many pairs, with 95 % intervals (the jackknife over stimuli, classes or worlds). Of images these are all "
    "pairs, and the squares those of one class: that images of one class move each other more than others do is a "
    "contrast, and no decay. Line: a exp(-distance / length) + c through the round points, with the decay length of "
    "the desideratum; absent where none was resolved. Above: each finding of the desideratum, a rank correlation of "
    "size with nearness above chance, with its interval and verdict: within a world; of images within a class, and "
    f"between the means of classes. The scale is that of the means. {HATCHED} {BEYOND}"
)
ALL_PAIRS: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 3, "label": "all pairs"}
OF_ONE_CLASS: dict[str, Any] = {"color": GREEN, "marker": "s", "markersize": 3, "label": "of one class"}
MOST_BINS = 20
SHOWN_PAIRS = 3000


class Decay(NamedTuple):
    """Means by distance.

    Attributes:
        distance: Mean distance of each bin.
        mean, low, high: Mean influence and its interval.
    """

    distance: Float[np.ndarray, " bins"]
    mean: Float[np.ndarray, " bins"]
    low: Float[np.ndarray, " bins"]
    high: Float[np.ndarray, " bins"]


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs with exact arrays under training of all weights; of knowledge domains, those on clozes."""
    return select_jobs(
        jobs,
        "an exact array with method=full",
        lambda s: s.method == "full" and s.exact and s.perturbation == "include" and s.view != "statements",
    )


def decay_finding(job: JobResults) -> tuple[str, str]:
    """The desideratum that tells a job's decay, and the distance that is in the name of its statistic."""
    for name, options in (job.manifest.config.get("desideratum") or {}).items():
        if str(options.get("_target_", "")).endswith(".DistanceDecay") and options.get("distance"):
            return name, str(options["distance"])
    result = finding(job, "distance_decay")
    for beginning in ("rank_correlation_", "within_class_"):
        if result is not None and result.statistic.startswith(beginning):
            return "distance_decay", str(result.statistic).removeprefix(beginning)
    return "distance_decay", str(job.influence.attrs["distance"])


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each dataset."""
    columns = min(5, len(jobs))
    rows = math.ceil(len(jobs) / columns)
    figure = canvas(0.6 + 2.3 * columns, 2.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(jobs) :]:
        axes.set_axis_off()
    for axes, job in zip(grid.ravel(), jobs):
        draw_decay(axes, job)
    return figure


def cells_of(array: xr.DataArray, name: str) -> tuple[xr.DataArray, Float[np.ndarray, "stimulus probe"]]:
    """The sizes of the clean array, and its distances: NaN where stimulus and probe are the same sample."""
    array = abs(clean(array))
    distance = array[f"distance_{name}"].transpose("stimulus", "probe").values.astype(float)
    return array, np.where(same_sample(array), np.nan, distance)


def defined_pairs(
    array: xr.DataArray, distance: Float[np.ndarray, "stimulus probe"]
) -> Bool[np.ndarray, "stimulus probe"]:
    """Those of which both influence and distance are known."""
    return np.isfinite(distance) & np.isfinite(array.values)


def means_by_distance(array: xr.DataArray, distance: Float[np.ndarray, "stimulus probe"]) -> Decay:
    """Mean influence at each distance, or in bins where there are many."""
    defined = defined_pairs(array, distance)
    places = np.unique(distance[defined])
    if len(places) > MOST_BINS:
        places = np.unique(np.quantile(distance[defined], np.linspace(0, 1, MOST_BINS + 1)[1:]))
    rows, columns = np.nonzero(defined)
    bins = np.searchsorted(places[:-1], distance[rows, columns])
    units, _ = clusters(array)
    shape = int(units.max()) + 1, len(places)
    flat = units[rows] * len(places) + bins

    def table(weights: Float[np.ndarray, " cells"] | None) -> Float[np.ndarray, "units bins"]:
        return np.bincount(flat, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(float)

    total, cells, walked = table(array.values[rows, columns]), table(None), table(distance[rows, columns])

    def ends(b: int) -> tuple[float, float]:
        there = np.flatnonzero(cells[:, b])  # only units that have such a pair say anything of this distance
        ratio = jackknife(lambda counts: divide(counts @ total[there, b], counts @ cells[there, b]), len(there))
        return ratio.interval(0.95)

    low, high = np.array([ends(b) for b in range(shape[1])]).T
    return Decay(walked.sum(0) / cells.sum(0), total.sum(0) / cells.sum(0), low, high)


def fitted_decay(decay: Decay, length: float, at: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """``a exp(-distance / length) + c`` at some distances, with the a and c that fit the means best."""

    def basis(distance: np.ndarray) -> np.ndarray:
        return np.stack([np.exp(-(distance - decay.distance.min()) / length), np.ones_like(distance)], axis=1)

    weights = np.linalg.lstsq(basis(decay.distance), decay.mean, rcond=None)[0]
    return basis(at) @ weights


def means_within_classes(array: xr.DataArray, distance: Float[np.ndarray, "stimulus probe"]) -> Decay | None:
    """`means_by_distance` of the pairs of one class; None of texts, and where no class has two samples."""
    if "stimulus_class" not in array.coords:
        return None
    same = array["stimulus_class"].values[:, None] == array["probe_class"].values[None, :]
    if not defined_pairs(array, within := np.where(same, distance, np.nan)).any():
        return None
    return means_by_distance(array, within)


def draw_decay(axes: Axes, job: JobResults) -> None:
    """One panel."""
    desideratum, name = decay_finding(job)
    array, distance = cells_of(judged_array(job), name)
    decay = means_by_distance(array, distance)
    within = means_within_classes(array, distance)
    high = max(scale_end(means) for means in (decay, within) if means is not None)
    limits = -0.03 * high, high
    defined = np.flatnonzero(defined_pairs(array, distance))
    shown = np.random.default_rng(0).choice(defined, min(SHOWN_PAIRS, len(defined)), replace=False)
    x, y = distance.ravel()[shown], array.values.ravel()[shown]
    width = 0.03 * (x.max() - x.min() or 1.0)
    draw_points(axes, x, y, ((x.min() - width, x.max() + width), limits), s=2, color="0.75", zorder=0)
    for means, look in ((decay, ALL_PAIRS), (within, OF_ONE_CLASS)):
        if means is not None:
            draw_marks(
                axes, [Mark(mean, max(low, 0.0), high, at, look) for at, mean, low, high in zip(*means)], limits, "y"
            )
    handles = [] if within is None else [Line2D([], [], linestyle="", **look) for look in (ALL_PAIRS, OF_ONE_CLASS)]
    results = [row for _, row in job.verdicts.iterrows() if row["desideratum"] == desideratum and row["status"] == DONE]
    length = json.loads(results[0].details).get("decay_length", math.nan) if results else math.nan
    if math.isfinite(length):
        along = np.linspace(decay.distance.min(), decay.distance.max(), 200)
        handles += axes.plot(along, fitted_decay(decay, length, along), color=VERMILION, label=f"length {length:.3g}")
    axes.legend(handles=handles, loc="upper right")
    title = [wrap_title(f"{data_title(job)}, {model_title(job)}"), *([UNTAUGHT] if taught_nothing(job) else [])]
    axes.set_title("\n".join([*title, *(line for row in results for line in finding_lines(row))]), fontsize=6.5)
    if taught_nothing(job):
        hatch(axes)
    mark_good(axes, "good: falls →")
    axes.set_xlabel(f"{fit_words(name)} distance")
    axes.set_ylabel(f"size of influence ({job.manifest.unit})")


def scale_end(means: Decay) -> float:
    """Where the vertical axis ends for means that are to fall: the largest alone can be too far from the others."""
    return robust_limits(list(zip(means.mean, means.high)), most=1 - 1 / len(means.mean))[1]


def finding_lines(row: pd.Series) -> list[str]:
    """A finding with the distance that was judged, its effect, interval and own verdict."""
    text = f"{row.effect:.2f} [{row.low:.2f}, {row.high:.2f}], {verdict_text(row.finding_verdict, row.finding_how)}"
    return [f"{fit_name(statistic_text(row.statistic), LONGEST_LINE)}:", text]
