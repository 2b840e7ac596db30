"""Sets of samples and their batches, against a plain loop over a ``DataLoader``."""

from __future__ import annotations

import copy
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from eif_lab import draw_sets, measure_influence, membership
from eif_lab.errors import ConfigError
from eif_lab.influence.update import Update
from eif_lab.methods import named_method
from eif_lab.models.language.causal_lm import token_loss
from eif_lab.readouts.classes import log_prob

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
RECIPES = [
    {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": 2, "epochs": 2},
    {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 2, "epochs": 2, "seed": 3},
    {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": 3, "steps": 4, "order": "given", "momentum": 0.5},
    {"optimizer": "adam", "learning_rate": 0.01, "epochs": 2},
]


def name_of(recipe):
    size = f"batches-of-{recipe['batch_size']}" if "batch_size" in recipe else "whole"
    return f"{recipe['optimizer']}-{size}-{recipe.get('order', 'shuffled')}"


def fine_tuned(model, loss, data, rows, recipe):
    """A copy of the model after what anybody would write: a loader over a subset, and an optimizer."""
    own = copy.deepcopy(model)
    trained = [p for p in own.parameters() if p.requires_grad]
    momentum = {"momentum": recipe["momentum"]} if "momentum" in recipe else {}
    optimizer = OPTIMIZERS[recipe["optimizer"]](trained, lr=recipe["learning_rate"], **momentum)
    loader = DataLoader(
        Subset(data, rows),
        batch_size=recipe.get("batch_size", len(rows)),
        shuffle=recipe.get("order", "shuffled") == "shuffled",
        generator=torch.Generator().manual_seed(recipe.get("seed", 0)),
    )
    endless = (batch for _ in iter(int, 1) for batch in loader)
    batches = (b for _ in range(recipe["epochs"]) for b in loader) if "epochs" in recipe else islice(endless, recipe["steps"])
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss(own(inputs), targets).backward()
        optimizer.step()
    return own


def by_loader(model, loss, samples, probes, sets, recipe, method="full"):
    """(sets, probes), by `fine_tuned`."""
    base = copy.deepcopy(model).requires_grad_(True)
    base = (base if method == "full" else named_method(method).apply(base, 0)).eval()

    @torch.no_grad()
    def read(net):
        return log_prob(net(probes[0]), probes[1])

    data = TensorDataset(*samples)
    after = [read(fine_tuned(base, loss, data, np.flatnonzero(one).tolist(), recipe)) for one in sets]
    return (torch.stack(after) - read(base)).numpy()


@pytest.fixture
def sets():
    return draw_sets(7, count=5, size=5, seed=1)


@pytest.mark.parametrize("engine", ["reference", "loop", "stacked", "factored", "auto"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_a_set_of_images_is_fine_tuned_on_as_by_a_loader(net, batch, sets, recipe, method, engine):
    probes = (batch[0][2:6] * 0.9, batch[1][2:6])
    options = {"method": method, "update": recipe, "sets": sets}
    if engine == "factored" and recipe["optimizer"] == "adam":
        with pytest.raises(ConfigError, match=r"engine must be one that can do this.*Try auto\.$"):
            measure_influence(net, F.cross_entropy, batch, probes, engine=engine, **options)
        return
    measured = measure_influence(net, F.cross_entropy, batch, probes, engine=engine, **options)
    expected = by_loader(net, F.cross_entropy, batch, probes, sets, recipe, method)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(measured.values, expected, atol=1e-11)
    if engine == "auto":
        assert measured.attrs["engine"] in ("stacked", "factored")
