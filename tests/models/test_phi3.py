"""The Phi-3 room: checkpoints, encoding and scores, held to transformers itself."""

import dataclasses
import json
import os
import shutil
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from hydra import compose, initialize_config_dir
from language import TOKENIZERS, byte_level_tokenizer, save_checkpoint, small_phi3
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, Phi3Model
from transformers.utils import chat_template_utils
from transformers.utils import logging as transformers_logging

from eif_lab.configs import CONF
from eif_lab.data.task import Task, Texts
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.errors import ConfigError
from eif_lab.models import hub
from eif_lab.models.base import weights_hash
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.models.language.phi3 import SHIPPED, Phi3
from eif_lab.models.language.pretrained import PretrainedLM, Teaching
from eif_lab.options import build
from eif_lab.page.facts import model_name
from eif_lab.readouts.classes import IGNORED, log_prob
from eif_lab.results.manifest import BaseModel

DOMAIN = Ontology(worlds=2, stimuli_per_world=3)


@pytest.fixture(scope="module")
def task() -> Task:
    return DOMAIN.load(0)


@pytest.fixture(scope="module")
def untaught(task: Task) -> Task:
    return dataclasses.replace(task, background=None)


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def tokenizer(request):
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def checkpoint(request, tmp_path_factory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"), byte_level_tokenizer(), tied=request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("plain"), byte_level_tokenizer())


def alone(texts: Texts, i: int) -> Texts:
    return texts.take([i])


# Encoding


def test_ids_are_those_of_the_whole_string(tokenizer, task):
    encode = Encoder(tokenizer, 64)
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    for prompt, target in zip(task.probes.prompts, task.probes.targets):
        ids, start = encode.tokens(prompt, target)
        assert ids == bos + tokenizer.encode(prompt + target, add_special_tokens=False)
        assert tokenizer.decode(ids[start:]).strip() == target.strip()
        assert tokenizer.decode(ids[len(bos) : start]).strip() == prompt.strip()


def test_targets_are_the_next_ids_where_the_target_is(tokenizer, task):
    encode = Encoder(tokenizer, 64)
    inputs, targets = encode(task.probes)
    for row, (prompt, target) in enumerate(zip(task.probes.prompts, task.probes.targets)):
        ids, start = encode.tokens(prompt, target)
        length = len(ids) - 1
        expected = [ids[t + 1] if t + 1 >= start else IGNORED for t in range(length)]
        assert inputs[row, :length].tolist() == ids[:-1]
        assert (inputs[row, length:] == encode.pad).all()
        assert targets[row, :length].tolist() == expected
        assert (targets[row, length:] == IGNORED).all()


def test_a_statement_is_scored_from_its_first_token_given_a_bos(tokenizer, task):
    _, targets = Encoder(tokenizer, 64)(task.stimuli)
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in task.stimuli.targets]
    unscored = int(tokenizer.bos_token_id is None)
    assert (targets != IGNORED).sum(1).tolist() == [n - unscored for n in lengths]


def test_a_token_over_the_boundary_counts_as_target():
    tokenizer = byte_level_tokenizer()
    word = next(w for w in tokenizer.get_vocab() if w.startswith("Ġ") and len(w) >= 4)[1:]
    ids, start = Encoder(tokenizer, 64).tokens(f"a {word[:1]}", word[1:])
    assert ids == [tokenizer.bos_token_id, *tokenizer.encode(f"a {word}", add_special_tokens=False)]
    assert tokenizer.convert_ids_to_tokens(ids[start:]) == [f"Ġ{word}"]


def test_an_end_token_in_a_text_is_scored_although_it_is_the_padding():
    tokenizer = TOKENIZERS["sentencepiece_like"]()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    texts = Texts(("a", "a"), (" dax is red<|endoftext|>", " dax"), np.arange(2))
    _, targets = Encoder(tokenizer, 64)(texts)
    assert targets[0].max() >= 0 and targets[0][targets[0] != IGNORED][-1] == tokenizer.eos_token_id
    assert targets[1][-1] == IGNORED


def test_chat_template_makes_the_target_the_assistants_reply(task):
    tokenizer = byte_level_tokenizer()
    encode = Encoder(tokenizer, 64, chat_template=True)
    for prompt, target in zip(task.probes.prompts, task.probes.targets):
        ids, start = encode.tokens(prompt, target)
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": target.strip()}]
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        expected = [tokenizer.bos_token_id, *tokenizer.encode(whole, add_special_tokens=False)]
        assert ids == expected[: len(ids)]
        assert tokenizer.convert_ids_to_tokens(expected[len(ids)]) == "<|end|>"
        assert tokenizer.decode(ids[start:]) == target.strip()


def test_texts_that_do_not_fit_are_refused_in_one_line():
    tokenizer = byte_level_tokenizer()
    long = Texts(("",), ("a dax is a blick . " * 20,), np.arange(1))
    with pytest.raises(ConfigError, match=r"^model must have a context of at least \d+ tokens .*got 16") as caught:
        Encoder(tokenizer, 16)(long)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="target with a token"):
        Encoder(tokenizer, 16)(Texts(("a dax",), ("",), np.arange(1)))
    with pytest.raises(ConfigError, match=r"model.chat_template must be false"):
        Encoder(tokenizer_without_template(), 16, chat_template=True)


def tokenizer_without_template():
    return TOKENIZERS["without_bos"]()


DATED = "{{ strftime_now('%d %b %Y') }} {% for message in messages %}{{ message['content'] }}{% endfor %}"


def test_a_dated_chat_template_gives_the_same_ids_on_any_day(task, monkeypatch):
    tokenizer, given = byte_level_tokenizer(), []
    tokenizer.chat_template = DATED
    for day in (1, 2):
        monkeypatch.setattr(
            chat_template_utils, "datetime", SimpleNamespace(now=lambda day=day: datetime(2031, 1, day))
        )
        given.append(Encoder(tokenizer, 64, chat_template=True).tokens("a dax is", " red"))
    assert given[0] == given[1]
    assert "2024" in tokenizer.decode(given[0][0])


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (ENDLESS, r"be one that can be filled in \(it goes on for more than 0.2 s\)"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ raise_exception('no\nsystem') }}", r"\(no system\)"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion"),
        ("{{ messages[0].tool.name }}", "no attribute 'tool'"),
        ("{{ 'a' * 10 ** 13 }}", "MemoryError"),
        ("{% for i in %}", "Expected an expression"),
        (5, "be one that can be filled in"),
        ({"other": "{{ messages }}"}, "no default"),
        ("{{ range(99999)|random }}", "give the same text each time"),
        ("{{ lipsum() }}", "give the same text each time"),
    ],
)
def test_a_chat_template_that_cannot_be_filled_in_is_told_in_one_line(monkeypatch, template, message):
    monkeypatch.setattr("eif_lab.models.language.encoding.PATIENCE", 0.2)
    tokenizer, trace = byte_level_tokenizer(), sys.gettrace()
    tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=f"^model.chat_template must .*{message}") as caught:
        Encoder(tokenizer, 64, chat_template=True)
    assert "\n" not in str(caught.value) and sys.gettrace() is trace


# Scores


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_log_probabilities_are_those_of_the_unpadded_row(checkpoint, attention, untaught, tmp_path):
    base = Phi3(checkpoint=checkpoint, attention=attention, dtype="float64").prepare(untaught, tmp_path, 0, "cpu")
    inputs, targets = base.encode(untaught.probes)
    with torch.no_grad():
        together = log_prob(base.module(inputs), targets)
    reference = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    for row, (prompt, target) in enumerate(zip(untaught.probes.prompts, untaught.probes.targets)):
        before = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt + target, add_special_tokens=False)]])
        labels = ids.clone()
        labels[:, : len(before)] = -100
        with torch.no_grad():
            loss = reference(input_ids=ids, labels=labels).loss
        # transformers takes the loss in float32
        assert together[row].item() == pytest.approx(-loss.item() * (ids.shape[1] - len(before)), rel=1e-5)


def test_padding_and_company_change_nothing(plain, untaught, tmp_path):
    base = Phi3(checkpoint=plain, dtype="float64").prepare(untaught, tmp_path, 0, "cpu")
    inputs, targets = base.encode(untaught.probes)
    longer = torch.nn.functional.pad(inputs, (0, 5), value=base.encode.pad)
    unscored = torch.nn.functional.pad(targets, (0, 5), value=IGNORED)
    with torch.no_grad():
        expected = log_prob(base.module(inputs), targets)
        padded = log_prob(base.module(longer), unscored)
    # the norms compute in float32 whatever the dtype
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(base.loss(base.module(longer), unscored), base.loss(base.module(inputs), targets))
    torch.testing.assert_close(base.features(longer), base.features(inputs), atol=1e-5, rtol=1e-5)
    for i in range(0, len(untaught.probes), 7):
        row, answer = base.encode(alone(untaught.probes, i))
        with torch.no_grad():
            torch.testing.assert_close(log_prob(base.module(row), answer), expected[i : i + 1], atol=1e-5, rtol=1e-5)


def test_features_are_the_mean_of_the_last_hidden_states(checkpoint, untaught, tmp_path):
    base = Phi3(checkpoint=checkpoint).prepare(untaught, tmp_path, 0, "cpu")
    features = base.features(base.encode(untaught.probes)[0])
    backbone = Phi3Model.from_pretrained(checkpoint).eval()
    for i in range(0, len(untaught.probes), 5):
        ids, _ = base.encode.tokens(untaught.probes.prompts[i], untaught.probes.targets[i])
        with torch.no_grad():
            expected = backbone(torch.tensor([ids[:-1]])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(features[i], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_loss_is_the_mean_over_scored_tokens_and_goes_through_vmap(untaught):
    tokenizer = byte_level_tokenizer()
    module = CausalLM(small_phi3(tokenizer))
    inputs, targets = Encoder(tokenizer, 64)(untaught.stimuli)
    with torch.no_grad():
        logits = module(inputs)
        expected = -log_prob(logits, targets).sum() / (targets != IGNORED).sum()
    torch.testing.assert_close(token_loss(logits, targets), expected)
    parameters = dict(module.named_parameters())

    def loss_of(weights, row, answer):
        return token_loss(torch.func.functional_call(module, weights, (row[None],)), answer[None])

    together = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(parameters, inputs, targets)
    for i in range(len(inputs)):
        one = torch.func.grad(loss_of)(parameters, inputs[i], targets[i])
        for name, gradient in one.items():
            torch.testing.assert_close(together[name][i], gradient, atol=1e-5, rtol=1e-4)


# Checkpoints


def test_a_checkpoint_is_loaded_as_it_was_saved(checkpoint, untaught, tmp_path):
    base = Phi3(checkpoint=checkpoint).prepare(untaught, tmp_path, 0, "cpu")
    saved = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert weights_hash(base.module.language_model) == weights_hash(saved)
    assert base.name == Path(checkpoint).name
    assert not base.module.training
    assert "language_model.model.layers.0.self_attn.qkv_proj.weight" in dict(base.module.named_parameters())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_dtype_is_that_of_the_weights_and_the_loss_at_least_float32(plain, dtype, untaught, tmp_path):
    base = Phi3(checkpoint=plain, dtype=dtype).prepare(untaught, tmp_path, 0, "cpu")
    reference = Phi3(checkpoint=plain).prepare(untaught, tmp_path, 0, "cpu")
    assert {p.dtype for p in base.module.parameters()} == {getattr(torch, dtype)}
    inputs, targets = base.encode(untaught.probes)
    with torch.no_grad():
        loss, expected = (m.loss(m.module(inputs), targets) for m in (base, reference))
    assert loss.dtype == torch.promote_types(getattr(torch, dtype), torch.float32)
    tolerance = 0.05 if dtype == "bfloat16" else 1e-5
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)


def test_what_is_no_causal_checkpoint_is_refused_in_one_line(tmp_path, plain, untaught):
    def refusal(checkpoint: Path | str, **options: str) -> str:
        with pytest.raises(ConfigError) as caught:
            Phi3(checkpoint=str(checkpoint), **options).prepare(untaught, tmp_path / "cache", 0, "cpu")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refusal(tmp_path / "nowhere").startswith("model.checkpoint must be a directory that exists")
    (tmp_path / "empty").mkdir()
    assert "hold a config.json" in refusal(tmp_path / "empty")
    bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    bert.save_pretrained(tmp_path / "bert")
    assert "be a causal language model, this one is BertModel" in refusal(tmp_path / "bert")
    (tmp_path / "alien").mkdir()
    (tmp_path / "alien" / "config.json").write_text(json.dumps({"model_type": "no_such_architecture"}))
    assert "readable by transformers" in refusal(tmp_path / "alien")
    assert "flash" in refusal(plain, attention="flash_attention_2").lower()


SHAPE = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {**SHAPE, "intermediate_size": 24, "max_position_embeddings": 64, "pad_token_id": 0}
XL = {"vocab_size": 400, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "pad_token_id": 0}
ALM = {"vocab_size": 400, "emb_dim": 16, "n_layers": 2, "n_heads": 2}


def random_model(kind, dtype="float32", **options):
    config = AutoConfig.for_model(kind, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    ("kind", "options"), [("bert", SMALL), ("roberta", SMALL), ("electra", SMALL), ("xlnet", XL), ("xlm", ALM)]
)
def test_a_model_that_sees_later_tokens_is_refused_in_one_line(kind, options, dtype):
    if kind == "xlnet" and dtype != "float32":
        pytest.skip("XLNet makes a mask in float32 and reads nothing in any other precision")
    with pytest.raises(
        ConfigError, match=r"^model.checkpoint must read each token from those before it alone"
    ) as caught:
        CausalLM(random_model(kind, dtype, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {**SMALL, "is_decoder": True}),
        ("xlm", {**ALM, "causal": True}),
        ("mixtral", {**SMALL, "num_key_value_heads": 1, "num_local_experts": 4}),
        ("mistral", {**SMALL, "num_key_value_heads": 1, "sliding_window": 3}),
        ("mistral", {**SMALL, "num_key_value_heads": 1, "max_position_embeddings": 3}),
        ("ctrl", {"vocab_size": 400, "n_embd": 16, "n_layer": 2, "n_head": 2, "dff": 24}),
    ],
)
def test_a_model_that_sees_only_what_came_before_is_taken_and_left_as_it_was(kind, options, dtype):
    model = random_model(kind, dtype, **options).train()
    random, hash_before = torch.get_rng_state(), weights_hash(model)
    CausalLM(model)
    assert model.training and weights_hash(model) == hash_before and torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_numbers_that_are_none_do_not_pass_for_sight(tokenizer):
    model = small_phi3(tokenizer)
    model.model.layers[0].self_attn.qkv_proj.weight.data.fill_(torch.nan)
    CausalLM(model)  # what it reads is refused where it is read


class Blocks(torch.nn.Module):
    """Attention within blocks of tokens, to later ones, too."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, hidden):
        length = hidden.shape[1]
        block = torch.arange(length) // self.size
        together = (block[:, None] == block[None]).to(hidden.dtype)
        return (together / together.sum(1, keepdim=True)) @ hidden


@pytest.mark.parametrize("size", [2, 3, 5, 6, 12])
def test_sight_within_blocks_is_found_wherever_these_end(tokenizer, size):
    model, blocks = small_phi3(tokenizer), Blocks(size)
    model.model.norm.register_forward_hook(lambda module, inputs, output: blocks(output))
    with pytest.raises(ConfigError, match="sees later ones"):
        CausalLM(model)


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_not_put_into_a_model_without_a_word(plain, untaught, tmp_path, whole):
    folder = tmp_path / "adapter"
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(plain), LoraConfig(target_modules=["o_proj"], init_lora_weights=False)
    )
    if whole:
        shutil.copytree(plain, folder)
    adapted.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"^model.checkpoint must .* adapter .*merge_and_unload") as caught:
        Phi3(checkpoint=str(folder)).prepare(untaught, tmp_path, 0, "cpu")
    assert "\n" not in str(caught.value)
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    byte_level_tokenizer().save_pretrained(tmp_path / "merged")
    Phi3(checkpoint=str(tmp_path / "merged")).prepare(untaught, tmp_path, 0, "cpu")


@pytest.mark.parametrize("place", ["../other/model.safetensors", "{absolute}", "below/model.safetensors"])
@pytest.mark.parametrize("named_by", ["model.safetensors.index.json", "config.json"])
def test_weights_outside_a_checkpoint_are_refused(plain, untaught, tmp_path, place, named_by):
    folder, other = tmp_path / "checkpoint", tmp_path / "other"
    shutil.copytree(plain, folder)
    for elsewhere in (other, folder / "below"):
        elsewhere.mkdir()
        shutil.copy(folder / "model.safetensors", elsewhere)
    (folder / "model.safetensors").unlink()
    place = place.format(absolute=other / "model.safetensors")
    if named_by == "config.json":
        told = json.loads((folder / named_by).read_text()) | {"transformers_weights": place}
    else:
        names = small_phi3(byte_level_tokenizer()).state_dict()
        told = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (folder / named_by).write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"^model.checkpoint must name weights of its own folder alone"):
        Phi3(checkpoint=str(folder)).prepare(untaught, tmp_path, 0, "cpu")


def test_a_shard_that_is_a_link_is_part_of_the_identity(plain, tmp_path):
    folder, weights = tmp_path / "checkpoint", tmp_path / "weights"
    shutil.copytree(plain, folder)
    shutil.move(folder / "model.safetensors", weights)
    (folder / "model.safetensors").symlink_to(weights)
    identity = Phi3(checkpoint=str(folder)).identity
    before = identity()
    assert before == Phi3(checkpoint=plain).identity()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert identity() != before


def test_missing_weights_are_not_made_up(tmp_path, untaught):
    tokenizer = byte_level_tokenizer()
    model = small_phi3(tokenizer)
    kept = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(tmp_path / "headless", state_dict=kept)
    tokenizer.save_pretrained(tmp_path / "headless")
    with pytest.raises(ConfigError, match=r"hold all weights, lm_head.weight is missing"):
        Phi3(checkpoint=str(tmp_path / "headless")).prepare(untaught, tmp_path, 0, "cpu")


def test_a_hub_that_is_not_there_is_told_in_one_line(monkeypatch, tmp_path, untaught):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not hub.hub_answers()
    with pytest.raises(
        ConfigError, match=r"model.checkpoint must be .* the hub delivers .*Try a local directory"
    ) as caught:
        Phi3(checkpoint="no-such-owner/no-such-model").prepare(untaught, tmp_path, 0, "cpu")
    assert "\n" not in str(caught.value)


def test_transformers_is_quiet_only_inside():
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    with hub.quiet_transformers():
        assert transformers_logging.get_verbosity() == transformers_logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_the_identity_of_a_checkpoint_is_what_its_files_hold(plain, tmp_path):
    checkpoint = Path(shutil.copytree(plain, tmp_path / "copy"))
    identity = Phi3(checkpoint=str(checkpoint)).identity
    assert identity() == Phi3(checkpoint=plain).identity()
    weights = checkpoint / "model.safetensors"
    os.utime(weights)
    (checkpoint / "README.md").write_text("A note.")
    assert identity() == Phi3(checkpoint=plain).identity()
    before = weights.stat()
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_size == before.st_size and identity() != Phi3(checkpoint=plain).identity()


# phi3-tiny


def test_phi3_tiny_comes_with_the_package_and_is_itself_a_checkpoint(tmp_path, untaught, task):
    base = Phi3().prepare(untaught, tmp_path, 0, "cpu")
    assert base.name == "phi3-tiny"
    loaded = Phi3(checkpoint=str(SHIPPED)).prepare(untaught, tmp_path, 0, "cpu")
    assert weights_hash(base.module) == weights_hash(loaded.module)
    assert torch.equal(base.encode(task.probes)[0], loaded.encode(task.probes)[0])
    assert base.report["parameters"] == sum(p.numel() for p in base.module.parameters())
    assert not list(tmp_path.iterdir())
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 10_000_000


def test_parameters_are_counted_whatever_a_report_says(plain, tmp_path, untaught):
    copy = Path(shutil.copytree(plain, tmp_path / "copy"))
    (copy / "report.json").write_text(json.dumps({"name": "ours", "parameters": 7, "pretraining_loss": 1.5}))
    base = Phi3(checkpoint=str(copy)).prepare(untaught, tmp_path, 0, "cpu")
    assert base.report["parameters"] == sum(p.numel() for p in base.module.parameters())
    assert (base.name, base.report["pretraining_loss"]) == ("ours", 1.5)


# Options


@pytest.mark.parametrize(("choice", "kind"), [("phi3", Phi3), ("causal_lm", PretrainedLM)])
def test_config_file_holds_the_defaults(choice, kind):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = OmegaConf.to_container(compose("config", [f"model={choice}"]).model)
    assert given.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    assert given == dataclasses.asdict(kind())


# Any other model


def test_a_model_of_any_architecture_is_called_what_it_is(untaught, tmp_path, tokenizer):
    folder = tmp_path / "mine"
    random_model("gpt2", **GPT2, vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = PretrainedLM(checkpoint=str(folder))
    base = model.prepare(untaught, tmp_path, 0, "cpu")
    size = sum(parameter.numel() for parameter in base.module.parameters())
    assert model.name == base.name == "mine"
    assert model_name(BaseModel(**base.report, name=base.name)) == f"mine (GPT2LMHeadModel, {size:,} parameters)"


def test_phi3_with_a_checkpoint_is_the_causal_lm_with_that_checkpoint(plain, untaught, task, tmp_path):
    one, other = (kind(checkpoint=plain).prepare(untaught, tmp_path, 0, "cpu") for kind in (Phi3, PretrainedLM))
    assert (one.name, one.report, weights_hash(one.module)) == (other.name, other.report, weights_hash(other.module))
    assert torch.equal(one.encode(task.probes)[0], other.encode(task.probes)[0])


@pytest.mark.parametrize("name", ["phi3-tiny", None])
def test_the_shipped_models_are_phi3s_alone(name, untaught, tmp_path):
    assert Phi3(checkpoint=name).identity() and Phi3(checkpoint=name).name == "phi3-tiny"
    with pytest.raises(ConfigError, match=r"^model.checkpoint must be a directory.*a name"):
        PretrainedLM(checkpoint=name).prepare(untaught, tmp_path, 0, "cpu")


def test_nested_options_are_read_and_checked():
    given = {"checkpoint": None, "teaching": {"steps": "soon"}}
    with pytest.raises(ConfigError, match=r"model.teaching.steps"):
        build(Phi3, given, "model")
    built = build(Phi3, {**given, "teaching": {"rounds": 1}}, "model")
    assert built.teaching == Teaching(rounds=1)
    with pytest.raises(ConfigError, match=r"model.teaching.steps must be at least 1, got 0"):
        build(Phi3, {"teaching": {"steps": 0}}, "model")
