"""The first-order prediction against gradients written out by hand, and against the exact array in its limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eif_lab import measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.engines.first_order import FirstOrder


def by_hand(model, stimuli, probes, rate):
    """``-rate * <grad log p_j, grad loss_i>``, one sample after another."""
    model.eval()

    def gradient(x, y):
        loss = F.cross_entropy(model(x[None]), y[None])
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    taught = torch.stack([gradient(x, y) for x, y in zip(*stimuli)])
    read = torch.stack([-gradient(x, y) for x, y in zip(*probes)])
    return (-rate * taught @ read.T).numpy()


def test_one_step_is_the_inner_product_of_gradients(net, batch):
    probes = (batch[0][1:6] * 0.8, batch[1][1:6])
    array = measure_influence(net, F.cross_entropy, batch, probes, update={"learning_rate": 0.03}, engine="first_order")
    np.testing.assert_allclose(array, by_hand(net, batch, probes, 0.03), atol=1e-12)
    assert array.attrs["engine"] == "first_order"


@pytest.mark.parametrize("readout", ["log_prob", "log_odds", "prob"])
@pytest.mark.parametrize("method", ["full", "lora", "adapter"])
def test_distance_from_the_exact_array_falls_as_the_square_of_the_rate(net, batch, method, readout):
    """Of a function with second derivatives, what a first-order prediction leaves out is of second order."""
    left = []
    for rate in (1e-4, 1e-5):
        update = {"learning_rate": rate, "momentum": 0.9, "weight_decay": 0.3, "gradient_clip": 0.5, "steps": 3}
        exact, predicted = (
            measure_influence(
                net, F.cross_entropy, batch, batch, method=method, update=update, engine=engine, readout=readout,
                trajectory=True,
            )
            for engine in ("auto", "first_order")
        )  # fmt: skip
        left.append(np.abs(exact - predicted).max("stimulus").max("probe").values)
        assert np.abs(exact).max() > 10 * left[-1].max()
    assert (left[1] < left[0] / 50).all()


def test_exclude_is_predicted_too(net, batch):
    update = {"learning_rate": 1e-5}
    exact, predicted = (
        measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine, perturbation="exclude")
        for engine in ("auto", "first_order")
    )
    np.testing.assert_allclose(predicted, exact, rtol=1e-3, atol=1e-3 * float(np.abs(exact).max()))


def test_what_has_no_gradient_or_another_optimizer_is_refused(net, batch):
    with pytest.raises(ConfigError, match="rank has no gradient"):
        measure_influence(net, F.cross_entropy, batch, batch, readout="rank", engine=FirstOrder())
    with pytest.raises(ConfigError, match="its update is sgd's, not adam's"):
        update = {"optimizer": "adam", "learning_rate": 0.01}
        measure_influence(net, F.cross_entropy, batch, batch, update=update, engine="first_order")
