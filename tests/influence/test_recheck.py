"""What a trial at the base cannot see: one stimulus of each chunk is done again alone, and the rest follows from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eif_lab import measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.per_sample import layout
from eif_lab.influence.per_sample.axes import Disagreement
from eif_lab.influence.per_sample.trial import GradientCheck

UPDATE = {"learning_rate": 0.1, "steps": 2}


class Clipped(nn.Module):
    """Halves everything once a row is large: a stimulus among others then depends on them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x / 2 if x.abs().max() > 5 else x)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Clipped()


@pytest.fixture
def samples():
    """Twelve, of which the last but one is large."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    inputs[10] *= 20
    return inputs, torch.randint(3, (12,), generator=generator)


@pytest.fixture
def probes(samples):
    return samples[0][:5], samples[1][:5]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(layout, "LARGEST_CHUNK", 6)


def test_a_later_chunk_that_is_wrong_is_measured_anew_by_the_loop(model, samples, probes, caplog):
    parts: list[np.ndarray] = []
    array = measure_influence(model, F.cross_entropy, samples, probes, update=UPDATE, on_chunk=parts.append)
    expected = measure_influence(model, F.cross_entropy, samples, probes, update=UPDATE, engine="reference")
    assert array.attrs["engine"] == "loop" and "engine auto: loop in place of" in caplog.text
    np.testing.assert_allclose(array, expected, atol=1e-12)
    np.testing.assert_allclose(np.concatenate(parts)[:, 0, :, 0], array, atol=1e-12)


def test_an_engine_that_was_asked_for_says_so_in_one_line(model, samples, probes):
    with pytest.raises(
        ConfigError, match=r"engine must be one that can do this \(.*\), got 'stacked'. Try auto or loop."
    ):
        measure_influence(model, F.cross_entropy, samples, probes, update=UPDATE, engine="stacked")


def test_parts_that_were_handed_on_and_are_wrong_are_told(model, samples, probes):
    plain = measure_influence(model, F.cross_entropy, samples, probes, update=UPDATE, engine="reference").values
    kept = [2 * plain[:6, None, :, None]]
    with pytest.raises(ConfigError, match="takes each stimulus as if alone, got 'stimulus 0'"):
        measure_influence(
            model, F.cross_entropy, samples, probes, update=UPDATE, measured=kept, on_chunk=lambda _: None
        )


def test_a_gradient_that_jumps_at_a_kink_of_one_stimulus_costs_no_engine():
    own = {"weight": torch.ones(4)}
    off = {"weight": torch.tensor([1.01, 1.0, 1.0, 1.0])}
    far = {"weight": torch.tensor([1.5, 1.0, 1.0, 1.0])}

    check = GradientCheck(strict=False)
    assert not check.agrees(own, off)
    assert check.agrees(own, own)
    with pytest.raises(Disagreement):
        check.agrees(own, off)
    with pytest.raises(Disagreement):
        GradientCheck(strict=False).agrees(own, far)


def test_copies_of_large_layers_are_left_to_the_loop(caplog):
    caplog.set_level("INFO")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = nn.Sequential(nn.Linear(6, 800), nn.Tanh(), nn.Linear(800, 800), nn.Tanh(), nn.Linear(800, 3))
        data = torch.randn(3, 6), torch.randint(3, (3,))
    adam = {"optimizer": "adam", "learning_rate": 0.01}
    assert measure_influence(wide, F.cross_entropy, data, data, update=adam).attrs["engine"] == "loop"
    assert (
        measure_influence(wide, F.cross_entropy, data, data, update={"learning_rate": 0.1}).attrs["engine"]
        == "factored"
    )
    assert "not stacked: its copies of large layers take longer than a loop in place" in caplog.text
