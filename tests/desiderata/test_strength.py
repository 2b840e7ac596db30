"""Strength against its definition, and against data in which nothing was taught."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from knowledge_arrays import domain, worlds

from eif_lab.desiderata.strength import direct_influence, strength_of


def array(values, ids=None, direct=(), **coords):
    """Unrelated stimuli and probes, but for the cells that are ``direct``."""
    n, m = values.shape
    relation = np.full((n, m), "unrelated")
    for cell in direct:
        relation[cell] = "direct"
    known = {
        "relation": (("stimulus", "probe"), relation),
        "stimulus_id": ("stimulus", np.array([f"s{i}" for i in range(n)])),
        "probe_id": ("probe", np.array(ids or [f"s{i}" for i in range(m)])),
        **{name: ("stimulus", np.array(column)) for name, column in coords.items()},
    }
    return measured(xr.DataArray(values, dims=("stimulus", "probe"), coords=known))


def measured(influence):
    """The array as a job has it, beside another step that is not judged."""
    other = influence * 0 + 100
    steps = xr.concat([other, influence], dim=xr.Variable("step", [0, 1]), coords="minimal")
    return steps.expand_dims(seed=[0]).expand_dims(readout=["log_prob"], axis=-1)


def test_it_is_the_mean_over_worlds_of_stated_clozes_less_their_controls():
    influence = domain("compositionality", 0, jitter=0.4, foil=0.5)
    by_world = []
    for i, row in enumerate(influence.values):
        direct = np.flatnonzero(influence.relation.values[i] == "direct")
        foil = {name: influence[f"foil_{name}"].values[i, direct] for name in ("same_subject", "same_words", "neither")}
        control = row[foil["same_subject"]] + row[foil["same_words"]] - row[foil["neither"]]
        by_world.append((row[direct] - control).mean())
    found = strength_of(measured(influence), "log_prob")
    assert (found.statistic, found.n, found.unit) == ("strength", 8, "worlds")
    assert found.effect == pytest.approx(np.mean(by_world))
    error = np.std(by_world, ddof=1) / np.sqrt(8)
    assert found.high - found.effect == pytest.approx(2.3646 * error, rel=1e-4)  # Student's quantile, 7 degrees


def test_of_several_runs_it_is_the_mean():
    runs = [measured(domain("compositionality", seed, jitter=0.4)) for seed in (0, 1)]
    both = xr.concat([runs[0], runs[0].copy(data=runs[1].values)], dim=xr.Variable("seed", [0, 1]), coords="minimal")
    found = strength_of(both, "log_prob")
    assert found.effect == pytest.approx(np.mean([strength_of(run, "log_prob").effect for run in runs]))
    assert (found.runs, found.sample) == (2, "8 worlds, 2 runs")


def test_form_of_a_sentence_is_no_strength_though_it_is_direct_influence():
    form = worlds(0, direct=0.8, foil=0.8, entailed=0.8)
    assert direct_influence(measured(form), "log_prob").low > 0.5
    assert strength_of(measured(form), "log_prob").low < 0


@pytest.mark.parametrize("judge", [strength_of, direct_influence])
def test_without_foils_it_is_the_mean_over_stimuli_that_are_probes_too_and_did_not_diverge(judge):
    values = np.random.default_rng(0).normal(size=(6, 4))
    values[1] = np.nan
    values[3, 0] = np.inf
    found = judge(array(values), "log_prob")
    assert found.effect == pytest.approx(np.mean([values[0, 0], values[2, 2]]))
    assert found.n == 2 and found.unit == "stimuli" and found.low <= found.effect <= found.high


@pytest.mark.parametrize("judge", [strength_of, direct_influence])
def test_stimulus_that_is_no_probe_is_held_to_the_mean_of_the_probes_that_it_states(judge):
    values = np.random.default_rng(3).normal(size=(4, 4))
    cells = [(0, 1), (1, 2), (1, 3), (2, 0), (2, 2)]
    found = judge(array(values, ids=["s0", "a", "b", "c"], direct=cells), "log_prob")
    own = [values[0, 0], (values[1, 2] + values[1, 3]) / 2, (values[2, 0] + values[2, 2]) / 2]
    assert found.effect == pytest.approx(np.mean(own)) and found.n == 3  # the last states nothing


def test_worlds_count_once_each():
    found = strength_of(array(np.diag([1.0, 1.0, 1.0, 5.0]), stimulus_world=[0, 0, 0, 1]), "log_prob")
    assert found.effect == pytest.approx(3.0) and found.n == 2 and found.unit == "worlds"


def test_noisy_and_neutral_stimuli_do_not_count():
    noisy = array(np.diag([1.0, 2.0, 9.0, 9.0]), stimulus_sigma=[0.0, 0.0, 0.5, 0.5])
    noisy = noisy.assign_coords(probe_sigma=("probe", [0.0, 0.0, 0.5, 0.5]))
    neutral = array(np.diag([1.0, 2.0, 9.0, 9.0]), stimulus_neutral=[False, False, True, True])
    for made in (noisy, neutral):
        found = strength_of(made, "log_prob")
        assert found.effect == pytest.approx(1.5) and found.n == 2


def test_no_teaching_is_seldom_taken_for_teaching():
    """Over 200 arrays without any, an interval of 95 % lies above zero in no more than 13 (binomial, one in 1,000)."""
    random = np.random.default_rng(1)
    above = [strength_of(array(random.normal(size=(20, 20))), "log_prob").low > 0 for _ in range(200)]
    assert sum(above) <= 13


def test_too_few_stimuli_have_no_strength():
    found = strength_of(array(np.ones((3, 2)), ids=["a", "b"]), "log_prob")
    assert np.isnan(found.effect) and found.verdict(0.05) == "inconclusive"
