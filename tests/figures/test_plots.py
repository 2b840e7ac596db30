"""The plots that a user draws of results."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from eif_lab import annotate, judge, load_task, open_results, plot_array, plot_forest
from eif_lab.desiderata.verdict import Finding, Verdict
from eif_lab.errors import ConfigError
from eif_lab.results.job import write_job


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("agg")
    yield
    pyplot.close("all")


def finding(effect, low, high, p, statistic="reach"):
    return Finding(statistic, effect, low, high, p, 20, "worlds", 0.1, 1 - p)


@pytest.fixture
def sweep(tmp_path):
    """Reach satisfied in one job; alone, but not in the sweep, in the second; and short in the third."""
    cases = {"a": (0.5, 0.3, 0.7, 1e-6), "b": (0.4, 0.1, 0.7, 0.045), "c": (0.05, 0.03, 0.07, 1 - 1e-6)}
    for name, (effect, low, high, p) in cases.items():
        verdicts = [
            Verdict("logic", "", [finding(0.5, 0.4, 0.6, 1e-6, "gain"), finding(effect, low, high, p)], 0.05),
            Verdict("symmetry", "", [finding(0.2, -0.5, 0.9, 0.4, "correlation")], 0.05),
        ]
        write_job(tmp_path / name, {"name": name, "status": "done"}, None, verdicts, {})
    write_job(tmp_path / "d", {"name": "d", "status": "failed", "reason": "why"}, None, [], {})
    return open_results(tmp_path)


def marks(axes):
    """What stands for effects: (place, effect, marker, filled)."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 1]
    return [
        (line.get_ydata()[0], line.get_xdata()[0], line.get_marker(), line.get_markerfacecolor() != "white")
        for line in lines
    ]


def test_a_forest_has_a_panel_for_each_finding_and_a_row_for_each_job(sweep):
    panels = {axes.get_title(): axes for axes in plot_forest(sweep)}
    assert list(panels) == ["logic: gain > 0.1", "logic: reach > 0.1", "symmetry: correlation > 0.1"]
    reach = panels["logic: reach > 0.1"]
    assert [tick.get_text() for tick in reach.get_yticklabels()] == ["a", "b", "c"]
    assert marks(reach) == [(0, 0.5, "o", True), (1, 0.4, "o", False), (2, 0.05, ">", True)]  # b only by itself
    assert marks(panels["symmetry: correlation > 0.1"]) == [(place, 0.2, "o", False) for place in range(3)]
    ends = [line.get_xdata() for line in reach.lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2]
    assert [tuple(each) for each in ends] == [(0.3, 0.7), (0.1, 0.7), (0.03, 0.07)]


def test_a_forest_of_one_job_or_of_verdicts_is_of_their_own_verdicts(sweep):
    [axes] = [axes for axes in plot_forest(sweep["b"], "logic") if "reach" in axes.get_title()]
    assert marks(axes) == [(0, 0.4, "o", True)]
    verdicts = judge(made_up(), ["logic", "sparsity"])
    assert len(plot_forest(verdicts)) == sum(len(verdict.findings) for verdict in verdicts)


def made_up():
    task = load_task("ontology", worlds=6, stimuli_per_world=1)
    noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
    return annotate(np.isin(task.relation, ("direct", "entailed")) + noise, task)


def test_an_array_is_drawn_by_world_with_and_without_seeds_steps_and_readouts(tmp_path):
    plain = made_up()
    [image] = plot_array(plain).images
    several = plain.expand_dims(seed=[0, 1], step=[1], readout=["log_prob", "rank"])
    several = several.copy(data=several.values * np.array([1.0, -1.0]).reshape(1, 1, 2, 1, 1))
    assert plot_array(several, "rank").get_ylabel() == "stimulus, by world"
    drawn = {name: plot_array(several, name).images[0].get_array() for name in ("log_prob", "rank")}
    np.testing.assert_allclose(drawn["log_prob"], image.get_array())
    np.testing.assert_allclose(drawn["rank"], -image.get_array())
    stored = several.transpose("seed", "stimulus", "step", "probe", "readout").rename("influence")
    write_job(tmp_path / "job", {"name": "job", "status": "done"}, stored, [], {})
    np.testing.assert_allclose(plot_array(open_results(tmp_path / "job")).images[0].get_array(), image.get_array())


def test_plots_refuse_what_they_cannot_draw_in_one_line(sweep, tmp_path):
    for draw, line in (
        (lambda: plot_forest(sweep, "logik"), "desideratum must be one of logic, symmetry.*Did you mean logic"),
        (lambda: plot_forest(sweep["d"]), "results must hold a verdict"),
        (lambda: plot_array(sweep["a"]), r"results path must hold influence\.zarr"),
        (lambda: plot_array(made_up().expand_dims(readout=["prob"]), "rank"), "readout must be one of prob"),
        (lambda: plot_array(made_up().isel(probe=0)), "influence must have the dims stimulus and probe"),
    ):
        with pytest.raises(ConfigError, match=line):
            draw()
