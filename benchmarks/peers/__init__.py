"""The exact one-step array against what other libraries offer for the same samples.

They compute something else: TracIn the first-order change, EK-FAC the effect of leaving a sample out of a training that
has converged. The rank correlation with the exact array says how far that is from what an update does.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import spearmanr

from benchmarks.case import Case, trained_cnn_case
from benchmarks.floor import parts
from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import interleaved, medians, ratio

PEERS = {
    "captum TracInCP, sample-wise": ("captum_tracin", ">= 1"),
    "dattri TracIn, projection off": ("dattri_tracin", ""),
    "kronfluence EK-FAC, factors and scores": ("kronfluence_ekfac", ">= 20"),
}
"""Name to module of this room and goal for its time over ours; each module has ``scores(case)``."""


def peers(samples: int, sizes: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """Each peer's time over that of the exact array, and its rank correlation with it after 1 and 10 steps.

    Args:
        samples: Stimuli, which are the probes as well.
        sizes: Image sizes, one small CNN each: 28 or 8.
        rounds: How often each is timed.
    """
    for size in sizes:
        case = trained_cnn_case(samples, size)
        exact = {steps: case.with_steps(steps).influence() for steps in (1, 10)}
        for peer, (module, goal) in PEERS.items():
            what = f"{case.sizes}, {size} x {size} images, {peer}"
            scores = functools.partial(peer_scores, module, case)
            yield from attempt(what, timed(what, case, scores, goal, rounds), goal)
            yield from attempt(what, correlations(what, scores, exact))


def peer_scores(module: str, case: Case) -> np.ndarray:
    """What the peer in that module of this room computes."""
    return importlib.import_module(f"benchmarks.peers.{module}").scores(case)


def timed(what: str, case: Case, scores: Callable[[], np.ndarray], goal: str, rounds: int) -> Iterator[Row]:
    """The peer's time over that of the exact array, beside what any exact array needs."""
    times = interleaved({"auto": case.influence, "peer": scores, **parts(case)[1]}, rounds)
    yield ratio_row(f"{what}: time / auto's", ratio(times["peer"], times["auto"]), goal, medians(times), case.data)


def correlations(what: str, scores: Callable[[], np.ndarray], exact: dict[int, np.ndarray]) -> Iterator[Row]:
    """The rank correlation of all cells with the exact arrays, by steps."""
    found = scores()
    for steps, array in exact.items():
        correlation = float(spearmanr(found, array, axis=None).statistic)
        yield Row(f"{what}: Spearman with the exact array, steps={steps}", correlation, "")
