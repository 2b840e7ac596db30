"""Optimizers: what the table says of each, and that a new one is an entry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.resources.precision import step_per_rate
from eif_lab.influence.update import OPTIMIZERS, Stepping, Update


def remembered(update):
    """Numbers that the optimizer keeps after a step, for each number of a parameter."""
    parameter = torch.zeros(50)
    parameter.grad = torch.ones(50)
    optimizer = update.make_optimizer([parameter])
    optimizer.step()
    return sum(one.numel() for one in optimizer.state[parameter].values() if torch.is_tensor(one)) // 50


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_optimizer_keeps_what_the_table_says(name, momentum):
    if momentum and not OPTIMIZERS[name].has_momentum:
        with pytest.raises(ConfigError, match=f"update.momentum must be 0 with optimizer={name}"):
            Update(optimizer=name, momentum=momentum)
        return
    update = Update(optimizer=name, learning_rate=0.1, momentum=momentum, steps=2)
    assert update.stepping.remembers(update) == remembered(update)
    assert update.moves_without_gradient == bool(remembered(update))


def test_an_unknown_optimizer_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"^update.optimizer must be one of sgd, adam, adamw, got 'adamx'\.$"):
        Update(optimizer="adamx")


def test_a_new_optimizer_is_one_entry(net, batch, monkeypatch):
    """It is measured like by torch itself, held to its rounding, and calibrated from its own first rate."""
    rmsprop = Stepping(
        lambda parameters, update: torch.optim.RMSprop(parameters, lr=update.rate, weight_decay=update.weight_decay),
        first_rate=1e-4,
        remembers=lambda update: 1,
    )
    monkeypatch.setitem(OPTIMIZERS, "rmsprop", rmsprop)
    update = {"optimizer": "rmsprop", "learning_rate": 1e-3, "steps": 2}
    stacked, reference = (
        measure_influence(net, F.cross_entropy, batch, batch, update=update, engine=engine)
        for engine in ("stacked", "reference")
    )
    np.testing.assert_allclose(stacked, reference, rtol=1e-6, atol=1e-9)
    step = step_per_rate(Update(**update), torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(step, torch.full((3,), -10.0).double(), rtol=1e-4, atol=0)  # 1 / sqrt(1 - 0.99)
    found = calibrate(net, F.cross_entropy, batch, update={"optimizer": "rmsprop", "headroom": 0.2})
    assert found.reached
