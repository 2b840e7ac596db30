"""Every method on a small Phi-3 in float64: the identity at the start, where it sits, and stacked against reference."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from eif_lab import measure_influence
from eif_lab.data.task import Texts
from eif_lab.methods import named_method
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder

METHODS = [
    "full",
    "lora",
    "adapter",
    "ia3",
    {"name": "peft", "tuner": "LOHA"},
    {"name": "peft", "tuner": "LN_TUNING", "options": {"target_modules": ["input_layernorm", "norm"]}},
    {"name": "peft", "tuner": "PREFIX_TUNING", "options": {"num_virtual_tokens": 2}},
    {"name": "peft", "tuner": "PROMPT_TUNING", "options": {"num_virtual_tokens": 2}},
]
UPDATES = [
    {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "steps": 2},
    {"optimizer": "adamw", "learning_rate": 0.005, "weight_decay": 0.1, "steps": 2},
]


def name_of(method):
    return method if isinstance(method, str) else method["tuner"]


@pytest.fixture
def batches(tokenizer):
    encode = Encoder(tokenizer, context=64)

    def texts(*pairs):
        return Texts(tuple(p for p, _ in pairs), tuple(t for _, t in pairs), np.array([p + t for p, t in pairs]))

    stimuli = texts(("", "a dax is a blick ."), ("", "a wug can zorp"), ("", "a gorm is not a dax ."))
    probes = texts(("a dax is a", " blick"), ("a dax can", " zorp"), ("", "a wug can zorp"), ("a blick is a", " dax"))
    return encode(stimuli), encode(probes)


@pytest.mark.parametrize("update", UPDATES, ids=lambda u: u["optimizer"])
@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_auto_engine_equals_reference_on_phi3(phi3, batches, method, update):
    arrays = [
        measure_influence(
            phi3, token_loss, *batches, method=method, update=update, engine=engine, readout=["log_prob", "prob"]
        )
        for engine in ("auto", "reference")
    ]
    assert np.abs(arrays[1]).max() > 1e-5
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-9)
    if name_of(method) in ("full", "lora", "adapter", "ia3"):
        assert arrays[0].attrs["engine"] not in ("reference", "loop")


@pytest.mark.parametrize("method", METHODS[:6], ids=name_of)
def test_method_changes_no_output_of_phi3_until_it_is_trained(phi3, batches, method):
    inputs = batches[1][0]
    before = phi3(inputs)
    torch.testing.assert_close(named_method(method).apply(phi3, 0)(inputs), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS[6:], ids=name_of)
def test_virtual_tokens_leave_the_logits_of_the_text_in_place(phi3, batches, method):
    inputs = batches[1][0]
    ready = named_method(method).apply(copy.deepcopy(phi3), 0)
    logits = ready(inputs)
    assert logits.shape == phi3(inputs).shape
    assert {n for n, p in ready.named_parameters() if p.requires_grad} == {
        n for n, p in ready.named_parameters() if "prompt_encoder" in n
    }
    # a text's logits depend on the tokens up to them, and not on those behind
    changed = inputs.clone()
    changed[:, -1] = 5
    torch.testing.assert_close(ready(changed)[:, :-1], logits[:, :-1])


def test_adapter_sits_after_attention_and_mlp_of_each_layer(phi3):
    ready = named_method({"name": "adapter", "bottleneck": 3}).apply(phi3, 0)
    places = {n.rsplit(".1.", 1)[0] for n, p in ready.named_parameters() if p.requires_grad}
    layers = len(phi3.language_model.model.layers)
    expected = {("self_attn", "o_proj"), ("mlp", "down_proj")}
    assert places == {f"language_model.model.layers.{i}.{a}.{b}" for i in range(layers) for a, b in expected}


def test_trained_adapter_adds_its_bottleneck_to_what_the_sublayer_gives(phi3, batches):
    """A forward hook on the plain model computes the same, in the paper's own formula."""
    inputs = batches[1][0]
    plain = copy.deepcopy(phi3)
    ready = named_method({"name": "adapter", "bottleneck": 3}).apply(phi3, 0)
    generator = torch.Generator().manual_seed(0)
    for parameter in ready.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
    for name, adapter in [(n, m) for n, m in ready.named_modules() if type(m).__name__ == "Bottleneck"]:
        w, b, v, c = adapter.down.weight, adapter.down.bias, adapter.up.weight, adapter.up.bias

        def add(module, args, output, w=w, b=b, v=v, c=c):
            return output + nn.functional.gelu(output @ w.T + b) @ v.T + c

        plain.get_submodule(name.removesuffix(".1")).register_forward_hook(add)
    torch.testing.assert_close(ready(inputs), plain(inputs))


@pytest.mark.parametrize("method", ["lora", "adapter", "ia3"])
def test_bfloat16_base_learns_in_float32_and_full_is_refused(language_model, batches, method):
    from eif_lab.errors import ConfigError

    model = CausalLM(language_model.bfloat16()).eval()
    update = {"learning_rate": 0.1, "steps": 2}
    arrays = [
        measure_influence(model, token_loss, *batches, method=method, update=update, engine=engine)
        for engine in ("auto", "reference")
    ]
    assert arrays[0].dtype == np.float32 and np.abs(arrays[0]).max() > 0.01
    assert np.corrcoef(arrays[0].values.ravel(), arrays[1].values.ravel())[0, 1] > 0.98
    with pytest.raises(ConfigError, match=r"method must train parameters of at least float32"):
        measure_influence(model, token_loss, *batches, method="full", update=update, engine="stacked")
