"""The search for a learning rate, on curves whose best rate is known and on a network."""

from __future__ import annotations

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
from eif_lab.influence.measurement import Measurement
from eif_lab.influence.update import OPTIMIZERS, Update


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
