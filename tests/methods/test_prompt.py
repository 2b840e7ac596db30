"""What prompting reads: the framing, with and without a stimulus, and who keeps it company."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from language import TOKENIZERS
from torch import nn

from eif_lab import calibrate, measure_influence
from eif_lab.data.task import Texts
from eif_lab.errors import ConfigError
from eif_lab.methods import named_method
from eif_lab.methods.prompt import TEMPLATES, Prompt
from eif_lab.models.language.encoding import Encoder
from eif_lab.readouts.classes import IGNORED


def texts(*pairs, **coords):
    ids = np.array([prompt + target for prompt, target in pairs])
    coords = {name: np.array(values) for name, values in coords.items()}
    return Texts(tuple(p for p, _ in pairs), tuple(t for _, t in pairs), ids, coords)


PROBES = texts(("a dax can", " zorp"), ("", "a dax is a blick ."))


def said(framed):
    return [(prompt, target) for prompt, target in zip(framed.prompts, framed.targets)]


@pytest.mark.parametrize(
    ("template", "with_stimulus", "without"),
    [
        ("statement", "S. a dax can zorp", "a dax can zorp"),
        ("question", "S.\nQ: a dax can\nA: zorp", "Q: a dax can\nA: zorp"),
        ("Given {stimulus}, {probe}", "Given S., a dax can zorp", "Given , a dax can zorp"),
        ("{stimulus}\n\n{probe} surely", "S.\n\na dax can surely zorp", "a dax can surely zorp"),
    ],
)
def test_template_puts_the_stimulus_before_the_probe_and_scores_the_target_alone(template, with_stimulus, without):
    method = Prompt(template=template)
    for context, whole in (("S.", with_stimulus), ("", without)):
        [(prompt, target), _] = said(method.frame(PROBES, context))
        assert prompt + target == whole and target == " zorp"


def test_statement_without_stimulus_is_the_probe_as_every_other_method_reads_it():
    assert said(Prompt().frame(PROBES)) == said(PROBES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_whole_statement_is_parted_from_its_context_by_a_blank_that_it_brings(template):
    _, (prompt, target) = said(Prompt(template=template).frame(PROBES, "S."))
    assert not prompt[-1].isspace() and target == " a dax is a blick ."


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("template", ["statement", "question", "{stimulus}\n{probe}"])
def test_as_many_tokens_are_scored_with_the_stimulus_as_without(tokenizer, template):
    """Also where the first token of a text cannot be scored, for want of a BOS."""
    encode, method = Encoder(tokenizer(), context=128), Prompt(template=template)
    with_stimulus, without = (
        (method.rows(encode, PROBES, context)[1] != IGNORED).sum(1).tolist() for context in ("a dax is a blick .", "")
    )
    assert with_stimulus == without


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("template", ["statement", "question"])
def test_the_ids_are_those_of_the_whole_string_and_the_same_target_is_scored(tokenizer, template):
    tokenizer = tokenizer()
    method, context = Prompt(template=template), "a dax is a blick ."
    framed = method.frame(PROBES, context)
    inputs, targets = method.rows(Encoder(tokenizer, context=128), PROBES, context)
    for row, (prompt, target) in enumerate(said(framed)):
        ids = tokenizer(prompt + target, add_special_tokens=False)["input_ids"]
        scored = targets[row][targets[row] != IGNORED].tolist()
        before = ids[: -len(scored)]
        read = [token for token in inputs[row].tolist() if token != tokenizer.bos_token_id]
        assert read[: len(ids) - 1] == ids[:-1] and scored == ids[-len(scored) :]
        unscored = method.frame(PROBES).prompts[row] == "" and tokenizer.bos_token is None
        assert before[: len(before) - unscored] == tokenizer(prompt, add_special_tokens=False)["input_ids"]


def test_chat_is_the_tokenizers_own_form_with_the_target_as_the_reply(tokenizer):
    context = "a wug is a dax ."
    inputs, targets = Prompt(template="chat").rows(Encoder(tokenizer, context=128), PROBES, context)
    turns = [{"role": "user", "content": f"{context} a dax can"}]
    asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    whole = tokenizer(f"{asked}zorp", add_special_tokens=False)["input_ids"]
    row = [*inputs[0].tolist(), tokenizer.pad_token_id]
    assert [i for i in row if i not in (tokenizer.bos_token_id, tokenizer.pad_token_id)] == whole[:-1]
    assert tokenizer.decode(targets[0][targets[0] != IGNORED]) == "zorp"


def test_chat_needs_a_tokenizer_with_a_chat_form():
    encode = Encoder(TOKENIZERS["without_bos"](), context=64)
    with pytest.raises(ConfigError, match=r"method.template must be another for a tokenizer without chat form, got"):
        Prompt(template="chat").encoder(encode)


@pytest.mark.parametrize(
    "template", ["chatty", "{probe} {stimulus}", "{stimulus}", "{stimulus} {probe} {x}", "{stimulus"]
)
def test_a_template_of_ones_own_has_both_places_in_order(template):
    with pytest.raises(
        ConfigError, match=r"method.template must be statement, question, chat, or a text with"
    ) as caught:
        Prompt(template=template)
    assert "\n" not in str(caught.value)


def test_prompt_is_found_by_name_and_moves_no_weight():
    method = named_method({"name": "prompt", "template": "question"})
    assert method.name == "prompt" and method.channel == "context"
    model = method.apply(nn.Linear(1, 1), 0)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("function", [measure_influence, calibrate])
def test_a_function_that_moves_weights_says_which_one_reads_stimuli(function):
    batch = torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)
    probes = (batch,) if function is measure_influence else ()
    with pytest.raises(ConfigError, match=r"method must be one that moves weights here.*Try eif_lab.measure_context"):
        function(nn.Linear(1, 2), nn.functional.cross_entropy, batch, *probes, method="prompt")


STIMULI = texts(
    *(("", f"s{i} .") for i in range(6)), ("", "neutral ."), world=[0, 0, 1, 1, 2, 2, 2], neutral=[False] * 6 + [True]
)


def test_companions_are_of_other_worlds_are_not_neutral_and_stand_before_the_stimulus():
    for seed in range(5):
        for i, (whole, others) in enumerate(Prompt(stimuli_in_context=3).contexts(STIMULI, seed)):
            own = STIMULI.targets[i]
            assert whole == f"{others} {own}"
            names = others.removesuffix(" .").split(" . ")
            rows = [STIMULI.targets.index(f"{name} .") for name in names]
            assert len(set(rows)) == 2
            assert all(STIMULI.coords["world"][j] != STIMULI.coords["world"][i] for j in rows)
            assert not any(STIMULI.coords["neutral"][j] for j in rows)


def test_companions_depend_on_the_seed_and_the_stimulus_and_not_on_its_place():
    method = Prompt(stimuli_in_context=3)
    order = np.random.default_rng(0).permutation(len(STIMULI))
    plain = dict(zip(STIMULI.ids, method.contexts(STIMULI, 1)))
    shuffled = dict(zip(STIMULI.ids[order], method.contexts(STIMULI.take(order), 1)))
    assert plain == shuffled
    assert plain != dict(zip(STIMULI.ids, method.contexts(STIMULI, 2)))
    ids, coords = np.array([f"{name}~1" for name in STIMULI.ids]), {**STIMULI.coords, "source": STIMULI.ids}
    noisy = replace(STIMULI, ids=ids, coords=coords)
    assert [others for _, others in method.contexts(noisy, 1)] == [others for _, others in plain.values()]


def test_one_stimulus_has_no_companions_and_too_many_are_refused():
    assert Prompt().contexts(STIMULI, 0) == [(target, "") for target in STIMULI.targets]
    with pytest.raises(ConfigError, match=r"method.stimuli_in_context must be at most 5, .*got 9. Try 5."):
        Prompt(stimuli_in_context=9).contexts(STIMULI, 0)
