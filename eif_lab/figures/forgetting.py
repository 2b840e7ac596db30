"""figure-forgetting: what a fact takes away from what was known beforehand, by method, for as much taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eif_lab.data.worlds.views import BACKGROUND
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.relation_test import RelationEffects
from eif_lab.desiderata.selection import clean, select_readout, texts, unread, with_probe_numbers, with_zeros
from eif_lab.desiderata.statistics import divide
from eif_lab.desiderata.verdict import Finding
from eif_lab.errors import rule_error
from eif_lab.figures.panel import BEYOND, HATCHED, hatched_handles, limits_of, mark_good
from eif_lab.figures.places import IN_ORDER, most_in_a_row, places_of
from eif_lab.figures.relations import Share, draw_panel, legend, mark_of
from eif_lab.figures.runs import (
    DOMAINS,
    leave_out_context,
    model_title,
    must_be_one_model,
    select_jobs,
    setting,
    taught_nothing,
)
from eif_lab.figures.style import METHODS, canvas, fit_words, order_names
from eif_lab.results.job import JobResults
from eif_lab.results.seeds import but_for_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWS = (
    "What a fact makes a model forget: the questions of the background of its own world and of others, which were "
    "known beforehand, after a fine-tuning on the fact alone. Left: the log-odds of the true answer against the other "
    "ones, after less before, over the strength, that is, for each nat that was taught. Middle: the same less that of "
    "all weights of the same run (data, background and seeds) on the same stimuli, where there are several with the "
    "same update but for its learning rate, and no mark where that leaves more or less than one; above 0 a method "
    "forgets less than full fine-tuning does. Right: the change in how many answers are right, in percentage points. A "
    "row for each knowledge domain, a colour and a shape for each method. Jobs with the background in the context are "
    f"left out where there are others. {IN_ORDER} Intervals are at 95 % (Fieller's and the jackknife, over worlds). "
    f"Filled: the interval is on one side of 0, which is no change (dotted); white: it is not. {HATCHED} {BEYOND}"
)
PANELS = {
    "forgotten": "known answers: change of log-odds\nper nat taught",
    "less": "the same, less that of full",
    "lost": "right answers (percentage points)",
}
READOUTS = ("log_odds", "correct")


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs of one model that ask for the background, in the weights where there are such, after each stimulus.

    Raises:
        ConfigError: None does, they are of several models, or one lacks a readout.
    """
    those = select_jobs(
        jobs,
        "a job with dataset.view=retention",
        lambda s: s.view == "retention" and s.exact and s.perturbation == "include",
    )
    must_be_one_model(those)
    those = leave_out_context(those)
    for job in those:
        names = [str(name) for name in job.influence["readout"].values]
        if not set(READOUTS) <= set(names):
            raise rule_error("results path", f"hold jobs with the readouts {', '.join(READOUTS)}", names)
    return those


def change(job: JobResults, readout: str) -> Float[np.ndarray, " stimulus"]:
    """By stimulus, the mean influence on the questions of the background that it was read on; NaN if it diverged."""
    array = clean(with_probe_numbers(select_readout(job.influence, readout).transpose("stimulus", "probe").load()))
    asked = (texts(array, "probe_form") == BACKGROUND) & ~unread(array)
    return divide((with_zeros(array) * asked).sum(axis=1), asked.sum(axis=1))


def effects_of(job: JobResults) -> RelationEffects:
    """What the job's stimuli were taught, in the readout that was judged; row for row as in `change`."""
    readout = str(job.influence["readout"].values[0])
    array = select_readout(job.influence, readout).transpose("stimulus", "probe").load()
    return RelationEffects.measure(clean(with_probe_numbers(array)))


def findings_of(job: JobResults, full: JobResults | None) -> dict[str, Finding]:
    """By the names of `PANELS`, what is drawn of a job.

    Args:
        job: Whose.
        full: See `full_of`.
    """
    test, effects = Logic(), effects_of(job)
    values, strength = effects.world_means(change(job, "log_odds"), effects.strength)
    [right] = effects.world_means(change(job, "correct"))
    found = {
        "forgotten": test.ratio("forgotten", values, strength, unit=effects.unit, threshold=0.0),
        "lost": test.mean("lost", 100 * right, effects.unit),
    }
    return found if full is None else {**found, "less": less_than(job, full)}


def less_than(job: JobResults, other: JobResults) -> Finding:
    """By how much a job forgets less than another one on the same stimuli, for each nat taught; worlds are paired."""
    effects, others = effects_of(job), effects_of(other)
    rows = change(job, "log_odds"), effects.strength, change(other, "log_odds"), others.strength
    a, b, c, d = effects.world_means(*rows)
    return Logic().finding(
        "less",
        lambda counts: divide(counts @ a, counts @ b) - divide(counts @ c, counts @ d),
        units=len(a),
        unit=effects.unit,
        threshold=0.0,
    )


def full_of(job: JobResults, jobs: Sequence[JobResults]) -> JobResults | None:
    """The job of all weights that another one is compared with: of the same run, on the same stimuli.

    Where there are several, it is the one with the other's update but for the learning rate.

    Returns:
        None where the job is itself one of all weights, where there is no such job or it taught nothing, and where
        several are left.
    """
    if setting(job).method == "full":
        return None
    ids, run = job.influence["stimulus_id"].values, replace(setting(job), method="full", engine="")
    those = [
        other
        for other in jobs
        if replace(setting(other), engine="") == run
        and other.manifest.config.get("dataset") == job.manifest.config.get("dataset")
        and np.array_equal(other.influence["stimulus_id"].values, ids)
    ]
    if len(those) > 1:
        those = [other for other in those if recipe_of(other) == recipe_of(job)]
    return those[0] if len(those) == 1 and not taught_nothing(those[0]) else None


def recipe_of(job: JobResults) -> dict[str, Any]:
    """The options of its update, without its learning rate and seed."""
    update = but_for_seeds(job.manifest.config).get("update") or {}
    return {name: one for name, one in update.items() if name != "learning_rate"}


def draw(jobs: Sequence[JobResults]) -> Figure:
    """Three panels; the middle one only where there is a job of all weights to compare with."""
    names = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    places = places_of(jobs, names, methods)
    found = [(job, findings_of(job, full_of(job, jobs)), place) for job, place in zip(jobs, places)]
    shown = [panel for panel in PANELS if any(panel in each for _, each, _ in found)]
    figure = canvas(0.8 + 3.2 * len(shown), 1.4 + 0.22 * len(names) * max(most_in_a_row(places), 3))
    [panels] = figure.subplots(1, len(shown), sharey=True, squeeze=False)
    for axes, panel in zip(panels, shown):
        shares = [(job, Share(each[panel], not taught_nothing(job)), at) for job, each, at in found if panel in each]
        limits = limits_of([mark_of(job, share, 0) for job, share, _ in shares if share.taught])
        draw_panel(axes, shares, len(names), limits)
        axes.set_title(PANELS[panel])
        mark_good(axes)
    panels[0].set_yticks(range(len(names)), [fit_words(name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    handles = [*legend(methods), *hatched_handles(figure)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
