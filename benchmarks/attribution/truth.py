"""What the field holds scores to, and what this project does: fine-tuning on sets of the stimuli, and desiderata."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from benchmarks.attribution.subject import Subject
from benchmarks.case import Case
from benchmarks.loops import plain_loop
from eif_lab import annotate, draw_sets, judge, measure_influence
from eif_lab.attribution import Measure, datamodeling_score, leave_one_out_correlation
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.learners import imitate

LOOPED = 8
"""Sets that are fine-tuned on by a plain loop, too."""

LEARNERS = ("perfect", "bag_of_words")
"""Reference learners, whose right verdicts are known."""

EXACT = "exact, each alone"

Predicted = Mapping[str, tuple[Float[np.ndarray, "stimuli probes"], float]]
"""Scores and the seconds that they took, by the name of the prediction."""


def measures(
    subject: Subject, predicted: Predicted, steps: int, sets: int, notes: list[str]
) -> Iterator[dict[str, Any]]:
    """Leave-one-out correlation and LDS of each prediction, and of the exact influence of each stimulus alone.

    Args:
        subject: What is fine-tuned, at the calibrated rate, on all of its stimuli but one and on half of them.
        predicted: Of single stimuli.
        steps: Of a fine-tuning.
        sets: How many halves are drawn.
        notes: A list to which predictions that cannot be ranked are appended.
    """
    case = subject.case.with_steps(steps)
    left_out = measure_influence(
        case.model, case.loss, case.stimuli, case.probes, method=case.method, update=case.update, perturbation="exclude"
    ).values
    members, started = draw_sets(len(left_out), count=sets), time.perf_counter()
    measured = measure_influence(
        case.model, case.loss, case.stimuli, case.probes, method=case.method, update=case.update, sets=members
    ).values
    told = {"subject": subject.name, "steps": steps, "learning_rate": case.update.learning_rate, "sets": sets}
    told |= {"seconds_of_sets": time.perf_counter() - started, **by_loop(case, members, measured)}
    for name, (scores, seconds) in {**predicted, EXACT: (case.with_steps(1).influence(), 0.0)}.items():
        try:
            found = (
                leave_one_out_correlation(scores, left_out, probe_units=subject.probe_units),
                datamodeling_score(scores, measured, members, probe_units=subject.probe_units),
            )
        except ConfigError as error:  # what diverged
            notes.append(f"{subject.name}, {name}: not held to sets, {error}")
            continue
        for one in found:
            yield told | {"prediction": name, "seconds": seconds} | row(one)


def by_loop(
    case: Case, members: Bool[np.ndarray, "sets stimuli"], measured: Float[np.ndarray, "sets probes"]
) -> dict[str, float]:
    """What a plain loop takes for all sets, from what it takes for a few; and how far these are off, of the largest."""
    few, started = members[:LOOPED], time.perf_counter()
    looped = plain_loop(case, map(np.flatnonzero, few))
    seconds = (time.perf_counter() - started) * len(members) / len(few)
    off = np.abs(looped - measured[: len(few)]).max() / np.abs(looped).max()
    return {"seconds_of_loop": seconds, "off_loop": float(off)}


def row(found: Measure) -> dict[str, Any]:
    """A measure as columns: its value, and the ends of each interval."""
    ends = {f"{end}_{drawn}": at for drawn, both in found.intervals.items() for end, at in zip(("low", "high"), both)}
    return {"measure": found.name, "value": found.value, **ends}


def verdicts(subject: Subject, predicted: Predicted) -> Iterator[dict[str, Any]]:
    """What each prediction, the exact array and the reference learners are judged as, on the subject's task."""
    if subject.task is None:
        return
    exact = annotate(subject.case.influence(), subject.task)
    arrays = {EXACT: exact, **{name: annotate(scores, subject.task) for name, (scores, _) in predicted.items()}}
    for rule in LEARNERS:
        try:
            arrays[f"learner: {rule.replace('_', ' ')}"] = imitate(exact, rule)
        except NotApplicable:  # words, of images
            continue
    for name, array in arrays.items():
        for verdict in judge(array):
            told = {"desideratum": verdict.desideratum, "verdict": verdict.outcome()}
            yield {"subject": subject.name, "prediction": name, **told}


def truth_page(table: pd.DataFrame, judged: pd.DataFrame) -> str:
    """Both as markdown: the field's measures, and the verdicts.

    Args:
        table: Rows of `measures`.
        judged: Rows of `verdicts`.
    """
    lines = ["", "## Held to fine-tuning on sets", ""]
    lines += ["Mean over probes of Spearman's correlation; 95 % intervals over samples (leave one out) or sets (LDS)."]
    for subject, rows in table.groupby("subject", sort=False):
        first = rows.iloc[0]
        lines += [
            "",
            f"{subject}: {first.steps} steps at {first.learning_rate:.3g} on all but one, and on {first.sets} ",
        ]
        lines[-1] += f"random halves ({first.seconds_of_sets:.1f} s; "
        lines[-1] += f"by a plain loop {first.seconds_of_loop:.1f} s, of {LOOPED} extrapolated)."
        lines += ["", "| scores | leave one out | LDS | seconds |", "|" + " --- |" * 4]
        for name, both in rows.groupby("prediction", sort=False):
            cells = [
                cell(both, "leave_one_out", "samples"),
                cell(both, "lds", "sets"),
                f"{both['seconds'].iloc[0]:.1f}",
            ]
            lines.append(f"| {' | '.join([str(name), *cells])} |")
    lines += ["", "## Does an approximation keep the verdict?", ""]
    for subject, rows in judged.groupby("subject", sort=False):
        wide = rows.pivot(index="prediction", columns="desideratum", values="verdict").loc[rows["prediction"].unique()]
        head = ["scores", *map(str, wide.columns)]
        lines += [f"{subject}:", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        lines += [
            f"| {' | '.join([str(name), *cells])} |" for name, cells in zip(wide.index, wide.fillna("").to_numpy())
        ]
        lines += [""]
    return "\n".join(lines)


def cell(rows: pd.DataFrame, measure: str, drawn: str) -> str:
    """A measure with one of its intervals."""
    one = rows[rows["measure"] == measure].iloc[0]
    return f"{one.value:.2f} [{one[f'low_{drawn}']:.2f}, {one[f'high_{drawn}']:.2f}]"
