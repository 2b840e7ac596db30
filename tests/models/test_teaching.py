"""Teaching the background: from chance to all, cached, and told world by world."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from language import byte_level_tokenizer, save_checkpoint, small_phi3

from eif_lab.data.task import Background, Texts
from eif_lab.data.worlds.ontology import Ontology
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.models.base import weights_hash
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder, spell_out
from eif_lab.models.language.phi3 import Phi3
from eif_lab.models.language.pretrained import Teaching
from eif_lab.models.language.teaching import background_accuracy, teach
from eif_lab.models.reading import read_log_probs
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.classes import log_prob
from eif_lab.readouts.readout import READOUTS, named_readouts


@pytest.fixture(scope="module")
def background() -> Background:
    return Ontology(worlds=2, stimuli_per_world=1).load(0).background


@pytest.fixture(scope="module")
def encode() -> Encoder:
    return Encoder(byte_level_tokenizer(), 64)


def test_log_probabilities_sum_the_scored_positions():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5)
    targets = torch.tensor([[1, 2, -100, -100], [-100, -100, 3, 4], [0, 0, 0, 0]])
    expected = [
        sum(torch.softmax(logits[n, t], -1)[targets[n, t]].log().item() for t in range(4) if targets[n, t] >= 0)
        for n in range(3)
    ]
    torch.testing.assert_close(log_prob(logits, targets), torch.tensor(expected))


def test_accuracy_counts_per_world_what_scores_higher_than_every_other_candidate(background, encode):
    """Written out: log-probabilities, per token where a question's candidates differ in length."""
    module = CausalLM(small_phi3(encode.tokenizer))
    questions = background.questions
    right: dict[int, list[bool]] = {}
    for i, candidates in enumerate(background.questions.candidates):
        scores, lengths = [], []
        for candidate in candidates:
            inputs, targets = encode(Texts((questions.prompts[i],), (candidate,), np.arange(1)))
            with torch.no_grad():
                scores.append(log_prob(module(inputs), targets).item())
            lengths.append(int((targets >= 0).sum()))
        scores = np.array(scores) / (lengths if len(set(lengths)) > 1 else 1)
        answer = candidates[int(np.argmax(scores))]
        right.setdefault(int(questions.coords["world"][i]), []).append(answer == questions.targets[i])
    expected = {world: float(np.mean(values)) for world, values in right.items()}
    assert background_accuracy(module, encode, background) == pytest.approx(expected)


def test_the_accuracy_of_teaching_is_that_of_the_readout(background, encode):
    """What the report of a base model says is what a job would read of the same questions."""
    module = CausalLM(small_phi3(encode.tokenizer))
    answers, rows = spell_out(background.questions)
    inputs, targets = encode(answers)
    candidates, readouts = Candidates.of(rows, targets), named_readouts("correct")
    assert not candidates.any_without_others and set(candidates.read_by_row(readouts)) == set()
    logs = read_log_probs(module, inputs, targets, "cpu")
    right = candidates.probe_readings(logs[:, None], readouts)[:, 0]
    worlds = np.asarray(background.questions.coords["world"])
    expected = {int(world): right[torch.from_numpy(worlds == world)].mean().item() for world in np.unique(worlds)}
    assert background_accuracy(module, encode, background) == pytest.approx(expected)
    assert module.can_share(inputs.shape[1])  # so that the one was read with shared beginnings, and the other plainly
    torch.testing.assert_close(READOUTS["log_prob"](module(inputs), targets).detach(), logs)


def test_a_model_that_has_diverged_answers_nothing(background, encode):
    module = CausalLM(small_phi3(encode.tokenizer))
    for parameter in module.parameters():
        parameter.data.fill_(torch.nan)
    assert set(background_accuracy(module, encode, background).values()) == {0.0}


def test_each_candidate_is_spelled_out_once_the_own_target_first():
    texts = Texts(
        prompts=("a", "b", ""),
        targets=(" y", " z", "c ."),
        ids=np.array(["one", "two", "three"]),
        coords={"world": np.array([4, 5, 6])},
        candidates=((" x", " y", " x", " z"), (), (" x",)),
    )
    rows, index = spell_out(texts)
    assert rows.targets == (" y", " x", " z", " z", "c .", " x") and rows.candidates is None
    assert index.tolist() == [0, 0, 0, 1, 2, 2]
    assert rows.prompts == tuple(texts.prompts[i] for i in index)
    np.testing.assert_array_equal(rows.ids, texts.ids[index])
    np.testing.assert_array_equal(rows.coords["world"], texts.coords["world"][index])
    assert spell_out(texts.take([1]))[0].targets == (" z",)


def test_teaching_raises_the_background_from_chance_to_all(background, encode, tmp_path):
    module = CausalLM(small_phi3(encode.tokenizer))
    chance = np.mean([1 / len(candidates) for candidates in background.questions.candidates])
    before = np.mean(list(background_accuracy(module, encode, background).values()))
    assert before < 2.5 * chance
    options = Teaching(steps=150, batch_size=16, learning_rate=5e-3)
    report = teach(
        module, encode, token_loss, background, options,
        rounds=2, enough=1.0, seed=0, directory=tmp_path, device="cpu",
    )  # fmt: skip
    assert report["background_accuracy"] == 1.0
    assert report["worlds_not_learnt"] == []
    assert set(background_accuracy(module, encode, background).values()) == {1.0}
    assert not list(tmp_path.iterdir())


def test_worlds_below_the_threshold_are_named(background, encode, tmp_path):
    module = CausalLM(small_phi3(encode.tokenizer))
    lies = tuple(
        c[0] if c[0] != t else c[1] for c, t in zip(background.questions.candidates, background.questions.targets)
    )
    in_world = np.asarray(background.questions.coords["world"]) == 1
    told = tuple(
        f"{prompt}{lie if w else truth} ."
        for prompt, lie, truth, w in zip(background.questions.prompts, lies, background.questions.targets, in_world)
    )
    misled = dataclasses.replace(background, facts=dataclasses.replace(background.facts, targets=told))
    options = Teaching(steps=150, batch_size=16, learning_rate=5e-3)
    report = teach(
        module, encode, token_loss, misled, options, rounds=1, enough=0.8, seed=0, directory=tmp_path, device="cpu"
    )
    assert report["worlds_not_learnt"] == [1]
    assert report["background_accuracy_by_world"]["0"] == 1.0


def test_rounds_stop_once_every_world_is_learnt(background, encode, tmp_path):
    weights = []
    for rounds in (1, 3):
        module = CausalLM(small_phi3(encode.tokenizer))
        options = Teaching(steps=2, batch_size=16)
        teach(
            module, encode, token_loss, background, options,
            rounds=rounds, enough=0.0, seed=0, directory=tmp_path / str(rounds), device="cpu",
        )  # fmt: skip
        weights.append(weights_hash(module))
    assert weights[0] == weights[1]


def test_the_taught_model_is_kept_per_seed_and_background(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "base", byte_level_tokenizer())
    options = Phi3(checkpoint=checkpoint, teaching=Teaching(steps=3, batch_size=8, rounds=1))
    task, other = (Ontology(worlds=1, stimuli_per_world=2).load(seed) for seed in (0, 1))
    kept = tmp_path / "cache" / "models"
    base = options.prepare(task, tmp_path / "cache", 0, "cpu")
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")}
    assert len(written) == 1
    again = options.prepare(task, tmp_path / "cache", 0, "cpu")
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")} == written
    assert weights_hash(again.module) == weights_hash(base.module)
    assert again.report == base.report
    assert len(base.report["background_accuracy_by_world"]) == 1
    untaught = options.prepare(dataclasses.replace(task, background=None), tmp_path / "cache", 0, "cpu")
    assert weights_hash(untaught.module) != weights_hash(base.module)
    options.prepare(other, tmp_path / "cache", 0, "cpu")
    options.prepare(task, tmp_path / "cache", 1, "cpu")
    assert len(list(kept.rglob("*.safetensors"))) == 3


QUESTIONS = {
    "prompts": lambda asked: {"prompts": (f"well , {asked.prompts[0]}", *asked.prompts[1:])},
    "targets": lambda asked: {"targets": tuple(reversed(asked.targets))},
    "candidates": lambda asked: {"candidates": (asked.candidates[0][:1], *asked.candidates[1:])},
    "worlds": lambda asked: {"coords": {**asked.coords, "world": asked.coords["world"][::-1].copy()}},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A checkpoint, the options that teach it a step, a task, and where it has been taught."""
    folder = tmp_path_factory.mktemp("kept")
    checkpoint = save_checkpoint(folder / "base", byte_level_tokenizer())
    options = Phi3(checkpoint=checkpoint, teaching=Teaching(steps=1, batch_size=8, rounds=1))
    task = Ontology(worlds=2, stimuli_per_world=1).load(0)
    options.prepare(task, folder / "cache", 0, "cpu")
    return options, task, folder / "cache"


def copies(cache):
    return len(list((cache / "models").glob("*/model.safetensors")))


@pytest.mark.parametrize("change", QUESTIONS)
def test_changed_questions_are_asked_anew(kept, change):
    options, task, cache = kept
    before, asked = copies(cache), task.background.questions
    background = dataclasses.replace(task.background, questions=dataclasses.replace(asked, **QUESTIONS[change](asked)))
    options.prepare(dataclasses.replace(task, background=background), cache, 0, "cpu")
    assert copies(cache) == before + 1


def with_file(name, change):
    def rewrite(checkpoint):
        record = json.loads((checkpoint / name).read_text())
        change(record)
        (checkpoint / name).write_text(json.dumps(record))

    return rewrite


FILES = {
    "normaliser": with_file("tokenizer.json", lambda told: told.update(normalizer={"type": "Lowercase"})),
    "vocabulary": with_file("tokenizer.json", lambda told: swap(told["model"]["vocab"], "a", "b")),
    "beginning": with_file("tokenizer_config.json", lambda told: told.update(bos_token="<|endoftext|>")),
    "chat": lambda checkpoint: (checkpoint / "chat_template.jinja").write_text("{{ messages[0].content }}"),
    "positions": with_file("config.json", lambda told: told["rope_parameters"].update(rope_theta=500.0)),
}


def swap(vocabulary, one, other):
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


@pytest.mark.parametrize("change", FILES)
def test_a_changed_tokenizer_or_configuration_teaches_anew(kept, tmp_path, change):
    options, task, cache = kept
    checkpoint = Path(shutil.copytree(options.checkpoint, tmp_path / "base"))
    other = dataclasses.replace(options, checkpoint=str(checkpoint))
    other.prepare(task, cache, 0, "cpu")
    before = copies(cache)
    FILES[change](checkpoint)
    other.prepare(task, cache, 0, "cpu")
    assert copies(cache) == before + 1


def test_other_attention_and_deterministic_algorithms_teach_anew_and_another_place_does_not(kept, tmp_path):
    options, task, cache = kept
    moved = dataclasses.replace(options, checkpoint=str(shutil.copytree(options.checkpoint, tmp_path / "base")))
    before = copies(cache)
    moved.prepare(task, cache, 0, "cpu")
    assert copies(cache) == before
    dataclasses.replace(options, attention="eager").prepare(task, cache, 0, "cpu")
    assert copies(cache) == before + 1
    with deterministic_algorithms(True):
        options.prepare(task, cache, 0, "cpu")
    assert copies(cache) == before + 2
