"""Symmetry, distance decay, sparsity and noise: their level at the bar, and what a perfect learner is told."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.size_of_four import CASES, EFFECTS, Effects, lines, overview, size_of
from eif_lab import annotate, load_task
from eif_lab.data.worlds.domains import DOMAINS
from eif_lab.desiderata.distance_decay import DistanceDecay
from eif_lab.desiderata.sparsity import Sparsity
from eif_lab.desiderata.statistics import jackknife, pair_jackknife
from eif_lab.desiderata.verdict import SATISFIED, VIOLATED

DRAWS = 100


@pytest.mark.parametrize("case", CASES)
def test_neither_verdict_is_given_more_often_than_its_level_where_the_bar_is_at_the_truth(case):
    desideratum, make, signals = CASES[case]
    every = Effects.named("all of these")
    drawn = (make(10, signals[-1], every, np.random.default_rng(draw)) for draw in range(DRAWS))
    # A test of level 5 % errs more often than this in one of 10,000 runs.
    most = stats.binom.ppf(0.9999, DRAWS, 0.05) / DRAWS
    for one in size_of(desideratum, drawn):
        assert max(one.satisfied, one.violated, 1 - one.covered) <= most, one


def test_table_has_a_line_for_each_effect_and_signal():
    found = list(lines(["distance decay, worlds"], draws=2, units=[6]))
    assert len(found) == 2 * len(EFFECTS)
    assert all(str(line).startswith("| distance decay, worlds | `rank_correlation_path` | 6 | ") for line in found)
    short = list(overview(found))[2:]
    worst = max(100 * line.size.violated for line in found)
    assert len(short) == 1 and f" | {worst:.1f} | " in short[0]


def mean_of_pairs(values, counts):
    off_diagonal = values * (1 - np.eye(len(values)))
    return np.array([c @ off_diagonal @ c / (c.sum() ** 2 - c @ c) for c in counts])


def test_pair_jackknife_takes_off_what_the_jackknife_counts_twice():
    """The variance of a mean over pairs of 12 units, of which each pair, or each unit, is drawn on its own."""
    random = np.random.default_rng(0)
    for units_vary in (False, True):
        found, plain, paired = [], [], []
        for _ in range(300):
            pairs = random.normal(size=(12, 12))
            one = random.normal(size=12)
            statistic = partial(mean_of_pairs, one[:, None] + one[None, :] if units_vary else pairs + pairs.T)
            found.append(statistic(np.ones((1, 12)))[0])
            plain.append(jackknife(statistic, 12).error ** 2)
            paired.append(pair_jackknife(statistic, 12).error ** 2)
        assert np.mean(plain) == pytest.approx(np.var(found) * (1 if units_vary else 2.2), rel=0.25)
        assert np.mean(paired) == pytest.approx(np.var(found) * (1 if units_vary else 1.3), rel=0.25)


def perfect(task, noise, seed=0):
    """What is stated or follows rises by 1, what is contradicted falls by 1; images by nearness."""
    said = {"direct": 1.0, "entailed": 1.0, "contradicted": -1.0}
    values = np.vectorize(lambda name: said.get(name, 0.0))(task.relation)
    if "pixel" in task.distances:
        nearness = 1 - task.distances["pixel"] / task.distances["pixel"].max()
        values = np.where(task.relation == "direct", 1.0, np.where(values > 0, nearness, 0.2 * nearness))
    return annotate(values + noise * np.random.default_rng(seed).normal(size=values.shape), task)


@pytest.mark.parametrize("domain", [domain.__name__.lower() for domain in DOMAINS])
def test_perfect_learner_of_a_domain_is_near_and_sparse_and_never_violates_either(domain):
    for worlds, noise in ((20, 0.02), (20, 0.1), (6, 0.3)):
        array = perfect(load_task(domain, worlds=worlds), noise)
        for desideratum in (DistanceDecay(), Sparsity()):
            outcome = desideratum.evaluate(array, 0).outcome()
            assert outcome == SATISFIED if worlds == 20 else outcome != VIOLATED


def test_perfect_learner_of_images_is_near_and_sparse():
    array = perfect(load_task("digits"), 0.05)
    for desideratum in (DistanceDecay(), Sparsity()):
        verdict = desideratum.evaluate(array, 0)
        assert verdict.outcome() == SATISFIED
        assert {(found.n, found.unit) for found in verdict.findings} == {(10, "classes")}
