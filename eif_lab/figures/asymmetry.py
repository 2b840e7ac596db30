"""figure-asymmetry: how symmetric influence is over optimizer, readout and strength, and to first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from eif_lab.desiderata.evaluation import adjust, judge
from eif_lab.desiderata.selection import select_readout
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.desiderata.verdict import SATISFIED, Verdict
from eif_lab.errors import rule_error
from eif_lab.figures.panel import BEYOND, HATCHED, Mark, draw_marks, hatch_around, hatched_handles, limits_of, mark_good
from eif_lab.figures.runs import dataset_title, finding, model_title, select_jobs, setting, taught_nothing
from eif_lab.figures.style import (
    FILLINGS,
    GREY,
    OPTIMIZERS,
    OTHER_OPTIMIZER,
    canvas,
    fit_words,
    log_scale,
    order_names,
    wrap_title,
)
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "How symmetric influence is over the strength of the update: a row for each dataset, a colour and a dash for each "
    "optimizer, a shape for each readout. Left: correlation of I[i, j] with I[j, i], i not j, by value. Middle: the "
    "same by rank, which weighs the many small cells as much as the few large ones. Dashed: the symmetry of the "
    "first-order prediction of SGD in that readout, the same at any strength, since a prediction only grows with the "
    "learning rate; grey: the bar, which is passed upwards. Right: by how much an array is more symmetric than that "
    "prediction, by value; at zero, its symmetry is that of gradients at the base model. Intervals are at 95 % (the "
    "jackknife over classes or worlds). Filled: satisfied; light grey: inconclusive; white: violated, corrected over "
    "all marks. Read by the log-probability, a small step of SGD is symmetric to first order, whatever a network has "
    f"learnt. {HATCHED} {BEYOND}"
)
READOUTS = {"log_prob": "o", "log_odds": "s", "prob": "^"}
"""The readouts that have a gradient, with their marks."""

PANELS = {
    "value": "correlation with transpose, by value",
    "rank": "correlation with transpose, by rank",
    "excess": "excess over first order, by value",
}
ENDS = ("", "_low", "_high")
"""How the columns of an effect and of its interval end."""

SET_APART = 0.04
"""Marks of one job stand so much of their strength from each other, that their intervals can be distinguished."""


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs whose stimuli change all weights and of which symmetry was judged, an exact one among them."""
    what = "an exact job of which symmetry was judged"
    judged = [job for job in jobs if finding(job, "symmetry") is not None]
    if not any(setting(job).exact for job in judged):
        raise rule_error("results path", f"hold {what}", [job.manifest.name for job in jobs])
    return select_jobs(judged, what, lambda s: s.method == "full" and s.perturbation == "include")


def subject(job: JobResults) -> tuple[str, str, tuple[int, int]]:
    """The dataset, model and draw of a job, which it shares with its prediction."""
    run = setting(job)
    return run.dataset, run.model, run.draw


def prediction_of(job: JobResults, jobs: Sequence[JobResults]) -> JobResults | None:
    """A first-order job of the same dataset, model and draw, that of the lowest rate; None where none was run."""
    same = [other for other in jobs if not setting(other).exact and subject(other) == subject(job)]
    return min(same, key=lambda other: other.manifest.update.learning_rate or 0.0, default=None)


def readouts_of(job: JobResults) -> list[str]:
    """The readouts of the job that have a gradient."""
    return [name for name in READOUTS if name in job.influence["readout"].values]


def square(job: JobResults, readout: str) -> xr.DataArray:
    """The job's array (stimulus, probe) in one readout: first seed, last step."""
    return select_readout(job.influence, readout).transpose("stimulus", "probe").load()


def desideratum(job: JobResults) -> Symmetry:
    """Symmetry with the bar that the job was held to."""
    stored = finding(job, "symmetry")
    return Symmetry() if stored is None else Symmetry(threshold=float(stored.threshold))


def verdict_on(job: JobResults, readout: str) -> Verdict:
    """The verdict on one readout, whichever was judged when the job ran."""
    [verdict] = judge(job.influence.load(), desideratum(job), readout=readout)
    return verdict


def symmetry_rows(jobs: Sequence[JobResults]) -> pd.DataFrame:
    """A row for each exact job and readout.

    Returns:
        Columns: ``job``, its place in ``jobs``; ``optimizer``; ``readout``; ``strength``, in the unit of the job's
        first readout; of each of `PANELS` the effect and its interval, as ``value``, ``value_low``, ``value_high``,
        NaN where there is no prediction to compare with; ``outcome``, the verdict by p-values corrected over all
        rows.
    """
    verdicts, rows = [], []
    for place, job in enumerate(jobs):
        if not setting(job).exact:
            continue
        predicted = prediction_of(job, jobs)
        for readout in readouts_of(job):
            verdict = verdict_on(job, readout)
            verdicts.append(verdict)
            rows.append(
                {
                    "job": place,
                    "optimizer": str(job.manifest.update.optimizer),
                    "readout": readout,
                    "strength": job.manifest.strength.effect,
                    **symmetry(verdict),
                    **(excess(job, predicted, readout) if predicted is not None else {}),
                }
            )
    satisfied, violated = (adjust([getattr(one, name) for one in verdicts]) for name in ("p_value", "p_violated"))
    outcome = [one.outcome(float(p), float(q)) for one, p, q in zip(verdicts, satisfied, violated)]
    columns = ["job", "optimizer", "readout", "strength", *(f"{p}{end}" for p in PANELS for end in ENDS)]
    return pd.DataFrame(rows).reindex(columns=columns).assign(outcome=outcome).sort_values("strength")


def symmetry(verdict: Verdict) -> dict[str, float]:
    """Both correlations of a verdict, with their intervals."""
    [found] = verdict.findings
    value = {"value": found.effect, "value_low": found.low, "value_high": found.high}
    return value | {f"rank{end}": verdict.details[f"rank_correlation{end}"] for end in ENDS}


def excess(job: JobResults, predicted: JobResults, readout: str) -> dict[str, float]:
    """By how much the job's array is more symmetric than the prediction in the same readout."""
    if readout not in readouts_of(predicted):
        return {}
    found = desideratum(job).excess(square(job, readout), square(predicted, readout))
    return {"excess": found.effect, "excess_low": found.low, "excess_high": found.high}


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A row of panels for each dataset, model and draw."""
    table = symmetry_rows(jobs)
    subjects = table["job"].map(lambda place: subject(jobs[place]))
    rows = list(dict.fromkeys(subject(job) for job in jobs if setting(job).exact))
    figure = canvas(10.0, 0.9 + 2.5 * len(rows))
    grid = figure.subplots(len(rows), len(PANELS), squeeze=False)
    for axes, row in zip(grid, rows):
        of_row = table[[one == row for one in subjects]]
        draw_row(axes, of_row, jobs[of_row["job"].iloc[0]], jobs)
    for place, title in zip(grid[0], PANELS.values()):
        place.set_title(title)
    figure.legend(handles=[*legend(table), *hatched_handles(figure)], loc="outside lower center", ncols=5)
    return figure


def draw_row(axes: Sequence[Axes], table: pd.DataFrame, job: JobResults, jobs: Sequence[JobResults]) -> None:
    """One dataset, of which ``job`` is one."""
    table = table.assign(place=on_log_axis(table["strength"]))
    predicted = prediction_of(job, jobs)
    for place, panel in zip(axes, PANELS):
        place.axhline(0, color="0.85", linewidth=0.6, zorder=0)
        curves = {
            (optimizer, readout): curve_marks(curve, optimizer, readout, panel)
            for (optimizer, readout), curve in table.groupby(["optimizer", "readout"])
        }
        anchors = [0.0] if panel == "excess" else [0.0, desideratum(job).threshold, *heights(predicted, panel).values()]
        limits = limits_of([mark for marks in curves.values() for mark in marks], anchors)
        for (optimizer, _), marks in curves.items():
            draw_curve(place, optimizer, marks, limits)
        for one in table[[taught_nothing(jobs[number]) for number in table["job"]]].itertuples():
            hatch_around(place, one.place)
        log_scale(place, "x")
        place.set_xlabel(f"strength ({job.manifest.unit})")
        mark_good(place, "more symmetric ↑")
    for place, panel in zip(axes[:2], PANELS):
        place.axhline(desideratum(job).threshold, color=GREY, linewidth=1, zorder=0)
        draw_prediction(place, heights(predicted, panel))
    axes[0].set_ylabel(wrap_title(f"{dataset_title(job)}, {model_title(job)}"))


def on_log_axis(strengths: pd.Series) -> pd.Series:
    """The strengths; where one is not above zero, half of the smallest that is."""
    least = strengths[strengths > 0].min()
    return strengths.where(strengths > 0, least / 2 if least > 0 else 1.0)


def heights(predicted: JobResults | None, panel: str) -> dict[str, float]:
    """The prediction's own symmetry in each readout; none where there is no prediction."""
    if predicted is None:
        return {}
    return {readout: symmetry(verdict_on(predicted, readout))[panel] for readout in readouts_of(predicted)}


def draw_prediction(axes: Axes, symmetric: Mapping[str, float]) -> None:
    """A dashed line for each readout, with that readout's mark at its end."""
    for readout, height in symmetric.items():
        axes.axhline(height, color="black", linewidth=0.8, linestyle="--", zorder=0)
        axes.plot(1, height, READOUTS[readout], color="black", transform=axes.get_yaxis_transform(), clip_on=False)


def curve_marks(curve: pd.DataFrame, optimizer: str, readout: str, panel: str) -> list[Mark]:
    """One optimizer and readout over strength."""
    color = OPTIMIZERS.get(optimizer, OTHER_OPTIMIZER)["color"]
    places = curve["place"] * (1 + SET_APART * (list(READOUTS).index(readout) - 1))
    columns = (curve[f"{panel}{end}"] for end in ENDS)
    marks = []
    for effect, low, high, place, outcome in zip(*columns, places, curve["outcome"]):
        filling = color if outcome == SATISFIED else FILLINGS[outcome]
        look = {"color": color, "marker": READOUTS[readout], "markerfacecolor": filling}
        marks.append(Mark(effect, low, high, place, {**look, "label": f"{optimizer} {readout}"}))
    return marks


def draw_curve(axes: Axes, optimizer: str, marks: Sequence[Mark], limits: tuple[float, float]) -> None:
    """The marks of one optimizer and readout, and the line through them."""
    look = OPTIMIZERS.get(optimizer, OTHER_OPTIMIZER)
    axes.plot([mark.place for mark in marks], [mark.effect for mark in marks], linewidth=0.8, zorder=1, **look)
    draw_marks(axes, marks, limits, "y")


def legend(table: pd.DataFrame) -> list[Line2D]:
    """A line for each optimizer, a mark for each readout and each verdict."""
    looks: dict[str, dict[str, Any]] = {
        name: OPTIMIZERS.get(name, OTHER_OPTIMIZER) for name in order_names(list(table["optimizer"]), list(OPTIMIZERS))
    }
    mark = {"color": GREY, "linestyle": ""}
    looks |= {
        fit_words(name): {**mark, "marker": READOUTS[name]}
        for name in order_names(list(table["readout"]), list(READOUTS))
    }
    looks |= {"first-order prediction": {"color": "black", "linewidth": 0.8, "linestyle": "--"}, "bar": {"color": GREY}}
    looks |= {outcome: {**mark, "marker": "o", "markerfacecolor": filling} for outcome, filling in FILLINGS.items()}
    return [Line2D([], [], label=label, **look) for label, look in looks.items()]
