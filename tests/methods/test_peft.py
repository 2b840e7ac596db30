"""Every tuner of PEFT: it works on a model, or one short line says why not and what to try."""

from __future__ import annotations

import logging

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch import nn
from zoo.language import small_model

from eif_lab.errors import ConfigError
from eif_lab.methods import named_method
from eif_lab.methods.method import warn_once
from eif_lab.models.cnn import ConvNet

TUNERS = [kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING]
LONGEST = 300
IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
VECTORS = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.tensor([[3, 4, 5, 6], [7, 5, 3, 9]])
STARTS_ELSEWHERE = ("UNILORA", "VBLORA", "CARTRIDGE", "CPT", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
"""Tuners that change outputs before they are trained, which is said."""

NOT_LAYERS = {"ADAPTION_PROMPT", "CARTRIDGE", "CPT", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "SHADOW"}
NEVER = {"MULTITASK_PROMPT_TUNING", "POLY", "TRAINABLE_TOKENS", "XLORA"}
LINEAR_ONLY = {
    *("ADAMSS", "BEFT", "BOFT", "C3A", "DELORA", "GLORA", "HRA", "LILY", "LOHA", "LOKR", "MISS", "OFT", "OSF"),
    *("PEANUT", "PSOFT", "ROAD", "SHIRA", "SUPERTUNING"),
}
"""Tuners that do not take GPT-2's transposed layers."""

MODELS = {
    "cnn": (lambda: ConvNet((1, 28, 28), 10, [4, 8], 16), IMAGES, NOT_LAYERS | NEVER | {"LN_TUNING"}),
    "mlp": (
        lambda: nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)),
        VECTORS,
        NOT_LAYERS | NEVER | {"LN_TUNING"},
    ),
    "phi3": (lambda: small_model("phi3").float(), TOKENS, NEVER | {"ADAPTION_PROMPT"}),
    "gpt2": (lambda: small_model("gpt2").float(), TOKENS, NEVER | LINEAR_ONLY),
}
"""What makes each, what it reads, and the tuners that are refused on it."""


@pytest.fixture(autouse=True)
def said(caplog):
    warn_once.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def model_of(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name][0]().eval()


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_tuner_trains_and_moves_the_outputs_or_says_in_one_line_why_it_cannot(name, tuner, said):
    model, (_, inputs, refused) = model_of(name), MODELS[name]
    before = model(inputs).detach()
    method = named_method({"name": "peft", "tuner": tuner})
    if tuner in refused:
        with pytest.raises(ConfigError) as caught:
            method.apply(model, 0)
        line = str(caught.value)
        assert "\n" not in line and len(line) <= LONGEST and f"method.tuner={tuner}" in line and "Try method" in line
        return
    ready = method.apply(model, 0).eval()
    trained = [parameter for parameter in ready.parameters() if parameter.requires_grad]
    start = ready(inputs)
    if tuner in STARTS_ELSEWHERE:
        assert f"method.tuner={tuner} changes the model's outputs before it is trained" in said.text
    else:
        torch.testing.assert_close(start, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    (start * torch.randn(start.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    with torch.no_grad():
        for moved in (parameter for parameter in trained if parameter.grad is not None):
            moved.sub_(moved.grad)
    assert (ready(inputs) - start).abs().max() > 1e-6


def test_vblora_s_vectors_have_the_longest_length_that_fits_all_layers(said):
    ready = named_method({"name": "peft", "tuner": "VBLORA"}).apply(model_of("mlp"), 0)
    banks = [p for n, p in ready.named_parameters() if "vector_bank" in n]
    assert [bank.shape[1] for bank in banks] == [4]
    assert "vector_length=4, which the layers' sizes allow" in said.text
    own = {"name": "peft", "tuner": "VBLORA", "options": {"vector_length": 2}}
    banks = [p for n, p in named_method(own).apply(model_of("mlp"), 0).named_parameters() if "vector_bank" in n]
    assert [bank.shape[1] for bank in banks] == [2]


def test_lora_leaves_out_convolutions_whose_groups_do_not_divide_its_rank_and_says_so_once(said):
    def model():
        return nn.Sequential(nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 4, 1), nn.Flatten(), nn.LazyLinear(2))

    for _ in range(2):
        net = model()
        net(torch.randn(1, 12, 4, 4))
        ready = named_method({"name": "lora", "rank": 4}).apply(net, 0)
    assert {n.partition(".")[0] for n, p in ready.named_parameters() if p.requires_grad} == {"1", "3"}
    assert said.text.count("method=lora leaves out 1 of 3 layers: 0") == 1


def test_a_layer_that_is_left_out_is_not_found_by_the_end_of_its_name():
    """PEFT takes a list's ``0`` for every name that ends in ``.0``."""
    inner = nn.Sequential(nn.Conv2d(12, 12, 3, groups=12), nn.Flatten())
    ready = named_method("lora").apply(nn.ModuleDict({"0": nn.Linear(2, 2), "deep": inner}), 0)
    assert {n.partition(".")[0] for n, p in ready.named_parameters() if p.requires_grad} == {"0"}


def test_lora_says_that_it_leaves_fused_experts_out(said):
    named_method("lora").apply(small_model("mixtral"), 0)
    assert "method=lora leaves out weights that are no layer's, such as fused experts" in said.text
    assert "mlp.experts.gate_up_proj" in said.text


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_lora_and_ia3_of_gpt2_s_transposed_layers_are_their_formula(method):
    model = small_model("gpt2")
    layer = model.language_model.transformer.h[0].attn.c_attn
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    ready = named_method(method).apply(model, 0)
    with torch.no_grad():
        for parameter in ready.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    made = ready.language_model.transformer.h[0].attn.c_attn
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    if method == "lora":
        down, up = made.lora_A.default.weight, made.lora_B.default.weight
        expected = x @ (weight + (up @ down).T * 16 / 8) + bias
    else:
        expected = (x @ weight + bias) * made.ia3_l.default.flatten()
    torch.testing.assert_close(made(x), expected)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "bert", "xlm"])
def test_an_output_head_is_no_default_target_whatever_its_name(kind):
    ready = named_method("lora").apply(small_model(kind), 0)
    head = ready.language_model.get_output_embeddings()
    assert not any(parameter.requires_grad for parameter in head.parameters())
    assert not hasattr(head, "lora_A")


def test_torch_s_attention_whose_last_layer_is_never_called_is_no_target_there():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    named = [n for n, p in named_method("lora").apply(model, 0).named_parameters() if p.requires_grad]
    assert named and not any("out_proj" in name for name in named)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ({"name": "lora", "target_modules": ["nope"]}, r"^method.target_modules must .* got 'nope'. Try \['c_attn', "),
        ({"name": "lora", "target_modules": ["ln_f"]}, r"^method=lora does not fit this model: .* Try method=full\.$"),
        (
            {"name": "peft", "tuner": "LOHA", "options": {"target_modules": ["c_fc"]}},
            r"^method.options.target_modules must name layers that LOHA can be put on .*c_fc'. Try it without",
        ),
        (
            {"name": "lora", "rank": 10**9},
            r"^method.rank must be at most \d+, the longest side of a layer, got 1000000000",
        ),
        ({"name": "peft", "tuner": "loha", "options": {"r": 10**9}}, r"^method.options.r must be at most \d+, the "),
        ({"name": "peft", "tuner": "XLORA"}, r"mixes LoRA adapters that were trained before"),
    ],
    ids=str,
)
def test_a_hint_is_true_of_the_method_that_was_asked_for(method, line):
    with pytest.raises(ConfigError, match=line) as caught:
        named_method(method).apply(small_model("gpt2"), 0)
    assert len(str(caught.value)) <= LONGEST


@pytest.mark.parametrize("rank", [8, 40, 41])
def test_a_rank_is_at_most_the_longest_side_of_a_layer_or_the_default(rank):
    small, large = nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2), nn.Conv2d(10, 1, 2))
    for model, most in ((small, 8), (large, 40)):
        if rank <= most:
            assert any(
                rank in p.shape for p in named_method({"name": "lora", "rank": rank}).apply(model, 0).parameters()
            )
        else:
            with pytest.raises(ConfigError, match=f"^method.rank must be at most {most}, "):
                named_method({"name": "lora", "rank": rank}).apply(model, 0)


def test_a_line_names_a_few_of_many_layers():
    model = nn.Sequential(*[nn.Conv1d(3 + i, 3 + i, 1) for i in range(50)])
    with pytest.raises(ConfigError) as caught:
        named_method({"name": "peft", "tuner": "BEFT"}).apply(model, 0)
    assert len(str(caught.value)) <= LONGEST
