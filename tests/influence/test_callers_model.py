"""What is handed in is left as it was, also where a model keeps things in odd places; and odd options are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import measure_influence
from eif_lab.errors import ConfigError


def data(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 8, generator=generator), torch.randint(3, (count,), generator=generator)


class Merging(nn.Linear):
    """Merges a second weight into the first in eval mode, as some libraries' LoRA does."""

    def __init__(self) -> None:
        super().__init__(8, 3)
        self.second = nn.Parameter(torch.ones(3, 8))
        self.merged = False

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -self.second if mode else self.second
            self.merged = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + (0 if self.merged else x @ self.second.T)


def test_a_layer_that_merges_in_eval_mode_is_left_as_it_was():
    model = Merging()
    weight = model.weight.detach().clone()
    measure_influence(model, F.cross_entropy, data(5), data(6, 1))
    assert model.training and not model.merged and torch.equal(model.weight, weight)


class Counting(nn.Module):
    """Counts its calls in tuples, and in containers within containers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.pair = (torch.zeros(1), [torch.zeros(1)])
        self.deep = {"a": {"calls": 0}}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.pair[0].add_(1)
        self.pair[1][0].add_(1)
        self.deep["a"]["calls"] += 1
        return self.layer(x) * self.deep["a"]["calls"]


def test_what_is_kept_deep_in_containers_is_put_back():
    model = Counting()
    array = measure_influence(model, F.cross_entropy, data(5), data(6, 1))
    assert array.attrs["engine"] == "loop"
    assert model.pair[0] == 0 and model.pair[1][0] == 0 and model.deep == {"a": {"calls": 0}}


@pytest.mark.parametrize("call", [1, 2, 5, 9])
def test_an_interruption_leaves_the_model_as_it_was(call):
    class Interrupted(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.data += 1
            type(self).calls += 1
            if type(self).calls == call:
                raise KeyboardInterrupt
            return self.layer(x)

    model = Interrupted()
    weight = model.layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt):
        measure_influence(model, F.cross_entropy, data(5), data(6, 1))
    assert model.seen == 0 and torch.equal(model.layer.weight, weight) and model.layer.weight.grad is None


def test_an_autocast_around_the_call_keeps_no_weights_from_before_the_update():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.autocast("cpu", torch.bfloat16):
        array = measure_influence(model, F.cross_entropy, data(5), data(6, 1), update={"learning_rate": 1.0})
    assert np.abs(array).max() > 0.1


class Capacity(nn.Module):
    """Only the first forty rows of a batch go through its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return torch.cat([y[:40], y[40:].detach() * 0 + x[40:, :3]])


def test_probes_whose_rows_depend_on_their_place_are_read_in_one_pass(monkeypatch, caplog):
    monkeypatch.setattr("eif_lab.influence.reading.passes.LARGEST_PASS", 64)
    model, probes = Capacity(), data(150, 1)
    array = measure_influence(model, F.cross_entropy, data(3), probes, update={"learning_rate": 0.5})
    assert "all of them are read in one pass" in caplog.text
    assert np.abs(array[:, :40]).max() > 0.01 and (array.values[:, 40:] == 0).all()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"rows": 5}, "rows"),
        ({"rows": 0}, "rows"),
        ({"rows": slice(None, None, -1)}, "rows"),
        ({"measured": [np.zeros((2, 1, 6))]}, "measured"),
        ({"measured": [np.zeros((9, 1, 6, 1))]}, "measured"),
        ({"measured": [None]}, "measured"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"update": 5}, "update"),
        ({"engine": {"name": "loop"}}, "engine"),
        ({"method": 5}, "method"),
        ({"readout": 5}, "readout"),
        ({"perturbation": ["include"]}, "perturbation"),
        ({"on_chunk": 5}, "on_chunk"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_options_of_another_type_are_told_in_one_line(options, field):
    plain = getattr(measure_influence, "__wrapped__", measure_influence)  # past the annotations, as a user's call is
    with pytest.raises(ConfigError, match=rf"^{field} must ") as raised:
        plain(nn.Linear(8, 3), F.cross_entropy, data(5), data(6, 1), **options)
    assert "\n" not in str(raised.value)
