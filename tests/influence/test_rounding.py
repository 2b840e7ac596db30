"""No learning rate gives silent zeros: it is computed, or refused; and what is fine is not refused."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch
from eif_lab.influence.per_sample.alone import BaseGradients
from eif_lab.influence.problem import Problem
from eif_lab.influence.resources.precision import (
    LARGEST_LOSS,
    LostToRounding,
    lost_share,
    must_hold_update,
    resolution,
    step_per_rate,
)
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import OPTIMIZERS, Update
from eif_lab.readouts.classes import log_prob
from eif_lab.readouts.readout import READOUTS, named_readouts

UPDATES = [
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "sgd", "weight_decay": 0.1, "gradient_clip": 0.05},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


def name_of(update):
    return "-".join([update["optimizer"], *(name for name in update if name != "optimizer")])


def single(net, batch):
    """The model and samples in float32."""
    return net.float(), (batch[0].float(), batch[1])


def lost_to_rounding(problem):
    """The share of the first step that rounding takes."""
    return lost_share(problem, BaseGradients(problem))


def problem_of(model, batch, update, **more):
    model.eval()
    members = torch.arange(len(batch[1]))[:, None]
    data = Batch(*batch)
    return Problem(
        Snapshot(model, 2**30),
        F.cross_entropy,
        data,
        members,
        data,
        named_readouts("log_prob"),
        Update(**update),
        **more,
    )


@pytest.mark.parametrize("engine", ["stacked", "reference"])
@pytest.mark.parametrize("rate", [1e-10, 1e-20, 1e-200])
@pytest.mark.parametrize("update", UPDATES, ids=name_of)
def test_rate_that_float32_rounds_away_is_refused_in_one_line(net, batch, update, rate, engine):
    model, stimuli = single(net, batch)
    message = rf"^update.learning_rate must be large enough for float32 to hold .* got {rate}. Try a larger rate, "
    with pytest.raises(ConfigError, match=message) as caught:
        measure_influence(
            model, F.cross_entropy, stimuli, stimuli, update={**update, "learning_rate": rate}, engine=engine
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("update", UPDATES, ids=name_of)
def test_the_same_rate_is_computed_in_float64(net, batch, update):
    """And right: what it does is proportional to it."""
    arrays = [
        measure_influence(net, F.cross_entropy, batch, batch, update={**update, "learning_rate": rate}).values / rate
        for rate in (1e-6, 1e-8)
    ]
    np.testing.assert_allclose(arrays[0], arrays[1], rtol=1e-4, atol=1e-4 * np.abs(arrays[0]).max())


@pytest.mark.parametrize("update", UPDATES, ids=name_of)
def test_step_per_rate_is_the_optimizers_step(net, batch, update):
    """Taken at a rate at which float64 loses nothing that counts."""
    rate = 1e-3
    recipe = Update(learning_rate=rate, **update)
    generator = torch.Generator().manual_seed(0)
    parameter, gradient = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    stepped = parameter.clone()
    stepped.grad = gradient.clone()
    recipe.make_optimizer([stepped]).step()
    torch.testing.assert_close(step_per_rate(recipe, parameter, gradient), (stepped - parameter) / rate)


def test_lost_share_is_that_of_steps_written_by_hand(net, batch):
    """With SGD, over all stimuli, where no parameter is too large to be looked at whole."""
    model, stimuli = single(net.eval(), batch)
    rate = 1e-8
    lost = moved = 0.0
    for i in range(7):
        loss = F.cross_entropy(model(stimuli[0][i : i + 1]), stimuli[1][i : i + 1])
        for parameter, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
            kept = (parameter - rate * gradient).detach().double() - parameter.detach().double()
            lost += float((kept + rate * gradient.double()).square().sum())
            moved += float((rate * gradient.double()).square().sum())
    assert LARGEST_LOSS < (lost / moved) ** 0.5 < 0.95  # or it would show nothing
    problem = problem_of(model, stimuli, {"learning_rate": rate})
    assert np.isclose(lost_to_rounding(problem), (lost / moved) ** 0.5, rtol=1e-3)


def test_clipping_is_part_of_the_step_that_has_to_be_held(net, batch):
    model, stimuli = single(net, batch)
    update = {"learning_rate": 1e-2}
    assert lost_to_rounding(problem_of(model, stimuli, update)) <= LARGEST_LOSS
    assert lost_to_rounding(problem_of(model, stimuli, {**update, "gradient_clip": 1e-7})) > LARGEST_LOSS


def test_a_sample_of_a_large_parameter_tells_what_the_whole_does(batch, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 500), nn.ReLU(), nn.Linear(500, 3))
    problem = problem_of(model, (batch[0].float(), batch[1]), {"learning_rate": 3e-6})
    whole = lost_to_rounding(problem)
    monkeypatch.setattr("eif_lab.influence.resources.precision.MOST_ELEMENTS", 1000)
    sample = lost_to_rounding(problem)
    assert sample != whole and np.isclose(sample, whole, rtol=0.2)


@pytest.mark.parametrize("engine", ["stacked", "auto"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_influence_is_signal_wherever_it_is_not_refused(net, batch, method, engine):
    """Down the rates float32 follows float64, until it is refused; and it is not refused while it does so closely."""
    model, stimuli = single(copy.deepcopy(net), batch)
    exact = copy.deepcopy(model).double()
    twin = (stimuli[0].double(), stimuli[1])
    refused = []
    for rate in 10.0 ** -np.arange(1, 12):
        options = {"method": method, "update": {"learning_rate": float(rate)}}
        expected = measure_influence(exact, F.cross_entropy, twin, twin, **options).values
        try:
            array = measure_influence(model, F.cross_entropy, stimuli, stimuli, **options, engine=engine).values
        except LostToRounding:
            refused.append(rate)
        else:
            assert not refused, "a rate is refused above one that is not"
            error = np.linalg.norm(array - expected) / np.linalg.norm(expected)
            assert error < 0.3, rate
    assert refused and max(refused) < 1e-6


@pytest.mark.parametrize("method", ["lora", "adapter", "ia3"])
def test_rate_that_the_readouts_cannot_show_is_refused(net, batch, method):
    """What LoRA and adapters start at zero holds any rate; the sums that it goes into do not."""
    model, stimuli = single(net, batch)
    for rate in (1e-10, 1e-20):
        with pytest.raises(LostToRounding, match=r"^update.learning_rate must be large enough"):
            measure_influence(model, F.cross_entropy, stimuli, stimuli, method=method, update={"learning_rate": rate})


@pytest.mark.parametrize("readout", ["log_prob", "log_odds", "prob", ["rank", "prob"], "own"])
def test_every_real_valued_readout_is_held_to_its_resolution(net, batch, readout):
    model, stimuli = single(net, batch)

    def own(output, target):
        return output.square().sum(-1)

    with pytest.raises(LostToRounding, match="by more than rounding does"):
        measure_influence(
            model,
            F.cross_entropy,
            stimuli,
            stimuli,
            method="lora",
            readout=own if readout == "own" else readout,
            update={"learning_rate": 1e-10},
        )


def test_readouts_that_count_are_not_held_to_it(net, batch):
    model, stimuli = single(net, batch)

    def among_two(output, target):
        return (output.topk(2).indices == target[:, None]).any(-1)

    array = measure_influence(
        model,
        F.cross_entropy,
        stimuli,
        stimuli,
        method="lora",
        readout=["rank", "correct", among_two],
        update={"learning_rate": 1e-10},
    )
    assert array.shape == (7, 7, 3) and (array.values == 0).all()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_zero_rate_is_never_refused_and_gives_zeros(net, batch, method):
    model, stimuli = single(net, batch)
    update = {"learning_rate": 0.0, "weight_decay": 0.1}
    array = measure_influence(model, F.cross_entropy, stimuli, stimuli, method=method, update=update)
    assert (array.values == 0).all()


def sure_of(model, stimuli, rows):
    """The model, trained until those stimuli have (next to) no gradient."""
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(stimuli[0][rows]), stimuli[1][rows]).backward()
        optimizer.step()
    return model


def test_stimuli_that_the_model_is_sure_of_do_not_cost_the_others_their_array(net, batch):
    """Their updates are lost, the first ones' too, and beside the others' they are nothing."""
    model, stimuli = single(net.eval(), batch)
    wrong = (stimuli[0], stimuli[1].clone())
    wrong[1][6] = (wrong[1][6] + 1) % 3
    sure_of(model, stimuli, slice(0, 7))
    alone = problem_of(model, (wrong[0][:1], wrong[1][:1]), {"learning_rate": 1e-3})
    assert lost_to_rounding(alone) > LARGEST_LOSS, "the model is not sure enough for this test"
    array = measure_influence(model, F.cross_entropy, wrong, wrong, update={"learning_rate": 1e-3})
    assert np.abs(array.values[6]).max() > 1e-3 > np.abs(array.values[:6]).max()


def test_zeros_that_are_true_are_not_refused(batch):
    """A margin that is kept has no gradient, at any rate."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    stimuli = (batch[0].float(), batch[1])

    def kept_margin(output, target):
        return F.relu(output.sum(-1) - 1e6).mean()

    array = measure_influence(model, kept_margin, stimuli, stimuli, update={"learning_rate": 0.1})
    assert (array.values == 0).all()


def test_stimuli_that_diverge_say_nothing_about_the_rate(net, batch):
    model, stimuli = single(net, batch)
    broken = stimuli[0].clone()
    broken[:6] = float("inf")
    update = {"learning_rate": 1e-2}
    array = measure_influence(model, F.cross_entropy, (broken, stimuli[1]), stimuli, update=update)
    assert np.isnan(array.values[:6]).all() and np.isfinite(array.values[6]).all()
    with pytest.raises(LostToRounding):
        problem = problem_of(model.requires_grad_(True), (broken, stimuli[1]), {"learning_rate": 1e-12})
        must_hold_update(problem, BaseGradients(problem))


def test_exclude_is_held_to_the_same_rule(net, batch):
    model, stimuli = single(net, batch)
    with pytest.raises(LostToRounding):
        measure_influence(
            model, F.cross_entropy, stimuli, stimuli, perturbation="exclude", update={"learning_rate": 1e-10}
        )


def test_calibration_passes_over_rates_that_are_refused(net, batch, monkeypatch):
    """The search starts where float32 holds nothing, and ends where it is asked to."""
    model, stimuli = single(net, batch)
    monkeypatch.setitem(OPTIMIZERS, "sgd", replace(OPTIMIZERS["sgd"], first_rate=1e-11))
    found = calibrate(model, F.cross_entropy, stimuli, update=Update(headroom=0.3))
    assert found.reached and found.learning_rate > 1e-4


def test_calibration_does_not_settle_on_a_rate_that_is_refused(net, batch, monkeypatch):
    """Where no rate teaches, one that can be measured is returned, and that it is not what was sought is said."""
    model, stimuli = single(net, batch)
    monkeypatch.setitem(OPTIMIZERS, "sgd", replace(OPTIMIZERS["sgd"], first_rate=1e-9))

    def opposite(output, target):
        return -F.cross_entropy(output, target)

    found = calibrate(model, opposite, stimuli)
    assert not found.reached
    measure_influence(model, opposite, stimuli, stimuli, update={"learning_rate": found.learning_rate})


@pytest.mark.parametrize("probability", [1e-30, 1e-3, 0.5, 1.0])
def test_probability_is_resolved_as_its_logarithm_is(probability):
    value = torch.tensor([probability])
    error_of_log = resolution(READOUTS["log_prob"], value.log(), 0.0)
    assert np.isclose(resolution(READOUTS["prob"], value, 0.0), probability * error_of_log, rtol=1e-5)


def test_low_precision_resolves_less(net, batch):
    """In bfloat16 a rate gives noise that in float32 is computed."""
    generator = torch.Generator().manual_seed(0)
    noisy = {"learning_rate": 1e-4}
    for precision in (torch.float32, torch.bfloat16):
        model = copy.deepcopy(net).to(precision)
        stimuli = (torch.randn(7, 1, 6, 6, generator=generator).to(precision), batch[1])

        def loss(output, target):
            return F.cross_entropy(output.float(), target)

        def measured(update, model=model, stimuli=stimuli):
            return measure_influence(model, loss, stimuli, stimuli, method="lora", update=update, engine="reference")

        assert np.abs(measured({"learning_rate": 0.3})).max() > 0.1
        if precision == torch.float32:
            assert np.abs(measured(noisy)).max() > 0
        else:
            with pytest.raises(LostToRounding, match="by more than rounding does"):
                measured(noisy)


def test_one_readout_that_moves_speaks_for_the_others(net, batch):
    """A sum that hides the change does not cost the readout that shows it."""
    model, stimuli = single(net, batch)

    def hidden(output, target):
        return 1e5 + output.sum(-1)

    with pytest.raises(LostToRounding, match="to move hidden by more"):
        measure_influence(model, F.cross_entropy, stimuli, stimuli, readout=hidden)
    array = measure_influence(model, F.cross_entropy, stimuli, stimuli, readout=[hidden, "log_prob"])
    assert np.abs(array.sel(readout="log_prob")).max() > 1e-4


def test_own_readouts_of_any_precision_are_read(net, batch):
    """Also those that numpy has no type for."""
    model, stimuli = single(net, batch)

    def coarse(output, target):
        return output.sum(-1).bfloat16()

    def first_is_largest(output, target):
        return output.argmax(-1) == 0

    update = {"learning_rate": 1.0}
    both = measure_influence(
        model, F.cross_entropy, stimuli, stimuli, readout=[coarse, first_is_largest], update=update
    )
    assert both.dtype == np.float32 and np.abs(both.sel(readout="coarse")).max() > 0.1
    for readout in (coarse, first_is_largest):
        alone = measure_influence(model, F.cross_entropy, stimuli, stimuli, readout=readout, update=update)
        assert alone.dtype == np.float32
    assert set(np.unique(alone)) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("wanted", ["tf32", "ieee"])
def test_convolutions_are_not_rounded_to_tf32_while_measuring(net, batch, wanted):
    """As CUDA does by default; seen from within, since a CPU does not."""
    convolution = torch.backends.cudnn.conv
    before, seen = convolution.fp32_precision, []

    def watching(output, target):
        seen.append((convolution.fp32_precision, torch.backends.cudnn.allow_tf32))
        return log_prob(output, target)

    try:
        torch.backends.cudnn.allow_tf32 = wanted == "tf32"
        convolution.fp32_precision = wanted
        measure_influence(net, F.cross_entropy, batch, batch, readout=watching)
        assert set(seen) == {("ieee", False)} and convolution.fp32_precision == wanted
    finally:
        torch.backends.cudnn.allow_tf32 = before == "tf32"
        convolution.fp32_precision = before
