"""The figure: how well each prediction ranks what was measured, over learning rate and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.attribution.judgement import CONFIDENCE, STATISTICS, TOP
from benchmarks.attribution.table import title
from eif_lab.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, canvas, log_scale, order_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = ("spearman", "overlap")

LOOKS: dict[str, dict[str, Any]] = {
    "first order": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "TracIn": {"color": ORANGE, "marker": "x", "linestyle": "--"},
    "EK-FAC": {"color": GREEN, "marker": "s", "linestyle": "-"},
    "TRAK": {"color": VERMILION, "marker": "D", "linestyle": "-"},
    "TRAK, log-odds": {"color": PURPLE, "marker": "v", "linestyle": "--"},
}
"""In the order in which they are shown."""

SHOWS = f"""# attribution

How well attribution methods rank what fine-tuning on one stimulus does to each probe. Of each model and its data two
rows: Spearman's correlation of the prediction with the influence as measured, over all pairs of a stimulus and a probe;
and the share of the {TOP} probes that a stimulus raises most which are among the {TOP} that the prediction ranks
highest, on average over stimuli (dotted: what guessing gives). Columns are numbers of SGD steps on the stimulus. The
vertical line is the learning rate to which one step is calibrated. Bands are {CONFIDENCE:.0%} intervals from resampling
stimuli, of the language model whole worlds. All are held to the log-probability of the probe's target; TRAK, which is
defined to predict log-odds, to those as well. First order and TracIn (one checkpoint) are one quantity computed by two
programs, and lie on each other. What each method is defined to predict: docs/attribution.md; all numbers: table.md.
"""


def draw(table: pd.DataFrame) -> Figure:
    """Two rows of panels for each model, a column for each number of steps.

    Args:
        table: A row for each statistic of each prediction in each setting.
    """
    subjects, steps = list(table["subject"].unique()), sorted(table["steps"].unique())
    figure = canvas(3.0 * len(steps) + 0.6, 1.9 * len(SHOWN) * len(subjects) + 0.5)
    parts = figure.subfigures(len(subjects), 1, squeeze=False)[:, 0]
    for subject, part in zip(subjects, parts):
        part.suptitle(subject, fontsize=8)
        panels = part.subplots(len(SHOWN), len(steps), sharex=True, sharey="row", squeeze=False)
        for statistic, row in zip(SHOWN, panels):
            for count, axes in zip(steps, row):
                chosen = (table["subject"] == subject) & (table["statistic"] == statistic) & (table["steps"] == count)
                draw_panel(axes, table[chosen], statistic)
            row[0].set_ylabel(STATISTICS[statistic])
        for count, axes in zip(steps, panels[0]):
            axes.set_title(f"{count} step{'s' if count > 1 else ''}")
        for axes in panels[-1]:
            axes.set_xlabel("learning rate")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def draw_panel(axes: Axes, rows: pd.DataFrame, statistic: str) -> None:
    """One statistic over the learning rate, a curve with its band for each prediction."""
    named = rows.assign(name=list(map(title, rows["prediction"], rows["readout"])))
    for name in order_names(list(named["name"]), list(LOOKS)):
        curve = named[named["name"] == name].sort_values("learning_rate")
        look = LOOKS[name]
        axes.plot(curve["learning_rate"], curve["effect"], label=name, markersize=3.5, **look)
        axes.fill_between(curve["learning_rate"], curve["low"], curve["high"], color=look["color"], alpha=0.15, lw=0)
    log_scale(axes, "x")
    axes.axhline(by_chance(rows, statistic), color=GREY, linewidth=0.8, linestyle=":")
    axes.axvline(rows["calibrated_rate"].iloc[0], color=GREY, linewidth=0.6)


def by_chance(rows: pd.DataFrame, statistic: str) -> float:
    """What guessing gives on average."""
    return min(1.0, TOP / rows["probes"].iloc[0]) if statistic == "overlap" else 0.0
