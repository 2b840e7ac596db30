"""Influence per nat, and beyond what any text does, against loops over cells."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eif_lab.errors import ConfigError
from eif_lab.results.comparison import above_neutral
from eif_lab.results.job import write_job
from eif_lab.results.sweep import open_results

STRENGTH = {"effect": 0.5, "low": 0.2, "high": 0.9}


@pytest.fixture
def influence(make_influence):
    """Six stimuli in two worlds, the last of each neutral, one of them measured twice."""
    return make_influence().assign_coords(
        stimulus_world=("stimulus", np.array([0, 0, 1, 1, 0, 1])),
        stimulus_neutral=("stimulus", np.array([False, False, False, True, True, True])),
        stimulus_sigma=("stimulus", np.zeros(6)),
    )


def job(folder, array, **manifest):
    given = {"name": "job", "status": "done", "unit": "nat", "strength": STRENGTH, **manifest}
    write_job(folder, given, array, [], {})
    return open_results(folder)


def test_influence_per_nat_is_the_array_over_the_strength(tmp_path, influence):
    found = job(tmp_path, influence).influence_per_nat
    np.testing.assert_allclose(found.values * STRENGTH["effect"], influence.values)
    assert json.loads(found.attrs["units"]) == {"log_prob": "nat per nat", "rank": "seconds per nat"}
    assert set(found.coords) == set(influence.coords)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"strength": {"effect": 0.5, "low": -0.1, "high": 1}}, "strength must be clearly above zero"),
        ({"strength": {"effect": None, "low": None, "high": None}}, "strength must be clearly above"),
        ({"strength": None}, "strength must be clearly above zero"),
        ({"unit": "probability"}, "readout must have one in nats first, got 'probability'"),
    ],
)
def test_nothing_is_divided_by_what_is_not_clearly_above_zero_or_not_in_nats(tmp_path, influence, manifest, message):
    with pytest.raises(ConfigError, match=message):
        _ = job(tmp_path, influence, **manifest).influence_per_nat


def test_the_neutral_stimulus_of_the_same_world_is_subtracted(tmp_path, influence):
    found = job(tmp_path, influence).above_neutral
    values = influence.values
    expected = [values[:, 0] - values[:, 4], values[:, 1] - values[:, 4], values[:, 2] - values[:, [3, 5]].mean(1)]
    np.testing.assert_allclose(found.values, np.stack(expected, 1))
    assert found.stimulus_id.values.tolist() == ["s0", "s1", "s2"] and "neutral" in found.attrs["sign"]
    np.testing.assert_allclose(above_neutral(influence.transpose("probe", ...)).transpose(*found.dims), found)


def test_a_diverged_stimulus_spoils_no_other(influence):
    influence[:, 5] = np.nan
    assert np.isfinite(above_neutral(influence).values[:, :2]).all()


def test_noisy_stimuli_are_held_against_neutral_ones_of_the_same_strength(influence):
    influence = influence.assign_coords(stimulus_sigma=("stimulus", np.array([0, 1, 0, 0, 0, 1])))
    with pytest.raises(ConfigError, match=r"dataset must have a neutral stimulus .*got \"none for 's1'\""):
        above_neutral(influence)
    found = above_neutral(influence.isel(stimulus=[0, 2, 3, 4, 5]))
    np.testing.assert_allclose(found.values[:, 1], influence.values[:, 2] - influence.values[:, 3])


def test_an_array_without_neutral_stimuli_says_so(make_influence):
    with pytest.raises(ConfigError, match="dataset must have a neutral stimulus in the world of each stimulus, got"):
        above_neutral(make_influence())
