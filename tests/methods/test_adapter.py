"""Where adapters go, and what they cannot follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo.language import small_model

from eif_lab.errors import ConfigError
from eif_lab.methods import named_method
from eif_lab.methods.method import list_names

TOKENS = torch.tensor([[3, 4, 5, 6], [7, 5, 3, 9]])
ENDS = {
    "phi3": "model.layers.*.self_attn.o_proj, model.layers.*.mlp.down_proj",
    "gpt2": "transformer.h.*.attn.c_proj, transformer.h.*.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.*.attention.dense, gpt_neox.layers.*.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.*.self_attn.out_proj, model.decoder.layers.*.fc2",
    "bloom": "transformer.h.*.self_attention.dense, transformer.h.*.mlp.dense_4h_to_h",
    "gptj": "transformer.h.*.attn.out_proj, transformer.h.*.mlp.fc_out",
    "bert": "bert.encoder.layer.*.attention.output.dense, bert.encoder.layer.*.output.dense",
    "mixtral": "model.layers.*.self_attn.o_proj, model.layers.*.mlp",
    "rwkv": "rwkv.blocks.*.attention, rwkv.blocks.*.feed_forward",
    "xlm": "transformer.attentions.*.out_lin, transformer.ffns.*.lin2",
    "mamba": "backbone.layers.*.mixer.out_proj",
}
"""What ends each sub-layer: a linear layer, or where experts or gates are mixed the whole of it."""


@pytest.mark.parametrize("kind", ENDS)
def test_adapters_follow_what_ends_attention_and_mlp(kind):
    model = small_model(kind)
    before = model(TOKENS)
    ready = named_method("adapter").apply(model, 0)
    places = [n.removesuffix(".1.down.weight") for n, _ in ready.named_parameters() if n.endswith(".1.down.weight")]
    assert list_names(places) == ", ".join(f"language_model.{end}" for end in ENDS[kind].split(", "))
    torch.testing.assert_close(ready(TOKENS), before, rtol=0, atol=1e-12)
    ready(TOKENS).square().sum().backward()
    assert all(p.grad is not None for n, p in ready.named_parameters() if p.requires_grad)


def test_a_module_that_gives_more_than_a_tensor_has_its_first_adapted():
    model = small_model("gpt2")
    before = model(TOKENS)
    ready = named_method({"name": "adapter", "target_modules": ["attn"]}).apply(model, 0)
    torch.testing.assert_close(ready(TOKENS), before)
    with torch.no_grad():
        ready.language_model.transformer.h[1].attn[1].up.bias.copy_(torch.arange(16.0))
    assert (ready(TOKENS) - before).abs().max() > 1e-3


def test_a_module_and_one_within_it_both_get_an_adapter():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    ready = named_method({"name": "adapter", "target_modules": ["0"]}).apply(model, 0)
    ready(torch.randn(3, 4)).sum().backward()
    trained = {n: p for n, p in ready.named_parameters() if p.requires_grad}
    assert len(trained) == 8 and all(p.grad is not None for p in trained.values())


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return {"out": self.layer(x)}


@pytest.mark.parametrize(
    ("model", "target", "line"),
    [
        (Pairs(), "inner", "must name modules that give a tensor as wide as their last layer .4., got 'inner .dict"),
        (nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))), "inner", r"got 'inner \(\(5, 2, 3\)\)'"),
        (
            nn.ModuleList([nn.Linear(4, 4)]),
            "inner",
            r"must name modules that are called .* got 'inner'. Try \['inner.0'",
        ),
        (nn.Tanh(), "inner", "must name modules that are called and hold a linear layer or a convolution, got 'inner'"),
        (nn.Linear(4, 4), "nothing", r"must name the modules of \w+ that an adapter follows, .* Try \['inner'\]"),
    ],
)
def test_what_cannot_be_followed_is_told_in_one_line(model, target, line):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(ConfigError, match=line) as caught:
        named_method({"name": "adapter", "target_modules": [target]}).apply(Net(), 0)(torch.randn(5, 4))
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_full_trains_complex_parameters():
    model = nn.ParameterDict({"z": torch.zeros(2, dtype=torch.complex64), "x": torch.zeros(2)})
    model["n"] = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    named_method("full").apply(model, 0)
    assert {name for name, p in model.items() if p.requires_grad} == {"z", "x"}
