"""Attribution methods held to exact influence: the judge, the table, the figure, and the methods where installed."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from benchmarks.attribution import __main__ as attribution
from benchmarks.attribution.__main__ import FULL, PREDICTIONS, QUICK, Prediction, compare, predict, write
from benchmarks.attribution.figure import LOOKS, draw
from benchmarks.attribution.judgement import STATISTICS, TOP, judge, overlap
from benchmarks.attribution.subject import Subject
from benchmarks.attribution.table import page
from benchmarks.attribution.truth import EXACT, measures, truth_page, verdicts
from benchmarks.case import Architecture, Case, language_case, parameters
from benchmarks.loops import plain_loop
from benchmarks.peers import peer_scores
from benchmarks.peers.kronfluence_ekfac import sampled, scores
from benchmarks.peers.traker_trak import joined
from eif_lab import load_task, measure_influence
from eif_lab.influence.update import Update
from eif_lab.readouts.classes import IGNORED, log_odds

SIZE = replace(QUICK, factors=(0.1, 1), steps=(1, 2), resamples=20)


@pytest.fixture
def arrays():
    """A prediction and what was measured, (12, 30): correlated, and one stimulus of the second diverged."""
    generator = np.random.default_rng(0)
    predicted = generator.normal(size=(12, 30))
    exact = predicted + generator.normal(size=(12, 30))
    exact[3] = np.nan
    return predicted, exact


@pytest.fixture
def case():
    """Six images, which are stimuli and probes, and a network that was trained on nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).eval()
    samples = torch.randn(6, 1, 4, 4), torch.arange(6) % 3
    training = torch.randn(20, 1, 4, 4), torch.arange(20) % 3
    return Case(model, F.cross_entropy, samples, samples, Update(learning_rate=0.01), training=training)


@pytest.fixture
def subject(case):
    """The same, each image a unit of its own."""
    return Subject("a network", case, np.eye(6, dtype=bool), np.arange(6), "stimuli")


@pytest.fixture
def texts():
    """Three texts of the architecture of Phi-3, of different lengths."""
    return language_case(3, 4, architecture=Architecture(16, 24, 1, 2, 20), tokens=6)


def effects(*arguments, **options):
    return {one.statistic: one.effect for one in judge(*arguments, resamples=9, **options)}


def test_a_prediction_up_to_scale_is_perfect_and_the_opposite_is_the_worst(arrays):
    predicted, _ = arrays
    units = np.arange(12)
    assert effects(3 * predicted, predicted, units) == pytest.approx({"spearman": 1, "pearson": 1, "overlap": 1})
    assert effects(-predicted, predicted, units) == pytest.approx({"spearman": -1, "pearson": -1, "overlap": 0})


def test_statistics_are_those_of_scipy_and_of_sets_without_the_stimulus_that_diverged(arrays):
    predicted, exact = arrays
    kept = [row for row in range(12) if row != 3]
    x, y = predicted[kept], exact[kept]
    shared = [len(set(np.argsort(-a)[:TOP]) & set(np.argsort(-b)[:TOP])) / TOP for a, b in zip(x, y)]
    found = effects(predicted, exact, np.arange(12))
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y, axis=None).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(x.ravel(), y.ravel()).statistic)
    assert found["overlap"] == pytest.approx(np.mean(shared))
    np.testing.assert_allclose(overlap(x, y), shared)


def test_overlap_of_unrelated_rankings_is_that_of_guessing():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 3000, 25))
    assert overlap(one, other).mean() == pytest.approx(TOP / 25, abs=0.01)


def test_intervals_resample_units_so_that_a_stimulus_said_twice_tells_nothing_new(arrays):
    predicted, exact = arrays
    once = judge(predicted, exact, np.arange(12))
    twice = [np.repeat(array, 2, axis=0) for array in arrays]
    together = judge(*twice, np.repeat(np.arange(12), 2))
    apart = judge(*twice, np.arange(24))
    for one, same, narrower in zip(once, together, apart):
        assert one.low < one.effect < one.high
        assert (same.effect, same.low, same.high) == pytest.approx((one.effect, one.low, one.high))
        assert narrower.high - narrower.low < 0.9 * (one.high - one.low)


def test_interval_of_a_mean_over_few_units_is_students():
    """Plain percentiles of the bootstrap are a third narrower with six units."""
    random = np.random.default_rng(1)
    units = np.repeat(np.arange(6), 4)
    x, y = random.normal(size=(2, 24, 30))
    y += x * np.repeat(random.uniform(0, 2, 6), 4)[:, None]
    means = overlap(x, y).reshape(6, 4).mean(axis=1)
    found = next(one for one in judge(x, y, units, resamples=4000) if one.statistic == "overlap")
    expected = stats.ttest_1samp(means, 0).confidence_interval()
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.1)


def test_a_prediction_that_does_not_vary_and_a_single_unit_have_no_interval(arrays):
    predicted, exact = arrays
    constant = {one.statistic: one for one in judge(np.ones_like(predicted), exact, np.arange(12), resamples=9)}
    assert np.isnan([constant["spearman"].effect, constant["pearson"].effect, constant["pearson"].low]).all()
    assert all(np.isnan(one.low) for one in judge(predicted, exact, np.zeros(12, int), resamples=9))
    assert all(np.isnan(one.effect) for one in judge(predicted, np.full((12, 30), np.nan), np.arange(12), resamples=9))


def test_log_odds_have_the_slope_of_their_formula_where_a_class_is_hopeless_or_certain():
    output = torch.tensor([[0.0, 30, 1], [3, 0, 1], [20, 0, 1]], requires_grad=True)
    [found] = torch.autograd.grad(log_odds(output, torch.zeros(3, dtype=int)).sum(), output)
    precise = output.detach().double().requires_grad_()
    [expected] = torch.autograd.grad((precise[:, 0] - precise[:, 1:].logsumexp(1)).sum(), precise)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_rows_joined_to_longer_ones_have_the_same_losses(texts):
    short = tuple(part[:, :4] for part in texts.stimuli)
    inputs, targets = joined(short, texts.probes)
    found = texts.losses(texts.model(inputs), targets)
    expected = [texts.loss(texts.model(x[None]), y[None]) for x, y in [*zip(*short), *zip(*texts.probes)]]
    torch.testing.assert_close(found, torch.stack(expected))


def test_targets_are_drawn_from_the_prediction_and_only_where_there_are_any():
    chances = torch.tensor([0.7, 0.1, 0.2])
    targets = torch.zeros(4000, 2, dtype=int)
    targets[:, 1] = IGNORED
    drawn = sampled(chances.log().expand(4000, 2, 3), targets)
    assert (drawn[:, 1] == IGNORED).all()
    torch.testing.assert_close(drawn[:, 0].bincount() / 4000, chances, atol=0.03, rtol=0)


def test_a_small_step_does_what_first_order_says_and_a_method_that_fails_is_noted(subject, monkeypatch):
    def broken(case):
        raise ImportError("No module named 'trak'")

    monkeypatch.setattr(
        attribution, "PREDICTIONS", {"first order": PREDICTIONS["first order"], "TRAK": Prediction(broken)}
    )
    notes = []
    table = pd.DataFrame(compare(subject, SIZE, dict(predict(subject, notes)), notes))
    assert notes == ["a network: no TRAK, ImportError: No module named 'trak'"]
    assert len(table) == len(SIZE.factors) * len(SIZE.steps) * len(STATISTICS)
    assert (table["effect"] > 0.99).all() and table["diverged"].sum() == 0
    for (rate, steps), rows in table.groupby(["learning_rate", "steps"]):
        update = replace(subject.case.update, learning_rate=rate, steps=steps)
        exact = replace(subject.case, update=update).influence("reference")
        assert rows["direct_influence"].iloc[0] == pytest.approx(exact.diagonal().mean(), rel=1e-3)


def test_a_prediction_is_the_same_at_every_rate_and_number_of_steps_but_for_its_scale(case):
    """Why each is asked for once."""
    one = case.influence("first_order")
    more = replace(case, update=Update(learning_rate=0.05, steps=4)).influence("first_order")
    np.testing.assert_allclose(more / one, 5 * 4, rtol=1e-4)


@pytest.fixture
def table():
    """Of two subjects, one without TRAK; its effects are noise."""
    generator = np.random.default_rng(0)
    rows = []
    for name, steps, rate in itertools.product(("a network", "another | network"), SIZE.steps, (0.001, 0.01)):
        told = {"subject": name, "steps": steps, "learning_rate": rate, "calibrated_rate": 0.01}
        told |= {"direct_influence": 0.1, "diverged": 0, "stimuli": 6, "probes": 60, "seconds": 1.0}
        for method, prediction in PREDICTIONS.items():
            for readout, statistic in itertools.product(prediction.readouts, STATISTICS):
                low, effect, high = np.sort(generator.uniform(size=3))
                judged = {"statistic": statistic, "effect": effect, "low": low, "high": high}
                rows += [told | {"prediction": method, "readout": readout} | judged]
    table = pd.DataFrame(rows)
    return table[(table["subject"] == "a network") | (table["prediction"] != "TRAK")].reset_index(drop=True)


def test_the_page_has_a_row_for_each_setting_and_statistic_and_gaps_where_a_prediction_is_missing(table):
    written = page(table, {"processor": "one"}, ["another | network: no TRAK"])
    head, _, *rows = [line for line in written.splitlines() if line.startswith("|")]
    cells = [row.replace("another \\| network", "another").split("|")[1:-1] for row in rows]
    assert len(rows) == 2 * len(SIZE.factors) * len(SIZE.steps) * len(STATISTICS)
    assert {len(row) for row in cells} == {len(head.split("|")) - 2}
    assert [row[-1].strip() != "" for row in cells] == [True] * (len(rows) // 2) + [False] * (len(rows) // 2)


def test_the_figure_has_a_panel_for_each_subject_statistic_and_number_of_steps(table, tmp_path):
    figure = draw(table)
    panels = figure.get_axes()
    assert len(panels) == 2 * 2 * len(SIZE.steps)
    for number, axes in enumerate(panels):
        named = [line.get_label() for line in axes.get_lines() if line.get_label() in LOOKS]
        assert named == [name for name in LOOKS if number < len(panels) / 2 or "TRAK" not in name]
    write(table, {"processor": "one"}, [], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "table.parquet", "table.md", "figure.png", "figure.pdf", "figure.md"
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


def test_training_on_all_and_on_all_but_one_differ_by_the_influence_of_leaving_it_out(case):
    exact = measure_influence(
        case.model, case.loss, case.stimuli, case.probes, update=case.update, perturbation="exclude"
    )
    everything = np.arange(6)
    without = plain_loop(case, [np.delete(everything, left_out) for left_out in range(6)])
    np.testing.assert_allclose(plain_loop(case, [everything]) - without, exact.values, atol=1e-6)


def test_small_steps_on_sets_are_ranked_by_the_exact_influence_of_each_and_not_by_what_is_made_up(subject, tmp_path):
    made_up = np.random.default_rng(0).normal(size=(6, 6))
    notes = []
    predicted = {"made up": (made_up, 1.0), "diverged": (made_up * np.nan, 1.0)}
    table = pd.DataFrame(measures(subject, predicted, 1, 20, notes))
    [note] = notes
    assert note.startswith("a network, diverged: not held to sets, scores must be finite")
    value = table.set_index(["prediction", "measure"])["value"]
    assert value[EXACT, "lds"] > 0.99 and abs(value["made up", "lds"]) < 0.8
    assert value[EXACT, "leave_one_out"] > 0.99
    assert (table["off_loop"] < 1e-4).all() and (table["seconds_of_loop"] > 0).all()


def test_verdicts_stand_beside_those_of_the_exact_array_and_of_learners(subject):
    task = load_task("ontology", worlds=8, stimuli_per_world=2)
    right = np.isin(task.relation, ("direct", "entailed"))
    right = right + np.random.default_rng(0).normal(scale=0.1, size=right.shape)
    told = replace(subject, task=task, case=SimpleNamespace(influence=lambda: right))
    judged = pd.DataFrame(verdicts(told, {"turned round": (-right, 1.0)}))
    logic = judged[judged["desideratum"] == "logic"].set_index("prediction")["verdict"]
    assert logic[EXACT] == logic["learner: perfect"] == "satisfied"
    assert logic["turned round"] == "inconclusive"  # it teaches the opposite, so that there is nothing to judge
    assert told.probe_units.max() == 7
    rows = measures(subject, {"made up": (np.eye(6), 1.0)}, 1, 20, [])
    written = truth_page(pd.DataFrame(rows), judged)
    assert "| made up |" in written and "| learner: perfect |" in written and "20 random halves" in written


def test_a_quick_run_has_the_same_statistics_and_the_calibrated_rate():
    assert 1 in FULL.factors and 1 in QUICK.factors
    assert set(QUICK.steps) < set(FULL.steps)


# With the libraries installed, as for `make attribution` --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["case", "texts"])
def test_tracin_of_captum_is_first_order(kind, request):
    pytest.importorskip("captum", reason="the extra attribution is not installed")
    case = request.getfixturevalue(kind)
    np.testing.assert_allclose(peer_scores("captum_tracin", case), case.influence("first_order"), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["case", "texts"])
def test_ek_fac_of_kronfluence_is_first_order_of_linear_layers_where_damping_drowns_the_curvature(kind, request):
    pytest.importorskip("kronfluence", reason="the extra attribution is not installed")
    case = request.getfixturevalue(kind)
    found = scores(case, damping=1e6)
    for module in case.model.modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(isinstance(module, nn.Linear | nn.Conv2d))
    expected = replace(case, method=None).influence("first_order")
    ratio = np.vdot(found, expected) / np.vdot(expected, expected)
    assert ratio > 0
    np.testing.assert_allclose(found / ratio, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["case", "texts"])
def test_trak_of_traker_is_its_formula(kind, request):
    """Gradients of the log-odds one by one, projected by the same matrix, and a plain inverse."""
    pytest.importorskip("trak", reason="the extra attribution is not installed")
    from trak.projectors import BasicProjector, ProjectionType

    case = request.getfixturevalue(kind)
    rows = joined(case.stimuli, case.training) if case.training else case.stimuli
    size = max(2, len(rows[1]) // 3)
    count = parameters(case.model)
    projector = BasicProjector(count, size, 0, ProjectionType.normal, "cpu", block_size=math.ceil(size / 2))
    matrix = projector.project(torch.eye(count), 0)

    def features(inputs, targets):
        slopes = [
            torch.autograd.grad(log_odds(case.model(x[None]), y[None])[0], list(case.model.parameters()))
            for x, y in zip(inputs, targets)
        ]
        return torch.stack([torch.cat([s.flatten() for s in own]) for own in slopes]) @ matrix / count**0.5

    phi, asked = features(*rows), features(*case.probes)
    chances = torch.stack([log_odds(case.model(x[None]), y[None])[0].sigmoid() for x, y in zip(*rows)])
    lengths = (rows[1] != IGNORED).reshape(len(rows[1]), -1).sum(1)
    inverse = torch.linalg.inv(phi.T @ phi)
    inverse /= inverse.abs().mean()  # the library's scale
    expected = (asked @ inverse @ (phi * ((1 - chances) / lengths)[:, None]).T).T
    found = peer_scores("traker_trak", case)
    np.testing.assert_allclose(found, expected[: len(case.stimuli[1])].detach(), rtol=0.02, atol=1e-4)
