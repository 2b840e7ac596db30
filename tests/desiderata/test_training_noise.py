"""What of a cell is the sample's and what the run's: against plain formulas, and of made-up arrays the known share."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from annotated_arrays import worlds

from eif_lab import training_noise
from eif_lab.desiderata.training_noise import intraclass_correlation
from eif_lab.errors import ConfigError

RUNS = 4


def runs_on(array, sample, run, seed=0):
    """Runs that share each cell's own influence, with standard deviation ``sample``, and differ by ``run``."""
    random = np.random.default_rng(seed)
    values = sample * random.normal(size=array.shape) + run * random.normal(size=(RUNS, *array.shape))
    base = random.normal(size=(RUNS, array.sizes["probe"]))
    return (
        array.expand_dims(seed=range(RUNS))
        .copy(data=values)
        .assign_coords(probe_base_log_prob=(("seed", "probe"), base))
    )


def test_mean_spread_and_mu_are_those_of_plain_formulas():
    array = runs_on(worlds(0), 1.0, 0.5)
    noise = training_noise(array)
    values, before = array.values, array.probe_base_log_prob.values
    after = before[:, None] + values
    spread = np.sqrt((after.var(0, ddof=1) + before.var(0, ddof=1)) / 2)
    np.testing.assert_allclose(noise["mean"], values.mean(0))
    np.testing.assert_allclose(noise["sd"], values.std(0, ddof=1))
    np.testing.assert_allclose(noise["mu"], (after.mean(0) - before.mean(0)) / spread)
    assert (noise.sd < noise.unpaired_sd).mean() > 0.9  # what base models differ in is in both readouts
    assert noise.attrs["runs"] == RUNS and noise.attrs["unit"] == "worlds"
    assert "mu" not in training_noise(array.drop_vars("probe_base_log_prob"))
    # of which neither reading is the base's
    assert not {"mu", "unpaired_sd"} & set(training_noise(array.assign_attrs(perturbation="exclude")))


def test_the_samples_share_is_that_of_one_way_analysis_of_variance():
    array = runs_on(worlds(0), 1.0, 0.5)
    noise = training_noise(array)
    for relation in ("all", "entailed"):
        cells = array.values[:, np.ones(array.shape[1:], bool) if relation == "all" else array.relation == relation]
        count = cells.shape[1]
        between = RUNS * ((cells.mean(0) - cells.mean()) ** 2).sum() / (count - 1)
        within = ((cells - cells.mean(0)) ** 2).sum() / (count * (RUNS - 1))
        expected = (between - within) / (between + (RUNS - 1) * within)
        found = noise.sel(of=relation)
        assert found.icc.item() == pytest.approx(expected) and found.cells.item() == count
        assert found.icc_low < found.icc < found.icc_high


@pytest.mark.parametrize(("sample", "run", "share"), [(1.0, 1.0, 0.5), (2.0, 1.0, 0.8), (0.0, 1.0, 0.0)])
def test_the_interval_holds_the_known_share(sample, run, share):
    random, units, held = np.random.default_rng(0), np.repeat(np.arange(8), 20), 0
    for _ in range(40):
        values = sample * random.normal(size=len(units)) + run * random.normal(size=(RUNS, len(units)))
        value, low, high = intraclass_correlation(values, units)
        held += low <= share <= high
        assert abs(value - share) < 0.25
    assert held >= 33  # of 40 at 95 %: one more misses in one of 10,000 cases


def test_runs_that_agree_are_the_samples_alone_and_cells_that_agree_are_the_runs():
    array = runs_on(worlds(0), 1.0, 0.0)
    same = training_noise(array).sel(of="all")
    assert same.icc == 1 and (training_noise(array).sd == 0).all()
    shifted = array.copy(data=np.broadcast_to(np.arange(RUNS)[:, None, None], array.shape))
    assert training_noise(shifted).icc.sel(of="all") == pytest.approx(-1 / (RUNS - 1))


def test_what_diverged_in_one_run_is_left_out_of_the_share():
    array = runs_on(worlds(0), 1.0, 0.5)
    whole = training_noise(array).sel(of="all")
    array.values[1, 0] = np.nan
    noise = training_noise(array)
    assert noise["mean"][0].isnull().all() and noise["mean"][1:].notnull().all()
    assert noise.cells.sel(of="all") == whole.cells - array.sizes["probe"]


def test_the_readout_asked_for_is_the_one_described():
    array = xr.concat([runs_on(worlds(0), 1.0, 0.5), runs_on(worlds(0), 2.0, 0.5)], dim="readout")
    array = array.assign_coords(readout=["log_prob", "prob"])
    first, second = training_noise(array), training_noise(array, readout="prob")
    assert "mu" in first and "mu" not in second
    assert second["mean"].std() > 1.5 * first["mean"].std()


def test_what_cannot_be_asked_is_one_line():
    array = runs_on(worlds(0), 1.0, 0.5)
    for broken, line in (
        (xr.DataArray(array.values, dims=array.dims), "influence must have the coordinate"),
        (array.rename(probe="question"), "influence must have the dims stimulus and probe"),
    ):
        with pytest.raises(ConfigError, match=line):
            training_noise(broken)
    with pytest.raises(ConfigError, match="readout must be one of prob, got 'log_prob'"):
        training_noise(array.assign_coords(readout="prob"), readout="log_prob")
    with pytest.raises(ConfigError, match="confidence must be between 0 and 1, got 95"):
        training_noise(array, confidence=95.0)


@pytest.mark.parametrize("array", [worlds(0), worlds(0).expand_dims(seed=[1])], ids=["no seed", "one"])
def test_a_single_run_is_refused_in_one_line(array):
    with pytest.raises(ConfigError, match="influence must have at least two seeds"):
        training_noise(array)
