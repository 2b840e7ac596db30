"""Texts on both sides of the length at which LongRoPE turns otherwise: each is read and learnt as if it were alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Phi3Config, Phi3ForCausalLM

from eif_lab import measure_context, measure_influence
from eif_lab.models.language.causal_lm import CausalLM, mean_hidden_state, token_loss
from eif_lab.readouts.classes import IGNORED

PAD, LIMIT, WORDS = 0, 16, 40
LENGTHS = [5, LIMIT, LIMIT + 1, 25, 9]
"""Of stimuli and probes: below the limit, at it, and beyond it."""


@pytest.fixture(scope="module")
def made() -> Phi3ForCausalLM:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": LIMIT}
    config = Phi3Config(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        original_max_position_embeddings=LIMIT,
        rope_parameters=rope | {"short_factor": [1.0] * 4, "long_factor": [8.0] * 4},
        initializer_range=0.3,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Phi3ForCausalLM(config).double().eval()


@pytest.fixture
def model(made) -> CausalLM:
    return CausalLM(copy.deepcopy(made), PAD).eval()


def texts(seed, lengths=LENGTHS):
    """Each text alone, as (1, length) ids and targets, of which the second half is scored."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(3, WORDS, (1, length + 1), generator=draw)
        targets = ids[:, 1:].clone()
        targets[:, : length // 2] = IGNORED
        rows.append((ids[:, :-1], targets))
    return rows


def padded(rows):
    longest = max(ids.shape[1] for ids, _ in rows)
    return tuple(
        torch.cat([F.pad(one[side], (0, longest - one[side].shape[1]), value=filling) for one in rows])
        for side, filling in ((0, PAD), (1, IGNORED))
    )


def score(language_model: nn.Module, ids, targets) -> torch.Tensor:
    """The log-probability of one text that stands alone, by transformers itself."""
    return -F.cross_entropy(language_model(input_ids=ids).logits[0], targets[0], ignore_index=IGNORED, reduction="sum")


def scores(language_model: nn.Module, rows) -> np.ndarray:
    with torch.no_grad():
        return np.array([score(language_model, *row).item() for row in rows])


def by_hand(model: CausalLM, stimuli, probes, rate):
    """The influence of every text on every other, each alone and without padding."""
    rows = []
    for ids, targets in stimuli:
        tuned = copy.deepcopy(model.language_model)
        (-score(tuned, ids, targets) / (targets != IGNORED).sum()).backward()
        torch.optim.SGD(tuned.parameters(), lr=rate).step()
        rows.append(scores(tuned, probes) - scores(model.language_model, probes))
    return np.array(rows)


def test_every_row_of_a_batch_is_read_as_if_it_were_alone(model):
    rows = texts(0)
    together, features = model(padded(rows)[0]), mean_hidden_state(model, padded(rows)[0])
    for number, (ids, _) in enumerate(rows):
        expected = model.language_model(input_ids=ids)
        torch.testing.assert_close(together[number, : ids.shape[1]], expected.logits[0], atol=1e-6, rtol=1e-6)
        hidden = model.language_model.model(input_ids=ids).last_hidden_state[0].mean(0)
        torch.testing.assert_close(features[number], hidden, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("engine", ["factored", "stacked", "loop", "reference", "auto"])
def test_influence_between_texts_of_any_length_is_theirs_alone(model, engine):
    stimuli, probes = texts(1), texts(2)
    measured = measure_influence(
        model, token_loss, padded(stimuli), padded(probes), method="full", update={"learning_rate": 0.05}, engine=engine
    )
    expected = by_hand(model, stimuli, probes, 0.05)
    assert np.abs(expected).min() > 1e-5
    np.testing.assert_allclose(measured.values, expected, atol=1e-5, rtol=1e-4)
    assert engine == "loop" or measured.attrs["engine"] != "loop"  # which is for models that change by being called


def test_a_first_order_prediction_takes_each_text_alone(model):
    stimuli, probes, rate = texts(1), texts(2), 1e-5
    measured = measure_influence(
        model, token_loss, padded(stimuli), padded(probes), update={"learning_rate": rate}, engine="first_order"
    )
    np.testing.assert_allclose(measured.values, by_hand(model, stimuli, probes, rate), rtol=0.02, atol=rate / 10)


def test_low_rank_adaptation_is_of_each_text_alone(model):
    stimuli, probes = texts(1), texts(2)
    whole, alone = (
        measure_influence(model, token_loss, one, other, method="lora", update={"learning_rate": 0.5}).values
        for one, other in [(padded(stimuli), padded(probes)), (stimuli[0], probes[2])]
    )
    assert abs(alone.item()) > 1e-6
    np.testing.assert_allclose(whole[0, 2], alone.item(), rtol=1e-4, atol=1e-8)


def test_what_is_read_before_a_probe_makes_no_other_probe_longer(model):
    probes, contexts = texts(2, [6, 12, 20]), texts(3, [2, 9])
    behind = [
        [
            (torch.cat([context, ids], 1), F.pad(targets, (context.shape[1], 0), value=IGNORED))
            for ids, targets in probes
        ]
        for context, _ in contexts
    ]
    measured = measure_context(model, padded(probes), [padded(rows) for rows in behind])
    expected = [scores(model.language_model, rows) - scores(model.language_model, probes) for rows in behind]
    np.testing.assert_allclose(measured.values, expected, atol=1e-5)


def test_a_call_leaves_the_model_as_it_came(model):
    rotation = model.language_model.model.rotary_emb
    attributes, version = dict(vars(rotation)), rotation.inv_freq._version
    model(padded(texts(0))[0])
    assert vars(rotation) == attributes and rotation.inv_freq._version == version
