"""What the public function admits, refuses and returns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import as_batch
from eif_lab.influence.update import Update


def test_data_sets_and_pairs_of_tensors_give_the_same_array(net, batch):
    pairs = measure_influence(net, F.cross_entropy, batch, batch)
    sets = measure_influence(net, F.cross_entropy, TensorDataset(*batch), TensorDataset(*batch))
    np.testing.assert_array_equal(pairs, sets)
    assert pairs.dims == ("stimulus", "probe")


def test_attributes_say_unit_sign_and_engine(net, batch):
    array = measure_influence(net, F.cross_entropy, batch, batch, readout=["prob", "log_prob"])
    assert json.loads(array.attrs["units"]) == {"prob": "probability", "log_prob": "nat"}
    assert "positive means" in array.attrs["sign"] and array.attrs["perturbation"] == "include"


def test_own_loss_and_readout_of_a_regression(batch):
    """Of a linear regression the one-step change of every prediction is known in closed form."""
    x = batch[0].flatten(1)
    y = x[:, :1] * 2 + 1
    model = nn.Linear(36, 1).double()

    def prediction(output, target):
        return output[:, 0]

    array = measure_influence(model, F.mse_loss, (x, y), (x, y), readout=prediction, update={"learning_rate": 0.01})
    with torch.no_grad():
        residual = model(x) - y
        kernel = x @ x.T + 1
    np.testing.assert_allclose(array.values, -0.01 * 2 * residual.numpy() * kernel.numpy(), atol=1e-12)


def test_one_step_of_sgd_with_the_readout_as_loss_is_symmetric_to_first_order(net, batch):
    """The NTK view: with the loss as negative readout, I / learning_rate tends to a symmetric kernel."""
    errors = []
    for rate in (1e-2, 1e-4):
        array = measure_influence(net, F.cross_entropy, batch, batch, update={"learning_rate": rate}).values / rate
        errors.append(np.abs(array - array.T).max() / np.abs(array).max())
    assert errors[1] < errors[0] / 20 and errors[1] < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "lara"}, r"method must be one of .*Did you mean lora\?"),
        ({"method": {"name": "lora", "rnk": 2}}, r"method.rnk must be an option.*Did you mean method.rank\?"),
        ({"method": {"name": "lora", "rank": 0}}, r"method.rank must be at least 1, got 0. Try 8."),
        ({"method": {"name": "lora", "target_modules": ["nope"]}}, r"method.target_modules must name at least one"),
        ({"method": {"name": "peft", "tuner": "LORAX"}}, r"method.tuner must be one of .*Did you mean LORA\?"),
        ({"method": {"name": "peft", "tuner": "PROMPT_TUNING"}}, r"transformers model .*, got Net"),
        (
            {"update": {"learning_rte": 1}},
            r"update.learning_rte must be an option.*Did you mean update.learning_rate\?",
        ),
        ({"update": {"optimizer": "adam", "momentum": 0.5}}, r"update.momentum must be 0 with optimizer=adam"),
        ({"update": {"learning_rate": None}}, r"update.learning_rate must be given"),
        ({"engine": "fast"}, r"engine must be one of auto, factored, first_order, loop, reference, stacked"),
        ({"perturbation": "noise"}, r"perturbation must be one of exclude, include"),
        ({"readout": "odds"}, r"readout must be one of"),
    ],
)
def test_wrong_option_is_told_in_one_line(net, batch, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        measure_influence(net, F.cross_entropy, batch, batch, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stimuli", "message"),
    [
        (lambda x, y: x, r"stimuli must be a pair "),
        (lambda x, y: (x, y[:2]), r"stimuli must have as many inputs as targets, got \(7, 2\)"),
        (lambda x, y: (x[:0], y[:0]), r"stimuli must hold at least one sample"),
        (lambda x, y: TensorDataset(x[:0], y[:0]), r"stimuli must hold at least one sample"),
    ],
)
def test_wrong_data_is_told_in_one_line(batch, stimuli, message):
    with pytest.raises(ConfigError, match=message):
        as_batch(stimuli(*batch), "stimuli")


def test_a_stimulus_on_itself_is_positive_in_every_readout(net, batch):
    """Ranks too: positive means a likelier target, although a likelier target has a lower rank."""
    readouts = ["log_prob", "log_odds", "prob", "rank", "correct"]
    array = measure_influence(net, F.cross_entropy, batch, batch, readout=readouts, update={"learning_rate": 0.3})
    for name in readouts:
        assert np.diagonal(array.sel(readout=name)).mean() > 0, name


def test_seed_may_be_numpys_and_update_is_held_to_its_types(net, batch):
    array = measure_influence(net, F.cross_entropy, batch, batch, method="lora", seed=np.int64(1))
    np.testing.assert_array_equal(array, measure_influence(net, F.cross_entropy, batch, batch, method="lora", seed=1))
    with pytest.raises(ConfigError, match=r"update.steps must be a whole number, got 1.5"):
        measure_influence(net, F.cross_entropy, batch, batch, update={"steps": 1.5})
    with pytest.raises(ConfigError, match=r"update.learning_rate must be a finite number, got inf"):
        measure_influence(net, F.cross_entropy, batch, batch, update={"learning_rate": float("inf")})


def test_named_engine_that_cannot_do_a_problem_says_why(net, batch):
    with pytest.raises(ConfigError, match=r"engine must be one that can do this \(torch.func cannot vectorise"):
        measure_influence(
            net, F.cross_entropy, batch, batch, method={"name": "peft", "tuner": "LOHA"}, engine="stacked"
        )


def test_class_readouts_of_real_valued_targets_are_refused(net, batch):
    probes = (batch[0], batch[1].double())
    with pytest.raises(ConfigError, match=r"probes must have whole numbers as targets with readout=log_prob"):
        measure_influence(net, F.cross_entropy, batch, probes)


def test_exclude_needs_two_stimuli(net, batch):
    with pytest.raises(ConfigError, match=r"stimuli must be at least 2 with perturbation=exclude, got 1"):
        measure_influence(net, F.cross_entropy, (batch[0][:1], batch[1][:1]), batch, perturbation="exclude")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", ["full", "lora", "adapter", "ia3"])
def test_calibrated_rate_teaches_what_was_asked(net, batch, method, optimizer):
    update = Update(optimizer=optimizer, headroom=0.3, steps=2)
    found = calibrate(net, F.cross_entropy, batch, method=method, update=update)
    array = measure_influence(
        net,
        F.cross_entropy,
        batch,
        batch,
        method=method,
        update={"optimizer": optimizer, "learning_rate": found.learning_rate, "steps": 2},
    )
    net.eval()
    with torch.no_grad():
        before = -F.cross_entropy(net(batch[0]), batch[1]).item()
    assert found.reached
    assert np.isclose(np.diagonal(array).mean(), found.strength)
    assert np.isclose(found.strength, 0.3 * -before, rtol=0.1)


def test_calibration_that_cannot_reach_its_target_says_so(batch):
    class Stubborn(nn.Module):
        """Its log-probabilities hardly move, whatever its weight."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(36, 3, dtype=torch.float64))

        def forward(self, x):
            return torch.tanh(x.flatten(1) @ self.weight) * 0.01

    found = calibrate(Stubborn(), F.cross_entropy, batch, update=Update(headroom=0.9))
    assert not found.reached and found.strength < found.target
