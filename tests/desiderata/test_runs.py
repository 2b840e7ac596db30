"""Verdicts over runs: one run as ever, the level of several, and what leaves them without a verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from annotated_arrays import images, worlds
from scipy import stats

from eif_lab.desiderata.evaluation import judge
from eif_lab.desiderata.logic import Logic
from eif_lab.desiderata.runs import finding_over_runs, of_every_run, over_runs
from eif_lab.desiderata.strength import strength_of
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import ConfigError
from eif_lab.results.rows import read_verdicts, verdict_frame


def runs_of(*arrays):
    """One array whose seeds are these arrays."""
    return xr.concat(arrays, dim=xr.Variable("seed", range(len(arrays))), coords="minimal")


def noisy_runs(array, runs, noise):
    random = np.random.default_rng(7)
    return runs_of(*(array + noise * random.normal(size=array.shape) for _ in range(runs)))


def test_one_run_gives_exactly_what_it_gave_before():
    array = worlds(0)
    plain, one = (judge(each, "logic") for each in (array, array.expand_dims(seed=[3])))
    assert repr(plain) == repr(one) and "runs" not in repr(plain)
    verdict = Logic().evaluate(array, 0)
    assert over_runs([verdict]) is verdict
    finding = verdict.findings[0]
    assert finding_over_runs([finding]) is finding and (finding.runs, finding.confidence) == (1, 0.95)


def test_runs_that_agree_change_no_interval_and_no_p_value():
    array = worlds(0)
    [plain], [several] = judge(array, "logic"), judge(runs_of(array, array, array), "logic")
    for one, same in zip(plain.findings, several.findings):
        assert (same.runs, same.n, same.run_share) == (3, one.n, 0.0)
        np.testing.assert_allclose([same.effect, same.low, same.high], [one.effect, one.low, one.high], rtol=1e-9)
    gain, same = plain.findings[0], several.findings[0]  # of a ratio p-values are those of another statistic
    np.testing.assert_allclose([same.p_value, same.p_violated], [gain.p_value, gain.p_violated], rtol=1e-6)


def test_effect_is_the_mean_over_runs_and_the_interval_holds_both_spreads_in_squares():
    array = noisy_runs(worlds(0), runs=4, noise=0.3)
    each = [judge(array.isel(seed=place), "logic")[0].findings[0] for place in range(4)]
    [verdict] = judge(array, "logic")
    effects = np.array([one.effect for one in each])
    of_units = np.mean([((one.high - one.low) / 2) ** 2 for one in each])
    of_runs = (stats.t.ppf(0.975, 3) * effects.std(ddof=1) / 2) ** 2
    found = verdict.findings[0]
    assert found.effect == pytest.approx(effects.mean())
    assert found.high - found.effect == pytest.approx(np.sqrt(of_units + of_runs))
    assert found.effect - found.low == pytest.approx(found.high - found.effect)
    assert 0 < found.run_share < 1 and found.runs == 4
    assert f"{found.n} worlds, 4 runs)" in str(verdict)


@pytest.mark.parametrize("side", [1, -1])
def test_the_interval_excludes_the_bar_where_the_p_value_is_below_half_of_what_it_leaves_out(side):
    random = np.random.default_rng(0)
    for _ in range(50):
        values = random.normal(side * 0.6, 1.0, (3, 8)) + random.normal(0, 0.3, (3, 1))
        found = finding_over_runs([Logic().mean("gain", one, "worlds") for one in values])
        assert (found.low > 0) == (found.p_value < 0.025)
        assert (found.high < 0) == (found.p_violated < 0.025)


SPREADS = {  # of worlds, of runs, and of single worlds in single runs
    "worlds alone": (1.0, 0.0, 0.0),
    "runs alone": (0.0, 1.0, 0.01),
    "both": (1.0, 0.4, 0.3),
    "single cells": (0.0, 0.0, 1.0),
}


@pytest.mark.parametrize("spreads", SPREADS.values(), ids=SPREADS)
def test_neither_verdict_is_given_more_often_than_its_level_where_worlds_and_runs_are_crossed(spreads):
    """The effect is at the bar, and worlds are the same in all runs; where single cells vary alone, it errs less."""
    random, findings = np.random.default_rng(0), []
    shapes = (1, 8), (3, 1), (3, 8)
    for _ in range(250):
        values = sum(spread * random.normal(size=shape) for spread, shape in zip(spreads, shapes))
        findings.append(finding_over_runs([Logic().mean("gain", one, "worlds") for one in values]))
    most = stats.binom.ppf(0.9999, len(findings), 0.05)
    assert sum(one.p_value <= 0.05 for one in findings) <= most
    assert sum(one.p_violated <= 0.05 for one in findings) <= most
    assert sum(not one.low <= 0 <= one.high for one in findings) <= most
    if spreads[2] < 1:
        assert sum(one.p_value <= 0.05 for one in findings) > 0 < sum(one.p_violated <= 0.05 for one in findings)


def test_the_first_run_alone_would_err_more_often_than_its_level():
    """Why runs count: worlds of one base model say nothing of another one."""
    random = np.random.default_rng(0)
    first = [Logic().mean("gain", random.normal(size=12) + 0.7 * random.normal(), "worlds") for _ in range(300)]
    assert sum(one.p_value <= 0.05 for one in first) > stats.binom.ppf(0.9999, 300, 0.05)


def test_a_run_without_a_p_value_leaves_none_and_its_note():
    array = worlds(0)
    untaught = array.copy(data=np.random.default_rng(1).normal(size=array.shape))
    [verdict] = judge(runs_of(array, array, untaught), "logic")
    assert verdict.outcome() == "inconclusive"
    assert all(np.isnan([one.p_value, one.p_violated]).all() for one in verdict.findings)
    assert verdict.note.startswith("in 1 of 3 runs: strength is not clearly above zero")


def test_strength_over_runs_is_the_mean():
    array = noisy_runs(worlds(0), runs=3, noise=0.2)
    each = [strength_of(array.isel(seed=place), "log_prob").effect for place in range(3)]
    found = strength_of(array, "log_prob")
    assert (found.effect, found.runs) == (pytest.approx(np.mean(each)), 3)


def test_a_desideratum_without_the_same_findings_in_every_run_is_left_out_which_is_logged(caplog):
    caplog.set_level("INFO")
    whole = Logic().evaluate(worlds(0), 0)
    part = replace(whole, findings=whole.findings[:1])
    runs = [{"logic": whole, "other": whole, "third": whole}, {"logic": part, "other": whole}]
    assert of_every_run(runs) == [[whole, whole]]
    assert caplog.text.count("it does not have the same findings in each") == 2


@pytest.mark.parametrize("change", ["samples", "draw"])
def test_seeds_of_other_samples_are_refused_in_one_line(change):
    array = runs_of(images(0), images(0))
    if change == "samples":
        ids = array["stimulus_id"].values
        array = array.assign_coords(stimulus_id=(("seed", "stimulus"), np.stack([ids, ids[::-1]])))
    else:
        array = array.assign_coords(data_seed=("seed", [0, 1]))
    with pytest.raises(ConfigError, match=r"influence must be about the same samples for every seed.*isel\(seed="):
        judge(array)


def test_verdicts_over_runs_are_stored_and_read_as_they_are():
    verdicts = judge(noisy_runs(worlds(0), runs=3, noise=0.3), "logic")
    assert repr(read_verdicts(verdict_frame(verdicts, {}))) == repr(verdicts)
    stored, found = read_verdicts(verdict_frame(verdicts, {}))[0].findings[0], verdicts[0].findings[0]
    assert (stored.runs, stored.run_share, stored.confidence) == (found.runs, found.run_share, found.confidence)


def test_a_statistic_at_the_end_of_its_scale_keeps_its_sides_apart():
    ends = [(0.99, 0.9, 1.0), (1.0, 0.95, 1.0), (0.98, 0.85, 1.0)]
    each = [Finding("correlation", effect, low, high, 0.01, 8, "classes", 0.5, 0.99) for effect, low, high in ends]
    found = finding_over_runs(each)
    assert found.effect - found.low > 3 * (found.high - found.effect) and found.p_violated > 0.99
    verdict = over_runs([Verdict("symmetry", "", [replace(one)], 0.05, {"a": 1.0}) for one in each])
    assert verdict.outcome() == "satisfied" and verdict.details == {"a": 1.0}
