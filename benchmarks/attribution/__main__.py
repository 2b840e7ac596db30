"""Attribution methods held to exact influence: ``python -m benchmarks.attribution``; ``--quick`` for a try."""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.attribution.figure import SHOWS, draw
from benchmarks.attribution.judgement import RESAMPLES, judge
from benchmarks.attribution.subject import Subject, cnn, phi3_tiny
from benchmarks.attribution.table import page
from benchmarks.attribution.truth import Predicted, measures, truth_page, verdicts
from benchmarks.case import CACHE, Case
from benchmarks.machine import machine
from benchmarks.peers import peer_scores
from benchmarks.report import reason
from eif_lab.figures.style import paper_style, save
from eif_lab.influence.resources.precision import LostToRounding

READOUTS = ("log_prob", "log_odds")


@dataclass(frozen=True)
class Prediction:
    """What an attribution method makes of a case.

    Attributes:
        scores: A case to (stimuli, probes), positive where the probe's target is to become likelier; up to a positive
            factor the same at every learning rate and number of steps.
        readouts: What it is held to; the last is what it is defined to predict.
    """

    scores: Callable[[Case], np.ndarray]
    readouts: tuple[str, ...] = READOUTS[:1]


PREDICTIONS = {
    "first order": Prediction(lambda case: case.influence("first_order")),
    "TracIn": Prediction(functools.partial(peer_scores, "captum_tracin")),
    "EK-FAC": Prediction(functools.partial(peer_scores, "kronfluence_ekfac")),
    "TRAK": Prediction(functools.partial(peer_scores, "traker_trak"), READOUTS),
}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        samples: Images, which are stimuli and probes.
        training: Training images that curvature is estimated on.
        worlds: Of the language model, with three stimuli each.
        factors: Learning rates, as multiples of the one at which one step teaches as much as is asked for.
        steps: Numbers of steps.
        resamples: Of the intervals.
        sets: Halves of the stimuli that are fine-tuned on.
    """

    samples: int
    training: int
    worlds: int
    factors: tuple[float, ...]
    steps: tuple[int, ...]
    resamples: int
    sets: int


FULL = Size(100, 2000, 20, (0.1, 10**-0.5, 1, 10**0.5, 10), (1, 3, 10), RESAMPLES, 100)
QUICK = Size(20, 100, 5, (0.1, 1, 10), (1, 10), 99, 20)


def main() -> None:
    """Measure, predict, compare; write after each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attribution", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything small, to try it")
    parser.add_argument("--output", type=Path, default=Path("outputs/attribution"), help="where table and figure go")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where trained models are found again")
    args = parser.parse_args()
    size = QUICK if args.quick else FULL
    warnings.filterwarnings("ignore")
    started, rows, notes = time.perf_counter(), list[dict[str, Any]](), list[str]()
    held, judged = list[dict[str, Any]](), list[dict[str, Any]]()
    for make in (lambda: cnn(size.samples, size.training, args.cache), lambda: phi3_tiny(size.worlds, args.cache)):
        subject = make()
        predicted = dict(predict(subject, notes))
        rows += compare(subject, size, predicted, notes)
        held += measures(subject, predicted, size.steps[-1], size.sets, notes)
        judged += verdicts(subject, predicted)
        minutes = round((time.perf_counter() - started) / 60, 1)
        description = machine() | {
            "command": f"python -m benchmarks.attribution{' --quick' * args.quick}",
            "minutes": minutes,
        }
        write(pd.DataFrame(rows), description, notes, args.output)
        write_truth(pd.DataFrame(held), pd.DataFrame(judged), args.output)
    print(f"written to {args.output}", flush=True)


def compare(subject: Subject, size: Size, predicted: Predicted, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the table, one for each statistic of each prediction at each rate and number of steps.

    Args:
        subject: What is measured and predicted.
        size: How much.
        predicted: What `predict` gave.
        notes: A list to which settings that were not, or only partly, measured are appended.
    """
    calibrated = subject.case.update.learning_rate
    assert calibrated is not None
    for factor, steps in ((factor, steps) for steps in size.steps for factor in size.factors):
        update = replace(subject.case.update, learning_rate=factor * calibrated, steps=steps)
        try:
            exact = replace(subject.case, update=update).influence(readout=READOUTS)
        except LostToRounding as error:
            notes.append(f"{subject.name}, {steps} steps at {update.learning_rate:.3g}: not measured, {error}")
            continue
        diverged = int((~np.isfinite(exact)).any(axis=(1, 2)).sum())
        if diverged:
            note = f"{diverged} of {len(exact)} stimuli diverged and are left out"
            notes.append(f"{subject.name}, {steps} steps at {update.learning_rate:.3g}: {note}")
        setting = {
            "subject": subject.name,
            "steps": steps,
            "learning_rate": update.learning_rate,
            "calibrated_rate": calibrated,
            "direct_influence": float(exact[subject.direct, 0].mean()),
            "diverged": diverged,
            "stimuli": exact.shape[0],
            "probes": exact.shape[1],
            "resampled": subject.resampled,
            "units": int(subject.units.max()) + 1,
        }
        print(f"  {steps} steps at {update.learning_rate:.3g}", flush=True)
        for name, (scores, seconds) in predicted.items():
            for readout in PREDICTIONS[name].readouts:
                held = {"prediction": name, "readout": readout, "seconds": seconds}
                for one in judge(scores, exact[..., READOUTS.index(readout)], subject.units, size.resamples):
                    yield setting | held | asdict(one)


def predict(subject: Subject, notes: list[str]) -> Iterator[tuple[str, tuple[np.ndarray, float]]]:
    """Each prediction by name, with the seconds it took; of one that fails the reason is noted."""
    print(f"{subject.name}: {subject.case.sizes}", flush=True)
    for name, prediction in PREDICTIONS.items():
        started = time.perf_counter()
        try:
            scores = prediction.scores(subject.case)
        except Exception as error:  # a table with a gap that is explained is better than none
            notes.append(f"{subject.name}: no {name}, {reason(error)}")
            continue
        seconds = time.perf_counter() - started
        print(f"  {name}: {seconds:.1f} s", flush=True)
        yield name, (scores, seconds)


def write(table: pd.DataFrame, described: dict[str, Any], notes: Sequence[str], folder: Path) -> None:
    """The table as parquet and as markdown, and the figure with its caption."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "table.parquet")
    (folder / "table.md").write_text(page(table, described, notes), encoding="utf-8")
    with paper_style():
        save(draw(table), SHOWS, folder, "figure")


def write_truth(table: pd.DataFrame, judged: pd.DataFrame, folder: Path) -> None:
    """The field's measures and the verdicts as parquet, and below the table."""
    table.to_parquet(folder / "truth.parquet")
    judged.to_parquet(folder / "verdicts.parquet")
    with (folder / "table.md").open("a", encoding="utf-8") as page:
        page.write(truth_page(table, judged))


if __name__ == "__main__":
    main()
