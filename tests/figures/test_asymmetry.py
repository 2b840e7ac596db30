"""The figure of symmetry over optimizer, readout and strength shows what the desideratum says of the stored arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eif_lab.commands.figures import draw_figure
from eif_lab.desiderata.symmetry import Symmetry
from eif_lab.errors import ConfigError
from eif_lab.figures import asymmetry
from eif_lab.figures.runs import find_jobs, setting
from eif_lab.figures.style import paper_style

ASKED = ("log_prob", "prob")


@pytest.fixture(scope="module")
def jobs(runs):
    """Two exact jobs and a prediction of digits, in a readout that is symmetric and in one that is not at all."""
    exact, predicted = (of_two_readouts(job) for job in find_jobs([runs["images"]]))
    return [exact, predicted, by_adam(exact)]


def of_two_readouts(job):
    """The job with a second readout, of which the columns differ in size."""
    one = job.influence.load()
    sizes = np.geomspace(1e-3, 1e3, one.sizes["probe"])
    array = one.isel(readout=[0, 0]).assign_coords(readout=list(ASKED)).copy()
    array[..., 1] *= sizes
    return with_array(job, array)


def by_adam(job):
    """The same samples by another optimizer, whose array has noise."""
    array = job.influence.copy()
    array[:] += np.random.default_rng(0).normal(scale=float(array.std()), size=array.shape)
    update = dataclasses.replace(job.manifest.update, optimizer="adam")
    return with_array(job, array, update=update)


def with_array(job, array, **changed):
    made = dataclasses.replace(job, manifest=dataclasses.replace(job.manifest, **changed))
    made.__dict__["influence"] = array  # in place of what is read from the store
    return made


def test_rows_are_the_desideratums_own_findings_on_each_readout(jobs):
    predicted = jobs[1]
    table = asymmetry.symmetry_rows(jobs)
    assert sorted(zip(table["job"], table["readout"])) == [(0, "log_prob"), (0, "prob"), (2, "log_prob"), (2, "prob")]
    for row in table.itertuples():
        array, partner = (
            one.influence.sel(readout=row.readout).isel(seed=0, step=-1) for one in (jobs[row.job], predicted)
        )
        cells = array.values[~np.eye(len(array), dtype=bool)]
        assert row.value == pytest.approx(np.corrcoef(cells, array.values.T[~np.eye(len(array), dtype=bool)])[0, 1])
        verdict = Symmetry().evaluate(array, 0)
        assert (row.value, row.value_low) == (verdict.findings[0].effect, verdict.findings[0].low)
        assert row.rank == verdict.details["rank_correlation"]
        excess = Symmetry().excess(array, partner)
        assert (row.excess, row.excess_low, row.excess_high) == (excess.effect, excess.low, excess.high)
        assert row.optimizer == ("sgd" if row.job == 0 else "adam")


def test_a_readout_that_no_prediction_has_is_shown_without_excess(jobs):
    exact, predicted, _ = jobs
    without = with_array(predicted, predicted.influence.isel(readout=[0]))
    table = asymmetry.symmetry_rows([exact, without]).set_index("readout")
    assert np.isfinite(table.loc["log_prob", "excess"]) and np.isnan(table.loc["prob", "excess"])
    assert np.isnan(asymmetry.symmetry_rows([exact])["excess"]).all()


def test_a_predictions_symmetry_is_that_at_any_rate(jobs):
    _, predicted, _ = jobs
    faster = with_array(predicted, 1000 * predicted.influence)
    for readout in ASKED:
        found = [asymmetry.verdict_on(job, readout) for job in (predicted, faster)]
        first, second = (asymmetry.symmetry(verdict) for verdict in found)
        assert second == pytest.approx(first, rel=1e-4)


def test_curves_and_dashes_are_the_rows_and_the_predictions(jobs):
    table = asymmetry.symmetry_rows(jobs)
    with paper_style():
        figure = asymmetry.draw(jobs)
        figure.draw_without_rendering()
    for axes, panel in zip(figure.axes, asymmetry.PANELS):
        marks = [(line.get_label(), line.get_ydata()[0]) for line in axes.get_lines() if " " in line.get_label()]
        within = axes.get_ylim()  # what lies beyond stands at the edge
        stored = [
            (f"{row.optimizer} {row.readout}", np.clip(getattr(row, panel), *within)) for row in table.itertuples()
        ]
        assert sorted(marks) == sorted(stored)
    dashed = [
        line.get_ydata()[0]
        for line in figure.axes[0].get_lines()
        if line.get_linestyle() == "--" and line.get_color() == "black"
    ]
    expected = [asymmetry.symmetry(asymmetry.verdict_on(jobs[1], readout))["value"] for readout in ASKED]
    assert sorted(dashed) == sorted(expected)


def test_predictions_alone_are_refused(runs, tmp_path):
    [predicted] = [job for job in find_jobs([runs["images"]]) if not setting(job).exact]
    with pytest.raises(ConfigError, match="must hold an exact job of which symmetry was judged"):
        draw_figure("asymmetry", [predicted.path], tmp_path)
