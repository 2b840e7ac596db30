"""Everything happens on the device that was asked for, and gives there what it gives elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from language import small_phi3

from eif_lab import calibrate, measure_influence
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.measurement import memberships
from eif_lab.influence.per_sample import trial
from eif_lab.influence.per_sample.alone import BaseGradients
from eif_lab.influence.problem import Problem
from eif_lab.influence.resources.precision import lost_share
from eif_lab.influence.setup import Setup
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.update import Update
from eif_lab.jobs.device import must_be_usable
from eif_lab.methods import named_method
from eif_lab.models.cnn import ConvNet
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.readouts.readout import READOUTS

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
MPS = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA), pytest.param("mps", marks=MPS)]
METHODS = ["full", "lora", "adapter"]
UPDATES = [
    {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "gradient_clip": 1.0,
        "steps": 2,
    },
    {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.1, "steps": 2},
]


def case(kind, tokenizer, device):
    """A small model in float32, its loss, stimuli and probes."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvNet((1, 8, 8), 5, [4, 8], 16) if kind == "cnn" else CausalLM(small_phi3(tokenizer))
    if kind == "cnn":
        data = [(torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 5) for n in (4, 6)]
        return model.to(device).eval(), F.cross_entropy, *data
    ids = [torch.randint(7, len(tokenizer), (n, 9), generator=generator) for n in (4, 6)]
    return model.to(device).eval(), token_loss, *[(rows[:, :-1], rows[:, 1:]) for rows in ids]


@pytest.mark.parametrize("update", UPDATES, ids=lambda u: u["optimizer"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["cnn", "phi3"])
@pytest.mark.parametrize("device", DEVICES)
def test_auto_equals_reference_in_float32(tokenizer, device, kind, method, update):
    model, loss, stimuli, probes = case(kind, tokenizer, device)
    arrays = [
        measure_influence(
            model, loss, stimuli, probes, method=method, update=update, engine=engine, readout=["log_prob", "prob"]
        ).values
        for engine in ("auto", "reference")
    ]
    assert all(p.device.type == device for p in model.parameters())
    assert np.abs(arrays[1]).max() > 1e-3
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-3 * np.abs(arrays[1]).max())


@pytest.mark.parametrize("kind", ["cnn", "phi3"])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA), pytest.param("mps", marks=MPS)])
def test_device_gives_what_the_cpu_gives(tokenizer, device, kind):
    arrays = []
    for place in ("cpu", device):
        model, loss, stimuli, probes = case(kind, tokenizer, place)
        arrays.append(measure_influence(model, loss, stimuli, probes, update={"learning_rate": 0.05}).values)
    np.testing.assert_allclose(arrays[1], arrays[0], atol=1e-3 * np.abs(arrays[0]).max())


@pytest.mark.parametrize("device", DEVICES)
def test_calibration_works_on_the_device(tokenizer, device):
    model, loss, stimuli, _ = case("cnn", tokenizer, device)
    assert calibrate(model, loss, stimuli, update=Update(headroom=0.3)).reached


@pytest.mark.parametrize("update", UPDATES, ids=lambda u: u["optimizer"])
@pytest.mark.parametrize("engine", [Stacked, Factored])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["cnn", "phi3"])
def test_updates_and_readings_stay_on_their_device(tokenizer, monkeypatch, kind, method, engine, update):
    """Shown on the ``meta`` device, which refuses to compute with any tensor of the CPU.

    It has no values, so that what looks at values is left out: the trial of the gradient, and which texts share what.
    """
    if engine is Factored and update["optimizer"] != "sgd":
        pytest.skip("factored steps by sgd alone")
    monkeypatch.setattr(trial, "disagreement", lambda *_: "")
    monkeypatch.setattr(CausalLM, "can_share", lambda *_: False)
    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda *_: None)
    model, loss, stimuli, probes = case(kind, tokenizer, "cpu")
    ready = named_method(method).apply(model, 0).to("meta").eval()
    batches = [Batch(*(t.to("meta") for t in data)) for data in (stimuli, probes)]
    members = memberships(4, "include").to("meta")
    recipe = Update(**update)
    base = Snapshot(ready, room=2**30)
    problem = Problem(base, loss, batches[0], members, batches[1], READOUTS, recipe, trajectory=True)
    readings = torch.cat(list(engine().prepare(Setup.of(problem)).readings(problem)))
    assert readings.device.type == "meta" and readings.shape == (4, 2, 6, 5)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA), pytest.param("mps", marks=MPS)])
def test_rounding_is_found_on_the_device_too(tokenizer, device):
    shares = []
    for place in ("cpu", device):
        model, loss, stimuli, _ = case("cnn", tokenizer, place)
        batch = Batch(*(t.to(place) for t in stimuli))
        members = memberships(4, "include").to(place)
        base = Snapshot(model, room=2**30)
        problem = Problem(base, loss, batch, members, batch, READOUTS, Update(learning_rate=1e-8))
        shares.append(lost_share(problem, BaseGradients(problem)))
    assert 0.1 < shares[0] < 1 and np.isclose(*shares, rtol=0.05)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpux", r"device must be one that torch can use here \(.*\), got 'tpux'. Try cpu."),
        ("meta", r"device must be one that torch can use here \(Tensor.item\(\) cannot be called on meta tensors\)"),
        pytest.param("cuda:99", r"got 'cuda:99'. Try cpu."),
    ],
)
def test_device_that_cannot_compute_is_told_in_one_line(device, message):
    with pytest.raises(ConfigError, match=message) as caught:
        must_be_usable(device)
    assert "\n" not in str(caught.value)


@MPS
def test_precision_that_the_device_lacks_is_told():
    must_be_usable("mps", "bfloat16")
    with pytest.raises(ConfigError, match="float64"):
        must_be_usable("mps", "float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_cpu_has_every_precision(dtype):
    must_be_usable("cpu", dtype)
