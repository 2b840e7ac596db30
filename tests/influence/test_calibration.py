"""The search for a learning rate, on curves whose best rate is known and on a network."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.engines import batched
from eif_lab.influence.learning_rate import search
from eif_lab.influence.measurement import Measurement
from eif_lab.influence.per_sample.recheck import Recheck
from eif_lab.influence.update import OPTIMIZERS, Update
from eif_lab.influence.yardstick import Taught, Yardstick, draw_rows


@pytest.fixture
def curve(monkeypatch):
    """Makes `calibrate` search a curve of rates in place of a model, and counts what it tries."""

    def search(direct, target, start=0.01):
        tried = []

        def measured(_, update):
            tried.append(update.learning_rate)
            return np.full((2, 1, 2, 1), direct(update.learning_rate))

        monkeypatch.setattr(Measurement, "influence", measured)
        monkeypatch.setitem(OPTIMIZERS, "sgd", replace(OPTIMIZERS["sgd"], first_rate=start))
        batch = torch.zeros(2, 3), torch.tensor([0, 1])
        found = calibrate(nn.Linear(3, 2), F.cross_entropy, batch, update=Update(strength=target))
        return SimpleNamespace(found=found, tried=tried)

    return search


def hill(peak, height=1.0, width=1.0):
    """Rises with the rate, peaks, and falls below zero: ``height`` at ``peak``, as one step of SGD on a quadratic."""
    return lambda rate: height * (1 - (1 - (rate / peak) ** width) ** 2)


@pytest.mark.parametrize("peak", [1e-6, 2e-4, 5.1e-3, 5.6e-3, 7e-3, 0.01, 0.013, 0.05, 30.0])
@pytest.mark.parametrize("target", [0.05, 0.5, 0.95])
def test_the_rate_is_found_on_the_rising_side_wherever_the_search_starts(curve, peak, target):
    """From a start that is far too low, teaches too much, overshoots and teaches a little, or does harm."""
    result = curve(hill(peak), target)
    exact = peak * (1 - math.sqrt(1 - target))
    assert result.found.reached and result.found.learning_rate <= peak
    assert hill(peak)(result.found.learning_rate) == pytest.approx(target, rel=0.1)
    assert result.found.learning_rate == pytest.approx(exact, rel=0.5)


def test_each_rate_that_is_tried_is_told_with_what_it_teaches(curve, caplog):
    with caplog.at_level(logging.INFO, logger="eif_lab.influence.learning_rate"):
        tried = curve(hill(0.05), 0.5).tried
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"calibrating: trial {place}, learning rate {rate:.3g} teaches {hill(0.05)(rate):.3g} nat, 0.5 asked for"
        for place, rate in enumerate(tried, 1)
    ]


def test_a_start_that_overshoots_and_still_teaches_a_little_is_left_downwards(curve):
    peak = 0.0052
    assert 0 < hill(peak)(0.01) < 0.5 and hill(peak)(0.04) < hill(peak)(0.01)
    assert curve(hill(peak), 0.5).found.reached


@pytest.mark.parametrize("peak", [1e-4, 0.006, 0.01, 0.02, 1.0])
def test_a_target_above_the_peak_is_said_to_be_missed_and_the_best_rate_is_kept(curve, peak):
    result = curve(hill(peak), 1.5)
    assert not result.found.reached
    assert result.found.strength == max(hill(peak)(rate) for rate in result.tried)
    assert result.found.strength > 0.95


def test_a_peak_narrower_than_the_steps_is_climbed(curve):
    """Between two rates that are tried, four times apart, neither of which reaches the target."""
    narrow = hill(0.02, width=4.0)
    assert max(narrow(0.01), narrow(0.04)) < 0.9
    assert curve(narrow, 0.9).found.reached


@pytest.mark.parametrize("peak", [2e-4, 0.0052, 0.05, 1.0])
def test_the_search_is_short(curve, peak):
    """No more than the steps of four to the target, twice, and a few within the last one."""
    steps = abs(math.log(peak / 0.01, 4))
    assert len(curve(hill(peak), 0.5).tried) <= 2 * steps + 7
    assert len(set(curve(hill(peak), 0.5).tried)) == len(curve(hill(peak), 0.5).tried)


def test_where_nothing_teaches_the_search_ends(curve):
    for direct in (lambda rate: -rate, lambda _: 0.0, lambda _: math.nan):
        assert not curve(direct, 0.5).found.reached


def overshooting(peak, height=1.0, seed=0):
    """Strength and influence on itself: both rise up to the peak, and well beyond it strength is any number."""

    def taught(rate):
        share = rate / peak
        if share <= 1.3:
            return Taught(height * min(share, 1), 10 * min(share, 2 - share))
        drawn = np.random.default_rng([seed, int(1e9 * math.log(share))])
        return Taught(float(drawn.normal(scale=5 * height)), 10 * (2 - share))

    return taught


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("peak", [1e-6, 2e-4, 5.6e-3, 0.013, 0.05, 1.0])
def test_no_rate_is_taken_beyond_the_one_at_which_stimuli_gain_most_on_themselves(peak, seed):
    """There, a difference of differences is often what was asked for, and so it is at this search's first rate."""
    for target in (0.3, 5.0):
        found = search(overshooting(peak, seed=seed), target, Update())
        assert found.learning_rate <= 1.3 * peak and found.reached == (target < 1)
        assert found.strength == pytest.approx(min(target, 1.0), rel=0.25)


@pytest.mark.parametrize("noise", [-1e-7, 1e-7])
def test_a_strength_below_rounding_at_the_first_rate_is_left_upwards(noise):
    """The first rate is far too low for a method; what is read there has any sign."""
    found = search(lambda rate: Taught(noise if rate < 1 else rate / 100, rate / 10), 0.5, Update())
    assert found.reached and found.learning_rate == pytest.approx(50, rel=0.1)


def test_a_strength_below_zero_at_small_rates_is_left_upwards_where_stimuli_gain_on_themselves():
    """What a method moves first may be the foils; no lower rate teaches more then."""
    tried = []

    def taught(rate):
        tried.append(rate)
        return Taught(1e4 * rate**2 - rate, 10 * rate)

    assert search(taught, 0.5, Update(optimizer="adam")).reached
    assert min(tried) >= 1e-4 / 4 and len(tried) < 8


@pytest.mark.parametrize("power", [0.4, 0.7, 1.0, 1.5])
def test_a_strength_that_is_a_power_of_the_rate_is_found_in_few_trials(power):
    for start, most in ((0.1, 5), (0.6, 4), (3.0, 6), (10.0, 6)):
        found = search(lambda rate: Taught(start * (rate / 0.01) ** power, rate), 1.0, Update())  # noqa: B023
        assert found.reached and found.trials <= (2 if power == 1 else most)


@pytest.mark.parametrize("strength", [lambda rate: -rate, lambda rate: -min(rate, 1e-3), lambda _: 0.0])
def test_a_strength_that_is_never_above_zero_is_missed_at_no_rate_that_has_overshot(strength):
    found = search(lambda rate: Taught(strength(rate), hill(0.05)(rate)), 0.5, Update())
    assert not found.reached and found.strength <= 0 and hill(0.05)(found.learning_rate) > 0


def test_a_rate_at_which_any_stimulus_diverges_is_not_taken(curve):
    """The median of the others may be what was asked for."""
    diverges = lambda rate: np.array([rate, rate, math.nan if rate > 0.05 else rate])  # noqa: E731
    itself = Yardstick(*[np.eye(3)] * 3)
    assert itself.taught(np.diag(diverges(0.04))).strength == 0.04
    found = search(lambda rate: itself.taught(np.diag(diverges(rate))), 0.2, Update())
    assert not found.reached and 0.02 < found.strength <= 0.05


@pytest.fixture
def taught_on_others(net, batch):
    """A batch of probes, and weights of a difference of differences on them, for each of the stimuli."""
    draw = torch.Generator().manual_seed(1)
    probes = torch.randn(9, *batch[0].shape[1:], generator=draw, dtype=batch[0].dtype), torch.arange(9) % 3
    inputs = torch.cat([batch[0], probes[0]]), torch.cat([batch[1], probes[1]])
    stimuli = len(batch[1])
    own = np.eye(stimuli, len(inputs[1]))
    weights = own.copy()
    for i in range(stimuli):
        weights[i, [stimuli + i, stimuli + i + 1, stimuli + (i + 4) % 9]] = -1, -1, 1
    return inputs, Yardstick(weights, own, own)


def alone(net, batch, probes, recipe):
    """What each stimulus does to each probe: one after the other, by torch alone."""
    net, rows = net.eval(), []
    for row in range(len(batch[1])):
        one = copy.deepcopy(net)
        optimizer = torch.optim.SGD(one.parameters(), lr=recipe.rate)
        for _ in range(recipe.steps):
            optimizer.zero_grad()
            F.cross_entropy(one(batch[0][[row]]), batch[1][[row]]).backward()
            optimizer.step()
        with torch.no_grad():
            both = [F.log_softmax(one_of(probes[0]), -1)[range(len(probes[1])), probes[1]] for one_of in (one, net)]
        rows.append((both[0] - both[1]).numpy())
    return np.array(rows)


def test_the_strength_that_is_found_is_that_of_training_alone_and_reading_by_hand(net, batch, taught_on_others):
    probes, yardstick = taught_on_others
    asked = Update(strength=0.05, steps=3)
    found = calibrate(net, F.cross_entropy, batch, probes=probes, yardstick=yardstick, update=asked)
    array = alone(net, batch, probes, replace(asked, learning_rate=found.learning_rate))
    strengths = [sum(w * cell for w, cell in zip(*row)) for row in zip(yardstick.weights, array)]
    assert found.reached and found.strength == pytest.approx(np.median(strengths), rel=1e-6)
    assert found.stimuli == len(batch[1]) and found.yardstick == "stated clozes less their foils"


def test_by_default_a_share_of_what_stimuli_state_is_asked_for(net, batch, taught_on_others):
    probes, yardstick = taught_on_others
    found = calibrate(net, F.cross_entropy, batch, probes=probes, yardstick=yardstick, update={"headroom": 0.05})
    with torch.no_grad():
        before = F.cross_entropy(net.eval()(batch[0]), batch[1], reduction="none").numpy()
    assert found.target == pytest.approx(0.05 * np.median(before))


def test_as_many_stimuli_as_are_asked_for_are_drawn_and_what_they_need_is_read(net, batch, taught_on_others):
    probes, yardstick = taught_on_others
    asked = {"strength": 0.05, "calibration_stimuli": 3}
    found = calibrate(net, F.cross_entropy, batch, probes=probes, yardstick=yardstick, update=asked)
    rows = draw_rows(len(batch[1]), 3)
    some, columns = yardstick.take(rows)
    assert found.stimuli == len(rows) == 3 and len(columns) < len(probes[1])
    array = alone(net, batch, probes, Update(learning_rate=found.learning_rate))[rows][:, columns]
    assert found.strength == pytest.approx(some.taught(array).strength, rel=1e-6)
    assert draw_rows(7, None).tolist() == draw_rows(7, 9).tolist() == list(range(7))


def test_the_search_reads_of_each_stimulus_no_more_than_its_yardstick_needs(net, batch, taught_on_others, monkeypatch):
    probes, yardstick = taught_on_others
    measured = []
    influence = Measurement.influence

    def noted(measurement, *args):
        array = influence(measurement, *args)
        measured.append(array[:, 0, :, 0])
        return array

    monkeypatch.setattr(Measurement, "influence", noted)
    for given, needed in (
        ({"probes": probes, "yardstick": yardstick}, yardstick.needed),
        ({}, np.eye(len(batch[1]), dtype=bool)),
    ):
        measured.clear()
        calibrate(net, F.cross_entropy, batch, update={"strength": 0.05}, **given)
        assert measured
        for array in measured:
            np.testing.assert_array_equal(np.isfinite(array), needed)


def test_the_search_does_a_stimulus_again_alone_at_its_first_rate(net, batch, monkeypatch):
    """What is measured at the rate that it finds is checked again."""
    found, checks = [], []
    monkeypatch.setattr(batched, "Recheck", lambda *given: checks.append(len(found)) or Recheck(*given))
    influence = Measurement.influence
    monkeypatch.setattr(Measurement, "influence", lambda *given: found.append(0) or influence(*given))
    calibrate(net, F.cross_entropy, batch, update={"strength": 0.05, "steps": 2})
    assert len(found) > 1 and set(checks) == {1}
    measure_influence(net, F.cross_entropy, batch, batch, update={"learning_rate": 0.1, "steps": 2})
    assert len(set(checks)) == 2


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((np.eye(2), np.eye(2), np.zeros((2, 2))), "yardstick.own must be finite, and weigh a probe for each stimulus"),
        ((np.full((2, 2), np.nan), np.eye(2), np.eye(2)), "yardstick.weights must be finite"),
    ],
)
def test_a_yardstick_that_does_not_weigh_each_stimulus_is_refused(cells, message):
    with pytest.raises(ConfigError, match=message):
        Yardstick(*cells)


def test_probes_and_yardstick_are_given_together_and_fit(net, batch, taught_on_others):
    probes, yardstick = taught_on_others
    for given, message in (
        ({"probes": probes}, "yardstick must be given where the other"),
        ({"yardstick": yardstick}, "probes must be given where the other"),
        ({"probes": batch, "yardstick": yardstick}, r"yardstick must be \(stimuli, probes\), \(7, 7\), got \(7, 16\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            calibrate(net, F.cross_entropy, batch, **given)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_methods_are_matched_at_the_nats_that_were_asked_for(net, batch, method):
    asked = Update(strength=0.2, headroom=0.9, steps=2)
    found = calibrate(net, F.cross_entropy, batch, method=method, update=asked)
    array = measure_influence(
        net, F.cross_entropy, batch, batch, method=method, update={"learning_rate": found.learning_rate, "steps": 2}
    )
    assert found.reached and found.target == 0.2
    assert np.diagonal(array).mean() == pytest.approx(0.2, rel=0.1)


def test_a_target_that_is_not_above_zero_is_refused():
    with pytest.raises(ConfigError, match=r"update.strength must be above 0, got 0.0. Try 0.1 \(nat\)"):
        Update(strength=0.0)


def test_the_former_option_is_answered_with_the_one_in_its_place(net, batch):
    message = "update.direct_influence must be left out, since update.strength stands in its place, got 0.5. Try update"
    with pytest.raises(ConfigError, match=message):
        calibrate(net, F.cross_entropy, batch, update={"direct_influence": 0.5})
