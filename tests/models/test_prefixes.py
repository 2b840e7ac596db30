"""Texts that share prefixes, computed as a tree, held to the plain form: one text after the other."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
import transformers.models.phi3.modeling_phi3 as modeling
from hypothesis import example, given, settings
from hypothesis import strategies as st
from language import byte_level_tokenizer, small_phi3
from torch import nn
from torch.func import functional_call
from torch.nn.utils.rnn import pad_sequence

from eif_lab.errors import ConfigError
from eif_lab.methods import named_method
from eif_lab.models.language.causal_lm import CausalLM, mean_hidden_state, token_loss
from eif_lab.models.language.prefixes import share_prefixes
from eif_lab.readouts.classes import IGNORED, log_prob
from eif_lab.readouts.readout import READOUTS

EXACT = {"rtol": 0, "atol": 1e-9}


class Norm(modeling.Phi3RMSNorm):
    """Phi-3's norm without its detour through float32, which would end a float64 comparison at 1e-7."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def made_phi3(request):
    model = small_phi3(byte_level_tokenizer()).double()
    model.set_attn_implementation(request.param)
    for module in model.modules():
        if isinstance(module, modeling.Phi3RMSNorm):
            module.__class__ = Norm
    softmax = nn.functional.softmax
    with pytest.MonkeyPatch.context() as patch:  # eager attention makes the same detour
        patch.setattr(nn.functional, "softmax", lambda scores, dim, dtype=None: softmax(scores, dim))
        yield CausalLM(model).eval()


@pytest.fixture
def phi3(made_phi3):
    return copy.deepcopy(made_phi3)


def questions(count=3, candidates=4, length=6):
    """Questions that share their first token, each with its candidate answers of two tokens, as encoded."""
    rows = [
        [1, *(10 * q + i for i in range(3, length + 2)), 100 + candidate, 200 + candidate]
        for q in range(count)
        for candidate in range(candidates)
    ]
    inputs, targets = torch.tensor(rows)[:, :-1], torch.tensor(rows)[:, 1:].clone()
    targets[:, : length - 1] = IGNORED
    return inputs, targets


def prefixes(inputs, targets):
    """The distinct prefixes, as far as something is scored behind them, and those that are scored themselves."""
    needed, scored = set(), set()
    for row, own in zip(inputs.tolist(), (targets != IGNORED).tolist()):
        last = max((t for t, yes in enumerate(own) if yes), default=0)
        needed |= {tuple(row[: t + 1]) for t in range(last + 1)}
        scored |= {tuple(row[: t + 1]) for t, yes in enumerate(own) if yes}
    return needed, scored


def at_scored(logits, targets):
    """The plain form's logits and targets at the scored positions alone."""
    own = targets != IGNORED
    rows = [row[yes] for row, yes in zip(logits, own)]
    ids = [row[yes] for row, yes in zip(targets, own)]
    return pad_sequence(rows, batch_first=True), pad_sequence(ids, batch_first=True, padding_value=IGNORED)


def must_agree(shared, targets, plain, plain_targets):
    """Logits at the scored positions, and every readout."""
    expected, expected_targets = at_scored(plain, plain_targets)
    answers = expected.shape[1]
    assert torch.equal(targets[:, :answers], expected_targets)
    assert (targets[:, answers:] == IGNORED).all()
    real = expected_targets != IGNORED
    torch.testing.assert_close(shared[:, :answers][real], expected[real], **EXACT)
    for readout in READOUTS.values():
        torch.testing.assert_close(readout(shared, targets), readout(plain, plain_targets), **EXACT)


@st.composite
def probe_sets(draw):
    """Texts of few different tokens, so that they repeat and begin each other, scored anywhere or nowhere."""
    tokens = st.integers(1, draw(st.sampled_from([2, 3, 20])))
    texts = draw(st.lists(st.lists(tokens, min_size=1, max_size=7), min_size=1, max_size=8))
    scored = [draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text))) for text in texts]
    inputs = torch.full((len(texts), max(map(len, texts)) + draw(st.integers(0, 2))), 3)
    targets = torch.full_like(inputs, IGNORED)
    for row, (text, own) in enumerate(zip(texts, scored)):
        inputs[row, : len(text)] = torch.tensor(text)
        places = torch.tensor(own).nonzero().flatten()
        targets[row, places] = (inputs[row, places] * 7 + places) % 300
    return inputs, targets


def one_begins_another():
    inputs = torch.tensor([[1, 2, 3, 3], [1, 2, 4, 5], [1, 2, 4, 5], [7, 3, 3, 3]])
    targets = torch.tensor([[5, 6, IGNORED, IGNORED], [5, 6, 7, 8], [IGNORED, IGNORED, 7, 8], [9, *[IGNORED] * 3]])
    return inputs, targets


def two_beginnings():
    """Three pairs that share their first token, 5 nodes each, and a text of 6 that begins with another."""
    pairs = [[1, 10 * q, 3, answer, 9, 9] for q in (1, 2, 3) for answer in (4, 5)]
    inputs = torch.tensor([*pairs, [2, 3, 4, 5, 6, 7]])
    targets = torch.full_like(inputs, IGNORED)
    targets[:-1, 3] = targets[-1, 5] = 8
    return inputs, targets


ROOM = st.none() | st.integers(0, 12)
"""How much wider a row may be than the probes; None for the width that costs least."""


@settings(max_examples=60, deadline=None)
@given(probes=probe_sets(), room=ROOM)
@example(probes=one_begins_another(), room=None)
@example(probes=one_begins_another(), room=0)
@torch.no_grad()
def test_shared_prefixes_give_the_logits_and_readouts_of_the_plain_form(made_phi3, probes, room):
    inputs, targets = probes
    tree, kept = share_prefixes(inputs, targets, None if room is None else inputs.shape[1] + room)
    must_agree(made_phi3(tree), kept, made_phi3(inputs), targets)


@settings(max_examples=30, deadline=None)
@given(probes=probe_sets())
@torch.no_grad()
def test_features_are_the_mean_hidden_state_of_each_text_alone(made_phi3, probes):
    inputs = probes[0] + 10
    inputs[:, 1:][inputs[:, 1:] == 13] = made_phi3.pad  # behind the texts, and in some of them
    for row, feature in zip(inputs, mean_hidden_state(made_phi3, inputs)):
        text = row[None, : int((row != made_phi3.pad).nonzero().max()) + 1]
        hidden = made_phi3.language_model.model(input_ids=text).last_hidden_state[0]
        torch.testing.assert_close(feature, hidden.mean(0), **EXACT)


@torch.no_grad()
def test_features_compute_what_texts_share_once(phi3, monkeypatch):
    inputs, _ = questions()
    computed = []
    phi3.language_model.model.layers[0].register_forward_pre_hook(lambda _, given: computed.append(given[0].numel()))
    features = mean_hidden_state(phi3, inputs)
    shared = computed[-1]
    monkeypatch.setattr(phi3, "can_share", lambda length: False)
    torch.testing.assert_close(mean_hidden_state(phi3, inputs), features, **EXACT)
    assert shared < 0.6 * computed[-1]


@given(probes=probe_sets())
def test_each_distinct_prefix_is_computed_once_where_all_fit_into_a_row(probes):
    inputs, targets = probes
    needed, scored = prefixes(inputs, targets)
    tree, _ = share_prefixes(inputs, targets, width=len(needed) + inputs.shape[1])
    assert tree.computed == len(needed)
    assert tree.scored == max(1, len(scored))


@given(probes=probe_sets(), room=ROOM)
@example(probes=two_beginnings(), room=4)
def test_no_row_is_wider_than_allowed_and_none_repeats_a_prefix(probes, room):
    inputs, targets = probes
    tree, _ = share_prefixes(inputs, targets, None if room is None else inputs.shape[1] + room)
    assert room is None or tree.token_ids.shape[1] <= inputs.shape[1] + room
    seen = set()
    for row, depths, visible in zip(tree.token_ids, tree.position_ids, tree.visible):
        order = depths.argsort()
        held = [tuple(row[order][sees[order]].tolist()) for sees in visible]
        real = [prefix for prefix in held if prefix != (0,)]  # no text has the token 0, padding has no other
        assert len(real) == len(set(real))
        seen |= set(real)
    assert seen == prefixes(inputs, targets)[0]


@given(probes=probe_sets())
def test_the_width_that_costs_least_computes_no_more_tokens_than_the_plain_form(probes):
    tree, _ = share_prefixes(*probes)
    assert tree.unshared == probes[0].numel()
    assert tree.saved == pytest.approx(1 - tree.computed / tree.unshared) and tree.saved >= 0


@pytest.mark.parametrize("together", [1, 2])
def test_layers_see_the_tokens_that_differ_and_the_head_those_that_are_scored(phi3, together):
    inputs, targets = questions(count=4, candidates=3)
    in_rows = [prefixes(inputs[rows], targets[rows]) for rows in torch.arange(12).split(3 * together)]
    reached: dict[str, int] = {}

    def count(name):
        def hook(module, arguments, output):
            reached[name] = arguments[0].shape[:-1].numel()

        return hook

    for name, module in phi3.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count(name))
    # a row just wide enough for so many questions, with what they share counted once
    tree, _ = share_prefixes(inputs, targets, width=len(in_rows[0][0]))
    phi3(tree)
    assert reached.pop("language_model.lm_head") == sum(len(scored) for _, scored in in_rows)
    assert set(reached.values()) == {tree.computed} == {sum(len(needed) for needed, _ in in_rows)}
    phi3(inputs)
    assert set(reached.values()) == {tree.unshared}


@torch.no_grad()
def test_packing_chunk_by_chunk_changes_no_readout(phi3):
    inputs, targets = questions()
    whole, kept = share_prefixes(inputs, targets)
    for size in (1, 3, 5):
        parts = [share_prefixes(*chunk) for chunk in zip(inputs.split(size), targets.split(size))]
        readings = torch.cat([log_prob(phi3(tree), own) for tree, own in parts])
        torch.testing.assert_close(readings, log_prob(phi3(whole), kept), **EXACT)


def test_gradients_are_those_of_the_plain_form(phi3):
    inputs, targets = questions()
    tree, kept = share_prefixes(inputs, targets)
    parameters = list(phi3.parameters())
    shared = torch.autograd.grad(token_loss(phi3(tree), kept), parameters)
    plain = torch.autograd.grad(token_loss(phi3(inputs), targets), parameters)
    assert max(float(gradient.abs().max()) for gradient in plain) > 1e-3
    for ours, theirs in zip(shared, plain):
        torch.testing.assert_close(ours, theirs, **EXACT)


def trained(model, scale=0.3):
    """What a method trains, moved to anywhere else."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: p.detach() + scale * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        for name, p in model.named_parameters()
        if p.requires_grad
    }


@pytest.mark.parametrize("method", ["full", "lora", "adapter", "ia3"])
@torch.no_grad()
def test_shared_prefixes_are_exact_with_replaced_weights_of_every_method(phi3, method):
    inputs, targets = questions()
    tree, kept = share_prefixes(inputs, targets)
    ready = named_method(method).apply(phi3, 0)
    before = ready(inputs)
    weights = trained(ready)
    assert ready.can_share(inputs.shape[1])
    plain = functional_call(ready, weights, (inputs,))
    assert (plain - before).abs().max() > 0.1
    must_agree(functional_call(ready, weights, (tree,)), kept, plain, targets)


@torch.no_grad()
def test_shared_prefixes_are_exact_under_hooks_that_change_what_layers_give(phi3):
    inputs, targets = questions()
    tree, kept = share_prefixes(inputs, targets)
    before = phi3(inputs)
    generator = torch.Generator().manual_seed(0)
    for module in phi3.modules():
        if isinstance(module, nn.Linear):
            change = 0.1 * torch.randn(module.weight.shape, generator=generator, dtype=torch.float64)
            module.register_forward_hook(lambda _, arguments, output, change=change: output + arguments[0] @ change.T)
    plain = phi3(inputs)
    assert (plain - before).abs().max() > 0.1
    must_agree(phi3(tree), kept, plain, targets)


@pytest.mark.parametrize("method", ["full", "lora"])
@torch.no_grad()
def test_shared_prefixes_hold_in_bfloat16_to_its_precision(phi3, method):
    inputs, targets = questions()
    tree, _ = share_prefixes(inputs, targets)
    ready = named_method(method).apply(phi3.bfloat16(), 0)
    assert ready.can_share(inputs.shape[1])
    plain, _ = at_scored(ready(inputs), targets)
    shared = ready(tree)
    assert shared.dtype == torch.bfloat16
    assert (shared - plain).abs().max() < 0.1 * plain.abs().max()


def test_a_tree_moves_to_a_device_as_a_whole():
    tree, _ = share_prefixes(*questions())
    moved = tree.to("meta")
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 4 and all(value.device.type == "meta" for value in tensors)
    assert (moved.scored, moved.saved) == (tree.scored, tree.saved)


def test_a_text_longer_than_a_row_is_refused():
    inputs, targets = questions(length=6)
    with pytest.raises(ConfigError, match=r"width must be at least the longest text's 7 tokens, got 6"):
        share_prefixes(inputs, targets, width=6)


# When sharing is refused


def disagreement(model, inputs, targets):
    """The largest difference between the two forms, over the largest logit."""
    tree, _ = share_prefixes(inputs, targets, width=inputs.numel())
    plain, _ = at_scored(model(inputs), targets)
    return float((model(tree) - plain).abs().max() / plain.abs().max())


@torch.no_grad()
def test_a_sliding_window_allows_sharing_up_to_its_width_and_no_further(phi3):
    inputs, targets = questions()
    length = inputs.shape[1]
    phi3.language_model.config.sliding_window = length
    assert phi3.can_share(length) and not phi3.can_share(length + 1)
    assert disagreement(phi3, inputs, targets) < 1e-9
    phi3.language_model.config.sliding_window = length - 2
    assert not phi3.can_share(length)
    assert disagreement(phi3, inputs, targets) > 1e-3


def test_attention_that_takes_no_mask_of_ours_refuses_sharing(phi3):
    assert phi3.can_share(8)
    phi3.language_model.config._attn_implementation = "flash_attention_2"
    assert not phi3.can_share(8)


@pytest.mark.parametrize("tuner", ["PROMPT_TUNING", "PREFIX_TUNING"])
def test_virtual_tokens_refuse_sharing(phi3, tuner):
    method = {"name": "peft", "tuner": tuner, "options": {"num_virtual_tokens": 2}}
    assert not named_method(method).apply(phi3, 0).can_share(8)


SMALL = {"vocab_size": 330, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4}
WIDE = {"hidden_size": 32, "num_hidden_layers": 2}
ROTARY = {**WIDE, "num_attention_heads": 4, "intermediate_size": 48}


def made(name: str, options: dict) -> CausalLM:
    config = transformers.AutoConfig.for_model(name, **SMALL, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CausalLM(transformers.AutoModelForCausalLM.from_config(config)).eval()


@torch.no_grad()
def test_rotations_that_change_with_length_allow_sharing_within_their_first_range():
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 9, "factor": 4.0}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    model = made("llama", {**ROTARY, "max_position_embeddings": 36, "rope_parameters": rope})
    assert model.can_share(9) and not model.can_share(10)


@pytest.mark.parametrize(
    ("name", "options"),
    [("llama", ROTARY), ("gpt2", GPT), ("gemma2", {**ROTARY, "num_key_value_heads": 2, "head_dim": 8})],
)
@torch.no_grad()
def test_decoders_that_go_by_position_ids_may_share(name, options):
    inputs, targets = questions()
    model = made(name, options)
    assert model.can_share(inputs.shape[1])
    assert disagreement(model, inputs, targets) < 1e-5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4}),  # distances by column
        ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),  # reads no such mask
        ("rwkv", {**WIDE, "attention_hidden_size": 32}),  # a state handed along the row
    ],
)
@torch.no_grad()
def test_models_that_would_read_a_tree_wrongly_refuse_sharing(name, options):
    inputs, targets = questions()
    model = made(name, options)
    assert not model.can_share(inputs.shape[1])
    try:
        assert disagreement(model, inputs, targets) > 1e-3
    except ValueError:
        assert name == "bloom"


@torch.no_grad()
def test_a_mask_over_later_columns_refuses_sharing():
    """GPT-Neo hides what stands later in a row, even where its mask and ours agree on every other column."""
    model = made("gpt_neo", {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]})
    assert not model.can_share(8)
