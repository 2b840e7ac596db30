"""Direct influence against its definition, and against data in which there is none."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eif_lab.desiderata.direct import direct_influence


def array(values, worlds=None, ids=None, direct=()):
    """Unrelated stimuli and probes, but for the cells that are ``direct``."""
    n, m = values.shape
    relation = np.full((n, m), "unrelated")
    for cell in direct:
        relation[cell] = "direct"
    coords = {
        "relation": (("stimulus", "probe"), relation),
        "stimulus_id": ("stimulus", np.array([f"s{i}" for i in range(n)])),
        "probe_id": ("probe", np.array(ids or [f"s{i}" for i in range(m)])),
    }
    if worlds is not None:
        coords["stimulus_world"] = ("stimulus", np.array(worlds))
    return xr.DataArray(
        values[None, :, None, :, None],
        dims=("seed", "stimulus", "step", "probe", "readout"),
        coords={**coords, "readout": ["log_prob"]},
    )


def test_it_is_the_mean_over_stimuli_that_are_probes_too_and_did_not_diverge():
    values = np.random.default_rng(0).normal(size=(6, 4))
    values[1] = np.nan
    found = direct_influence(array(values), "log_prob")
    assert np.isclose(found.effect, np.mean([values[0, 0], values[2, 2], values[3, 3]]))
    assert found.n == 3 and found.unit == "stimuli" and found.low <= found.effect <= found.high


def test_a_stimulus_that_is_no_probe_is_held_to_the_mean_of_the_probes_that_it_states():
    values = np.random.default_rng(3).normal(size=(4, 4))
    cells = [(0, 1), (1, 2), (1, 3), (2, 0), (2, 2)]
    found = direct_influence(array(values, ids=["s0", "a", "b", "c"], direct=cells), "log_prob")
    own = [values[0, 0], (values[1, 2] + values[1, 3]) / 2, (values[2, 0] + values[2, 2]) / 2]
    assert np.isclose(found.effect, np.mean(own)) and found.n == 3  # s0 is a probe itself; the last states nothing


def test_worlds_count_once_each():
    values = np.diag([1.0, 1.0, 1.0, 5.0])
    found = direct_influence(array(values, worlds=[0, 0, 0, 1]), "log_prob")
    assert np.isclose(found.effect, 3.0) and found.n == 2 and found.unit == "worlds"


def test_noisy_copies_do_not_count():
    noisy = array(np.diag([1.0, 2.0, 9.0, 9.0]))
    sigma = np.array([0.0, 0.0, 0.5, 0.5])
    noisy = noisy.assign_coords(stimulus_sigma=("stimulus", sigma), probe_sigma=("probe", sigma))
    found = direct_influence(noisy, "log_prob")
    assert np.isclose(found.effect, 1.5) and found.n == 2


def test_no_teaching_is_seldom_taken_for_teaching():
    """Over 200 arrays without any, at the 5 % level: no more than 18 (binomial, one in 500)."""
    rng = np.random.default_rng(1)
    verdicts = [direct_influence(array(rng.normal(size=(20, 20))), "log_prob").verdict(0.05) for _ in range(200)]
    assert verdicts.count("satisfied") <= 18


def test_teaching_is_seen():
    values = np.random.default_rng(2).normal(size=(30, 30)) + np.eye(30)
    assert direct_influence(array(values), "log_prob").verdict(0.05) == "satisfied"


def test_too_few_stimuli_have_no_verdict():
    found = direct_influence(array(np.ones((3, 2)), ids=["a", "b"]), "log_prob")
    assert np.isnan(found.effect) and found.verdict(0.05) == "inconclusive"
