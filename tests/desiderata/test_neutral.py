"""Neutral stimuli are in the array, and in no verdict."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from knowledge_arrays import worlds

from eif_lab.data.task import FOILS
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.selection import clean, prepare
from eif_lab.desiderata.strength import direct_influence, strength_of


def with_neutral(influence: xr.DataArray) -> xr.DataArray:
    """The array with a neutral stimulus for each world, which moves every probe by 100."""
    blank = xr.full_like(influence, 100.0).assign_coords(
        relation=(("stimulus", "probe"), np.full(influence.shape, "unrelated")),
        **{f"foil_{name}": (("stimulus", "probe"), np.full(influence.shape, -1)) for name in FOILS},
        stimulus_id=("stimulus", np.array([f"neutral {name}" for name in influence.stimulus_id.values])),
        stimulus_neutral=("stimulus", np.ones(influence.sizes["stimulus"], dtype=bool)),
    )
    told = influence.assign_coords(stimulus_neutral=("stimulus", np.zeros(influence.sizes["stimulus"], dtype=bool)))
    return xr.concat([blank, told], "stimulus")


def test_every_verdict_is_the_one_without_the_neutral_stimuli():
    influence = worlds(0)
    whole = with_neutral(influence)
    for dims in (("stimulus", "probe"), ("probe", "stimulus")):
        np.testing.assert_array_equal(prepare(whole.transpose(*dims)), prepare(influence))
    np.testing.assert_array_equal(clean(whole), clean(influence))
    np.testing.assert_equal(vars(Logic().evaluate(whole, 0)), vars(Logic().evaluate(influence, 0)))


@pytest.mark.parametrize("judge", [strength_of, direct_influence])
def test_what_was_taught_leaves_neutral_stimuli_out_even_where_they_are_probes(judge):
    influence = with_neutral(worlds(0))
    ids = influence.probe_id.values.copy()
    ids[0], ids[-1] = "neutral s000 0", "s000 0"
    influence = influence.assign_coords(probe_id=("probe", ids))
    told = influence.isel(stimulus=~influence.stimulus_neutral.values)
    np.testing.assert_equal(vars(judge(influence, "log_prob")), vars(judge(told, "log_prob")))
