"""What each method installs: the identity at the start, exactly what moves, and where."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from eif_lab.errors import ConfigError
from eif_lab.methods import named_method
from eif_lab.methods.method import trained_summary
from eif_lab.models.cnn import ConvNet

METHODS = ["full", "lora", "adapter", "ia3", {"name": "peft", "tuner": "LOHA"}]


@pytest.fixture
def cnn() -> ConvNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvNet((1, 28, 28), 10, [32, 64], 128).eval()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_method_changes_no_output_until_it_is_trained(cnn, method):
    inputs = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    before = cnn(inputs)
    ready = named_method(method).apply(cnn, 0)
    torch.testing.assert_close(ready(inputs), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS[1:], ids=str)
def test_frozen_weights_stay_and_only_what_is_said_moves(cnn, method):
    before = {name: p.clone() for name, p in cnn.named_parameters()}
    ready = named_method(method).apply(cnn, 0)
    frozen = [p for p in ready.parameters() if not p.requires_grad]
    assert sum(p.numel() for p in frozen) == sum(p.numel() for p in before.values())
    assert all(any(torch.equal(p, old) for old in before.values() if old.shape == p.shape) for p in frozen)
    inputs = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    ready(inputs).logsumexp(1).sum().backward()
    moved = [name for name, p in ready.named_parameters() if p.grad is not None]
    assert moved == [name for name, p in ready.named_parameters() if p.requires_grad]
    assert trained_summary(ready)["count"] == sum(p.numel() for p in ready.parameters() if p.requires_grad)


def test_full_moves_all_421642_parameters_of_the_28_pixel_cnn(cnn):
    summary = trained_summary(named_method("full").apply(cnn, 0))
    by_hand = (32 * 9 + 32) + (64 * 32 * 9 + 64) + (64 * 49 * 128 + 128) + (128 * 10 + 10)
    assert summary["count"] == summary["total"] == by_hand


def test_lora_covers_convolutions_and_linear_layers(cnn):
    names = [
        n for n, p in named_method({"name": "lora", "rank": 3}).apply(cnn, 0).named_parameters() if p.requires_grad
    ]
    assert {name.split(".lora_")[0] for name in names} == {"blocks.0.0", "blocks.1.0", "hidden", "head"}
    assert all(3 in p.shape for n, p in cnn.named_parameters() if "lora_" in n)


def test_adapter_is_the_bottleneck_of_the_paper_after_each_block(cnn):
    """Trained values equal x + W_up gelu(W_down x + b) + b, as a 1 x 1 convolution, after the pooled block."""
    ready = named_method({"name": "adapter", "bottleneck": 5}).apply(cnn, 0)
    generator = torch.Generator().manual_seed(2)
    trained = {n: p for n, p in ready.named_parameters() if p.requires_grad}
    assert {tuple(n.split(".")[:3]) for n in trained} == {("blocks", "0", "1"), ("blocks", "1", "1")}
    with torch.no_grad():
        for p in trained.values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
        x = torch.randn(2, 1, 28, 28, generator=generator)
        expected = x
        for block in ready.blocks:
            convolution, adapter = block[0], block[1]
            h = convolution(expected)
            down = torch.einsum("oc,nchw->nohw", adapter.down.weight[:, :, 0, 0], h) + adapter.down.bias[:, None, None]
            up = torch.einsum("oc,nchw->nohw", adapter.up.weight[:, :, 0, 0], nn.functional.gelu(down))
            expected = h + up + adapter.up.bias[:, None, None]
        hidden = torch.relu(ready.hidden(expected.flatten(1)))
        torch.testing.assert_close(ready(x), ready.head(hidden), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "adapter", {"name": "peft", "tuner": "LOHA"}], ids=str)
def test_seed_decides_the_initial_values_and_the_global_generator_is_left_alone(cnn, method):
    state = torch.random.get_rng_state()
    drawn = [
        torch.cat([p.flatten() for p in named_method(method).apply(copy.deepcopy(cnn), seed).parameters()])
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("method", ["lora", "adapter", "ia3"])
def test_what_is_trained_is_float32_on_a_bfloat16_base_and_really_learns(cnn, method):
    ready = named_method(method).apply(cnn.bfloat16(), 0)
    trained = [p for p in ready.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1)).bfloat16()
    loss = nn.functional.cross_entropy(ready(x).float(), torch.arange(4))
    loss.backward()
    assert any(p.grad.abs().max() > 0 for p in trained)


def test_adapter_on_an_unknown_model_asks_where_to_go():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ConfigError, match=r"method.target_modules must name the modules of Sequential"):
        named_method("adapter").apply(model, 0)
    ready = named_method({"name": "adapter", "target_modules": ["0"]}).apply(model, 0)
    assert [n for n, p in ready.named_parameters() if p.requires_grad] == [
        "0.1.down.weight",
        "0.1.down.bias",
        "0.1.up.weight",
        "0.1.up.bias",
    ]


def test_options_that_peft_refuses_are_told_in_one_line(cnn):
    method = {"name": "peft", "tuner": "LORA", "options": {"r": -3}}
    with pytest.raises(ConfigError, match=r"method.tuner=LORA does not fit this model with .*'r': -3") as caught:
        named_method(method).apply(cnn, 0)
    assert "\n" not in str(caught.value)
