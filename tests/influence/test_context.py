"""Influence through the context against one forward pass for each stimulus and probe, and its laws."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eif_lab import calibrate, measure_context, measure_influence
from eif_lab.data.task import Texts
from eif_lab.errors import ConfigError
from eif_lab.influence.reading import arrangement, passes
from eif_lab.methods.prompt import Prompt
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder, spell_out
from eif_lab.readouts.classes import rank

STIMULI = ("a dax is a blick .", "a wug can zorp .")
PROBES = Texts(
    ("a dax can", "", "a wug can", "a blick is a"),
    (" zorp", "a dax is a blick .", " zorp", " dax"),
    np.arange(4).astype(str),
    candidates=((" zorp", " blick", " fly"), (), (" zorp", " gorm"), ()),
)
BUILT_IN = ["log_prob", "rank"]


@pytest.fixture(autouse=True)
def known_size(monkeypatch):
    """Every op's memory is not followed here: with checked annotations that takes most of the time."""
    monkeypatch.setattr(passes, "peak_bytes", lambda *_: 2**20)


@pytest.fixture
def encode(tokenizer):
    return Encoder(tokenizer, context=64)


def measured(phi3, encode, stimuli=STIMULI, template="statement", probes=PROBES, **options):
    method = Prompt(template=template)
    contexts = (method.rows(encode, probes, stimulus) for stimulus in stimuli)
    return measure_context(phi3, method.rows(encode, probes), contexts, **options)


@torch.no_grad()
def log_prob_by_hand(phi3, encode, text, target):
    """Log-probability of the tokens that end in the target, from a plain pass over the whole string alone."""
    ids, start = encode.tokens(text.removesuffix(target), target)
    logs = phi3(torch.tensor([ids]))[0].log_softmax(-1)
    return sum(logs[t - 1, ids[t]] for t in range(start, len(ids))).item()


@pytest.mark.parametrize("template", ["{stimulus} {probe}", "{stimulus}\nQ: {probe}\nA:"])
def test_influence_equals_a_plain_pass_over_each_concatenated_string(phi3, encode, template):
    array = measured(phi3, encode, template=template)
    behind = template.split("{stimulus}")[1].lstrip()
    for i, stimulus in enumerate(STIMULI):
        for j, (prompt, target) in enumerate(zip(PROBES.prompts, PROBES.targets)):
            asked = behind.replace("{probe}", prompt).replace("Q: \n", "Q: ")
            apart = " " if asked and not prompt and not asked.endswith(" ") else ""
            plain = f"{asked}{apart}{target}"
            between = template.split("{stimulus}")[1].split("{probe}")[0].removesuffix("Q: ")
            whole = f"{stimulus}{between}{plain}"
            scored = target if prompt else f" {target}"
            expected = log_prob_by_hand(phi3, encode, whole, scored) - log_prob_by_hand(
                phi3, encode, plain, scored if plain != target else target
            )
            assert array.values[i, j] == pytest.approx(expected, abs=1e-9), (i, j)
    assert np.abs(array.values).min() > 1e-3


def test_a_probe_is_set_against_its_candidates_behind_the_same_stimulus(phi3, encode):
    rows, owner = spell_out(PROBES)
    array = measured(phi3, encode, STIMULI, probes=rows, candidates=owner, readout=["log_odds", "rank"])
    method = Prompt()

    def log_odds(context):
        inputs, targets = method.rows(encode, rows, context)
        with torch.no_grad():
            logs = phi3(inputs).log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        scored = targets != -100
        sums, counts = (logs * scored).sum(1), scored.sum(1)
        odds = []
        for j in (0, 2):
            mine = torch.tensor(owner == j)
            score = sums[mine] / (counts[mine] if len(set(counts[mine].tolist())) > 1 else 1)
            odds.append((score[0] - score[1:].logsumexp(0)).item())
        return np.array(odds)

    for i, stimulus in enumerate(STIMULI):
        expected = log_odds(stimulus) - log_odds("")
        np.testing.assert_allclose(array.sel(readout="log_odds").values[i, [0, 2]], expected, atol=1e-9)
    assert array.sizes["probe"] == len(PROBES)
    only_own = measured(phi3, encode, STIMULI[:1], probes=rows, candidates=owner)
    np.testing.assert_allclose(only_own, measured(phi3, encode, STIMULI[:1]), atol=1e-12)


def test_chunks_shared_prefixes_and_the_order_of_stimuli_change_nothing(phi3, encode, monkeypatch):
    shared = measured(phi3, encode, readout=BUILT_IN)
    monkeypatch.setattr(passes, "LARGEST_PASS", 2)
    backwards = measured(phi3, encode, STIMULI[::-1], readout=BUILT_IN)
    np.testing.assert_allclose(backwards[::-1], shared, atol=1e-9)
    monkeypatch.setattr(CausalLM, "can_share", lambda *_: False)
    np.testing.assert_allclose(measured(phi3, encode, STIMULI[:1], readout=BUILT_IN), shared[:1], atol=1e-9)


def test_the_context_of_all_probes_is_computed_once(phi3, encode, monkeypatch):
    computed = []
    tree_logits = CausalLM._tree_logits
    monkeypatch.setattr(CausalLM, "_tree_logits", lambda self, tree: computed.append(tree) or tree_logits(self, tree))
    monkeypatch.setattr(arrangement, "WORTH_SHARING", 0.0)
    long = "a dax is a blick . a wug is a gorm ."
    measured(phi3, encode, [long])
    length = len(encode.tokens("", long)[0])
    whole = max(computed, key=lambda tree: tree.unshared)
    alone = sum(len(encode.tokens(prompt, target)[0]) for prompt, target in zip(PROBES.prompts, PROBES.targets))
    assert whole.computed < 2 * length + alone < len(PROBES) * length


def test_no_stimulus_has_no_influence(phi3, encode):
    assert (measured(phi3, encode, ["", STIMULI[0]], readout=BUILT_IN).values[0] == 0).all()


@pytest.mark.parametrize("readout", ["prob", ["rank", "log_prob"]])
def test_dims_units_and_signs_are_those_of_measure_influence(net, batch, readout):
    """Also of a model that is none of language: its contexts are whatever changes its inputs."""
    trained = measure_influence(net, F.cross_entropy, batch, batch, readout=readout)
    array = measure_context(net, batch, [(batch[0] + 1, batch[1]), (batch[0] - 1, batch[1])], readout=readout)
    assert array.dims == trained.dims and set(trained.coords) - set(array.coords) <= {"seed", "step"}
    assert array.dtype == trained.dtype and set(array.attrs) == set(trained.attrs)
    assert array.attrs["units"] == trained.attrs["units"] and array.attrs["engine"] == "context"
    assert "positive means" in array.attrs["sign"]


def test_a_likelier_target_has_positive_influence_on_its_rank(net, batch):
    array = measure_context(net, batch, [(batch[0] + 1, batch[1])], readout="rank")
    with torch.no_grad():
        before, after = (rank(net.eval()(inputs), batch[1]) for inputs in (batch[0], batch[0] + 1))
    np.testing.assert_array_equal(array[0], before - after)
    assert np.abs(array).max() > 0


def test_each_stimulus_is_told_as_it_is_measured_and_the_model_is_left_as_it_was(phi3, encode):
    phi3.train()
    flags = [p.requires_grad for p in phi3.parameters()]
    parts = []
    array = measured(phi3, encode, readout=["log_prob", "prob"], on_chunk=parts.append)
    np.testing.assert_array_equal(np.concatenate(parts)[:, 0], array)
    assert all(part.shape == (1, 1, len(PROBES), 2) for part in parts)
    assert phi3.training and [p.requires_grad for p in phi3.parameters()] == flags


def test_what_cannot_be_read_is_told_in_one_line(phi3, encode):
    with pytest.raises(ConfigError, match=r"model must have a context of at least \d+ tokens .*got 64") as caught:
        measured(phi3, encode, ["a dax is a blick . " * 20])
    assert "\n" not in str(caught.value)
    plain = Prompt().rows(encode, PROBES)
    with pytest.raises(ConfigError, match=r"contexts must hold at least one stimulus, got 0"):
        measure_context(phi3, plain, [])
    with pytest.raises(ConfigError, match=r"contexts\[1\] must have a row for each of the 4 rows of probes, got 2"):
        measure_context(phi3, plain, [plain, tuple(part[:2] for part in plain)])
    with pytest.raises(ConfigError, match=r"readout must be one of"):
        measure_context(phi3, plain, [plain], readout="odds")
    for measure in (partial(measure_influence, probes=plain), calibrate):
        with pytest.raises(ConfigError, match=r"method must be one that moves weights here.*measure_context"):
            measure(phi3, token_loss, plain, method="prompt")
