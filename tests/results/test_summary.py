import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eif_lab.results.summary import class_means, relation_means
from eif_lab.results.trackers.heat_map import UNDEFINED, diverging, heat_map


def test_colours_of_opposite_values_differ_and_zero_is_white():
    values = np.linspace(-2, 2, 41)
    rgb = diverging(values, 2.0).astype(int)
    assert (rgb[20] == 247).all()
    assert (rgb[:20, 2] > rgb[:20, 0]).all() and (rgb[21:, 0] > rgb[21:, 2]).all()
    assert len(np.unique(rgb, axis=0)) == len(values)
    assert (diverging(np.array([-9.0, 9.0]), 2.0) == diverging(np.array([-2.0, 2.0]), 2.0)).all()


def test_undefined_is_grey_and_nothing_moved_is_white():
    rgb = diverging(np.array([np.nan, 0.0]), 0.0)
    assert tuple(rgb[0]) == UNDEFINED and (rgb[1] == 247).all()


def test_heat_map_shows_the_last_step_ordered_by_class(make_influence):
    influence = make_influence()
    picture, caption = heat_map(influence)
    cells = influence.isel(step=-1, readout=0).mean("seed").values
    rows, columns = np.argsort(np.arange(6) % 3, kind="stable"), np.argsort(np.arange(8) % 2, kind="stable")
    times = len(picture) // 6
    scale = np.percentile(np.abs(cells), 99)
    assert (picture[::times, ::times] == diverging(cells[rows][:, columns], scale)).all()
    assert f"log_prob [nat]: blue {-scale:.3g}, white 0, red {scale:.3g}" in caption and "ordered by class" in caption


def test_huge_array_becomes_a_small_picture_of_block_means(make_influence):
    values = np.zeros((1, 4, 1, 2500, 1))
    values[..., 1::3, :] = 3.0  # blocks of 3 probes: every mean is 1, up to the last block of one probe
    dims = ("seed", "stimulus", "step", "probe", "readout")
    picture, _ = heat_map(xr.DataArray(values, dims=dims, coords={"readout": ["log_prob"]}))
    assert picture.shape == (4, 834, 3)
    assert (picture[:, :-1] == diverging(np.ones(1), 1.0)).all() and (picture[:, -1] == 247).all()


def test_relation_means_are_the_means_over_pairs(make_influence):
    influence = make_influence()
    influence[{"stimulus": 2, "probe": 1}] = np.nan
    table = relation_means(influence).set_index(["readout", "relation"])
    assert len(table) == 6
    for readout in ("log_prob", "rank"):
        values = influence.isel(step=-1).sel(readout=readout).values.mean(axis=0)
        for relation in ("direct", "entailed", "unrelated"):
            chosen = values[influence["relation"].values == relation]
            assert table.loc[(readout, relation), "mean"] == pytest.approx(np.nanmean(chosen))
            assert table.loc[(readout, relation), "pairs"] == np.isfinite(chosen).sum()
    assert set(table["unit"]) == set(json.loads(influence.attrs["units"]).values())


def test_what_any_text_does_stands_apart_from_what_stimuli_do_to_unrelated_probes(make_influence):
    influence = make_influence()
    blank = np.array([False, True, False, False, True, False])
    told = influence.assign_coords(stimulus_neutral=("stimulus", blank))
    table = relation_means(told).set_index(["readout", "relation"])
    values = influence.isel(step=-1).sel(readout="log_prob").values.mean(axis=0)
    assert table.loc[("log_prob", "neutral"), "mean"] == pytest.approx(values[blank].mean())
    rest = relation_means(influence.isel(stimulus=~blank)).set_index(["readout", "relation"])
    pd.testing.assert_frame_equal(table.loc[rest.index], rest)


def test_class_means_are_the_means_over_pairs_of_classes(make_influence):
    influence = make_influence()
    influence[{"stimulus": 2, "probe": 1}] = np.nan
    table = class_means(influence).set_index(["readout", "stimulus", "probe"])
    assert len(table) == 2 * 3 * 2
    values = influence.isel(step=-1, readout=0).values.mean(axis=0)
    for stimulus in np.unique(influence["stimulus_label"]):
        for probe in np.unique(influence["probe_label"]):
            chosen = values[influence["stimulus_label"].values == stimulus][:, influence["probe_label"].values == probe]
            assert table.loc[("log_prob", stimulus, probe), "mean"] == pytest.approx(np.nanmean(chosen))
            assert table.loc[("log_prob", stimulus, probe), "pairs"] == np.isfinite(chosen).sum()
