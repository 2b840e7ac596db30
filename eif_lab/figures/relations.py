"""figure-relations: what arrives of a fact at what follows, at its converse and at its denial, by method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import xarray as xr
from matplotlib.lines import Line2D

from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.relation_test import GuardedFinding, RelationEffects
from eif_lab.desiderata.selection import clean, prepare
from eif_lab.desiderata.verdict import Finding
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.figures.panel import (
    BEYOND,
    HATCHED,
    Mark,
    draw_marks,
    hatch_row,
    hatched_handles,
    is_untaught,
    limits_of,
    mark_good,
)
from eif_lab.figures.places import IN_ORDER, Place, most_in_a_row, places_of
from eif_lab.figures.runs import (
    DOMAINS,
    judged_array,
    leave_out_context,
    model_title,
    must_be_one_model,
    select_jobs,
    setting,
    taught_nothing,
)
from eif_lab.figures.style import BLACK, GREY, METHODS, canvas, fit_words, method_handles, method_look, order_names
from eif_lab.learners import imitate
from eif_lab.results.bounds import NOISE
from eif_lab.results.job import JobResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "What arrives of a fact, in shares of what was taught of it: influence less its controls, over the strength. A "
    "panel each for what follows from it, for its converse, which neither follows nor is denied, and for what it "
    "denies; a row for each knowledge domain, a colour and a shape for each method. Jobs with the background in the "
    f"context are left out where there are others. {IN_ORDER} Intervals are at 95 % (Fieller's, over worlds). Filled: "
    f"the interval is on one side of 0, which is what chance gives (dotted); white: it is not. {HATCHED} Also "
    "hatched: a relation for which the strength of its own stimuli is not above 0 at 95 %. Black: reference learners "
    "on the same probes: a perfect one does what the relations say, a symmetric one learns the converse with the fact, "
    f"and one blind to negation takes a denial for its opposite. {BEYOND}"
)
MARKS = {"perfect": "2", "symmetric": "x", "negation_blind": "+"}
"""Of the reference learners."""


class Panel(NamedTuple):
    """What is drawn about one relation.

    Attributes:
        title: Of the panel.
        good: What is good in it.
        learners: The reference learners between which a method lies.
    """

    title: str
    good: str
    learners: tuple[str, ...]


PANELS = {
    "entailed": Panel("what follows", "better →", ("perfect",)),
    "converse": Panel("its converse", "good: at 0", ("perfect", "symmetric")),
    "contradicted": Panel("what it denies", "← better", ("perfect", "negation_blind")),
}


class Share(NamedTuple):
    """What arrives at one relation.

    Attributes:
        finding: Of the share, held to 0.
        taught: Whether there was clearly something to take a share of.
    """

    finding: Finding
    taught: bool


def select(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs of one model on clozes of a domain, with the background in the weights where there are such."""
    fitting = select_jobs(
        jobs,
        "a job on clozes of a knowledge domain",
        lambda s: bool(s.view) and s.view != "statements" and s.exact and s.perturbation == "include",
    )
    must_be_one_model(fitting)
    return leave_out_context(fitting)


def shares_of(array: xr.DataArray) -> dict[str, Share]:
    """By relation, the influence on its probes less their controls, over the strength of the same stimuli.

    A relation of which fewer than two worlds have such probes with foils is left out.

    Args:
        array: (stimulus, probe), as it was judged.
    """
    effects, test, found = RelationEffects.measure(clean(prepare(array))), Logic(), {}
    for relation in PANELS:
        values, strength = effects.world_means(effects[relation], effects.strength)
        if len(strength) > 1:
            ratio = test.ratio(relation, values, strength, unit=effects.unit, threshold=0.0)
            [finding], note = test.withhold_untaught([GuardedFinding(ratio, strength)], effects.unit)
            found[relation] = Share(finding, not is_untaught(finding.p_value, note))
    return found


def shares_of_job(job: JobResults) -> dict[str, Share]:
    """`shares_of` its array, none of them taught where the job as a whole clearly taught nothing."""
    taught = not taught_nothing(job)
    return {
        relation: share._replace(taught=share.taught and taught)
        for relation, share in shares_of(judged_array(job)).items()
    }


def shares_of_learners(job: JobResults) -> dict[str, dict[str, Share]]:
    """`shares_of` the reference learners that the job's samples are for."""
    found = {}
    for rule in MARKS:
        try:
            found[rule] = shares_of(imitate(judged_array(job), rule, NOISE))
        except NotApplicable:
            continue
    return found


def draw(jobs: Sequence[JobResults]) -> Figure:
    """A panel for each relation that any of the jobs has.

    Raises:
        ConfigError: None has any.
    """
    names = order_names([setting(job).dataset for job in jobs], DOMAINS)
    methods = order_names([setting(job).method for job in jobs], list(METHODS))
    places = places_of(jobs, names, methods)
    found = [(job, shares_of_job(job), place) for job, place in zip(jobs, places)]
    shown = [relation for relation in PANELS if any(relation in shares for _, shares, _ in found)]
    if not shown:
        rule = "hold a job of at least two worlds in which what follows, the converse or what is denied has foils"
        raise rule_error("results path", rule, [job.manifest.name for job in jobs], "Try dataset.worlds=10.")
    first = {setting(job).dataset: job for job in reversed(jobs)}
    learners = [
        (relation, rule, names.index(name), shares[relation].finding.effect)
        for name, job in first.items()
        for rule, shares in shares_of_learners(job).items()
        for relation in shares
        if rule in PANELS[relation].learners
    ]
    marks = [mark_of(job, one, 0) for job, shares, _ in found for one in shares.values() if one.taught]
    limits = limits_of(marks, [0.0, *(effect for *_, effect in learners)])
    figure = canvas(0.8 + 3.2 * len(shown), 1.3 + 0.22 * len(names) * max(most_in_a_row(places), 3))
    [panels] = figure.subplots(1, len(shown), sharey=True, squeeze=False)
    for axes, relation in zip(panels, shown):
        of_relation = [(job, shares[relation], place) for job, shares, place in found if relation in shares]
        draw_panel(axes, of_relation, len(names), limits)
        for _, rule, place, effect in (one for one in learners if one[0] == relation):
            axes.plot(effect, place, MARKS[rule], color=BLACK, label=rule, zorder=1, markersize=6)
        axes.set_title(PANELS[relation].title)
        axes.set_xlabel("share of what was taught")
        mark_good(axes, PANELS[relation].good)
    panels[0].set_yticks(range(len(names)), [fit_words(name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    figure.suptitle(model_title(jobs[0]), fontsize=8)
    rules = [rule for rule in MARKS if any(rule == one[1] for one in learners)]
    handles = [*legend(methods, rules), *hatched_handles(figure)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def draw_panel(
    axes: Axes,
    found: Sequence[tuple[JobResults, Share, Place]],
    datasets: int,
    limits: tuple[float, float],
) -> None:
    """One relation: a mark with its interval for each job, hatching instead of what was not clearly taught."""
    axes.axvline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    draw_marks(axes, [mark_of(job, share, place.middle) for job, share, place in found if share.taught], limits)
    for job, share, place in found:
        if not share.taught:
            hatch_row(axes, *place, fit_words(setting(job).method), limits[0])
    for border in range(1, datasets):
        axes.axhline(border - 0.5, color="0.9", linewidth=0.5, zorder=0)
    axes.tick_params(axis="y", length=0)


def mark_of(job: JobResults, share: Share, place: float) -> Mark:
    """A share's mark: filled where its interval is on one side of 0."""
    method, one = setting(job).method, share.finding
    look = method_look(method)
    filling = look["color"] if one.low > 0 or one.high < 0 else "white"
    return Mark(one.effect, one.low, one.high, place, look | {"markerfacecolor": filling, "label": method})


def legend(methods: Sequence[str], rules: Sequence[str] = ()) -> list[Line2D]:
    """A mark for each method and each reference learner."""
    return method_handles(methods) + [
        Line2D([], [], color=BLACK, marker=MARKS[rule], linestyle="", label=f"learner: {fit_words(rule)}")
        for rule in rules
    ]
