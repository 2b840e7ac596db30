"""Jobs that differ in their seeds alone, as one array, and intervals over them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from eif_lab import judge, open_results
from eif_lab.console.seeds import print_seeds
from eif_lab.errors import ConfigError
from eif_lab.results import seeds
from eif_lab.results.seeds import (
    by_draw,
    mean_over_seeds,
    over_seeds,
    same_but_for_seeds,
    seeds_table,
    student_interval,
)

pytest_plugins = ["command_line_fixtures"]

SMALL = (
    "dataset=digits dataset.stimuli=20 dataset.probes=10 model.channels=[4] model.hidden=8 update.learning_rate=0.01 "
    "desideratum=[symmetry,sparsity] hydra.sweep.dir=sweep"
)


@pytest.fixture
def sweep(command, tmp_path):
    """Runs a sweep over seeds and opens it."""

    def run(options):
        ended = command(lambda _: None, f"-m {SMALL} {options}")
        assert ended.code == 0, ended.err
        return open_results(Path("sweep")), ended.out

    return run


def test_base_models_differ_and_samples_do_not_where_the_data_seed_is_fixed(sweep):
    results, out = sweep("seed=0,1,2 data_seed=5 method=full,lora trajectory=true update.steps=2")
    full, lora = same_but_for_seeds(results.jobs)
    array = over_seeds(full)
    assert array.sizes["seed"] == 3 and array.seed.values.tolist() == [0, 1, 2] and array.sizes["step"] == 2
    assert array.data_seed.values.tolist() == [5, 5, 5]
    assert array["stimulus_id"].dims == ("stimulus",) and array["distance_pixel"].dims == ("stimulus", "probe")
    for place, job in enumerate(full):
        assert np.array_equal(array.values[place], job.influence.values[0])
    hashes = {job.manifest["base_model"]["hash"] for job in full}
    assert len(hashes) == 3 and hashes == {job.manifest["base_model"]["hash"] for job in lora}
    assert "over seeds: mean effect" in out and (results.path / "seeds.parquet").is_file()
    table = seeds_table(results.jobs, results.table)
    assert set(table["job"]) == {job[0].manifest["name"] for job in (full, lora)}
    of_full = table[table["job"] == full[0].manifest["name"]]
    judged = {verdict.desideratum: verdict for verdict in judge(array, ["symmetry", "sparsity"])}
    for row in of_full.to_dict("records"):
        found = judged[row["desideratum"]].findings[row["finding"]]
        expected = [found.effect, found.low, found.high, found.run_share, judged[row["desideratum"]].p_value]
        np.testing.assert_allclose([row[name] for name in ("mean", "low", "high", "run_share", "p_value")], expected)
        assert row["seeds"] == row["satisfied"] + row["violated"] + row["inconclusive"] == found.runs == 3
        assert (row["data_seed"] == 5 and row["p_adjusted"] >= row["p_value"]) or np.isnan(row["p_value"])
    orders = [job.manifest.config["update"]["seed"] for job in full]
    assert orders == [0, 1, 2]


def test_other_samples_are_matched_by_place_and_keep_their_names_by_seed(sweep):
    results, _ = sweep("seed=7 data_seed=0,1,2")
    array = over_seeds(results.jobs)
    assert array.seed.values.tolist() == [7, 7, 7] and array.data_seed.values.tolist() == [0, 1, 2]
    assert array["stimulus_id"].dims == ("seed", "stimulus")
    assert not np.array_equal(array["stimulus_id"][0], array["stimulus_id"][1])
    table = seeds_table(results.jobs, results.table)
    assert table["data_seed"].isna().all() and (table["verdict"] == "").all()
    row = table[table["statistic"] == "correlation"].iloc[0]
    effects = [job.verdicts.query("statistic == 'correlation'")["effect"].item() for job in results.jobs]
    expected = stats.ttest_1samp(effects, 0).confidence_interval(0.95)
    np.testing.assert_allclose([row["mean"], row["low"], row["high"]], [np.mean(effects), *expected])
    jobs, table = results.jobs, results.table
    for untaught, meant in ((jobs[:1], effects[1:]), (jobs[:2], effects), (jobs, effects)):
        for job in untaught:  # as where too little was taught
            vars(job)["verdict_rows"] = [
                {**row, "finding_p_value": np.nan, "finding_p_violated": np.nan} for row in job.verdict_rows
            ]
        row = seeds_table(jobs, table).query("statistic == 'correlation'").iloc[0]
        assert row["seeds"] == len(meant) and row["mean"] == pytest.approx(np.mean(meant))
    with pytest.raises(ConfigError, match="influence must be about the same samples for every seed"):
        judge(array)
    whole = mean_over_seeds(array)
    np.testing.assert_allclose(whole["mean"], array.values.mean(0))
    assert "stimulus_id" not in whole.coords and (whole["low"] <= whole["high"]).all()


def test_what_is_no_group_of_seeds_is_refused_in_one_line(sweep):
    results, out = sweep("method=full,lora")
    assert "over seeds" not in out and not (results.path / "seeds.parquet").exists()
    with pytest.raises(ConfigError, match="differ in nothing but their seeds"):
        over_seeds(results.jobs)


def test_arrays_of_different_sizes_are_refused_with_their_seeds(sweep):
    results, _ = sweep("seed=0,1")
    one, other = results.jobs
    vars(other)["influence"] = other.influence.isel(stimulus=slice(5))
    with pytest.raises(ConfigError, match=r"jobs must hold arrays of one size.* for seeds \(1, 1\)"):
        over_seeds([one, other])


def test_runs_that_left_out_other_worlds_are_not_taken_together(sweep, monkeypatch):
    results, _ = sweep("seed=0,1,2 data_seed=5")
    for job, worlds in zip(results.jobs, ([3], [7], [3])):
        base = dataclasses.replace(job.manifest.base_model, worlds_not_learnt=worlds)
        vars(job)["manifest"] = dataclasses.replace(job.manifest, base_model=base)
    told = []
    monkeypatch.setattr(seeds.log, "warning", lambda line, *values: told.append(line % values))
    [(data_seed, runs)] = by_draw(results.jobs)
    assert data_seed == 5 and [job.manifest.seeds for job in runs] == [[0], [2]]
    assert told == ["cnn digits full: other worlds were left out with seed 1, which is no run beside the others"]


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (4, 20_000))
    _, low, high = student_interval(draws)
    covered = ((low <= 3) & (high >= 3)).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / draws.shape[1])


def test_the_table_fits_and_says_nothing_where_there_is_nothing(sweep):
    results, _ = sweep("seed=0,1")
    console = Console(record=True, width=100, file=open("console", "w"))  # noqa: SIM115
    table = seeds_table(results.jobs, results.table)
    print_seeds(table, console)
    assert "sparsity: concentration" in console.export_text()
    print_seeds(table.iloc[:0], console)
    assert console.export_text() == ""
