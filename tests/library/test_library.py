"""The library without Hydra: a task by name, a model as its user has it, an annotated array, verdicts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from language import byte_level_tokenizer, small_phi3

import eif_lab
from eif_lab import annotate, judge, load_task, measure_context, measure_influence, measure_task
from eif_lab.data.task import FOILS
from eif_lab.desiderata.logic import Logic
from eif_lab.errors import ConfigError
from eif_lab.models.base import BaseModel
from eif_lab.models.language.causal_lm import CausalLM, token_loss
from eif_lab.models.language.encoding import Encoder
from eif_lab.readouts.classes import log_prob

UPDATE = {"learning_rate": 0.01}


@pytest.fixture(scope="module")
def task():
    return load_task("ontology", worlds=3, stimuli_per_world=1, background="context")


@pytest.fixture(scope="module")
def language_model():
    tokenizer = byte_level_tokenizer()
    model = small_phi3(tokenizer)
    model.config.max_position_embeddings = 512
    return model.train(), tokenizer


def perfect(task):
    """What follows rises, what is contradicted falls; with a little noise."""
    sign = {"direct": 1.0, "entailed": 1.0, "contradicted": -1.0}
    noise = np.random.default_rng(0).normal(scale=0.01, size=task.relation.shape)
    return np.vectorize(lambda relation: sign.get(relation, 0.0))(task.relation) + noise


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, eif_lab; dir(eif_lab); eif_lab.__version__; "
        "print([name for name in ('torch', 'numpy', 'xarray', 'hydra', 'omegaconf', 'transformers') "
        "if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_public_names_are_listed_and_there():
    assert {*eif_lab.__all__, "__version__"} <= set(dir(eif_lab))
    assert all(callable(getattr(eif_lab, name)) for name in eif_lab.__all__)


def test_a_library_session_imports_no_hydra():
    code = (
        "import sys, numpy as np; from eif_lab import annotate, judge, load_task; "
        "task = load_task('ontology', worlds=2); "
        "judge(annotate(np.random.default_rng(0).normal(size=task.relation.shape), task), 'logic'); "
        "print('hydra' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_task_by_name_is_that_of_its_class():
    from eif_lab.data.worlds.ontology import Ontology

    named, made = load_task("ontology", worlds=2, seed=3), Ontology(worlds=2).load(3)
    assert named.stimuli.targets == made.stimuli.targets and (named.relation == made.relation).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ontologi", {}, r"dataset must be one of .*, got 'ontologi'. Did you mean ontology\?"),
        ("ontology", {"wolds": 2}, r"dataset.wolds must be an option, .*Did you mean dataset.worlds\?"),
        ("ontology", {"worlds": "many"}, r"dataset.worlds must be a whole number, got 'many'"),
    ],
)
def test_a_task_that_is_none_is_refused_in_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_task(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda s: xr.DataArray(s, dims=("stimulus", "probe"))])
def test_scores_of_any_origin_are_judged_alike(kind):
    task = load_task("ontology", worlds=8)
    array = annotate(kind(perfect(task)), task)
    verdicts = {verdict.desideratum: verdict for verdict in judge(array)}
    assert verdicts["logic"].outcome() == "satisfied" and "noise_invariance" not in verdicts
    assert str(verdicts["logic"]).startswith("logic: satisfied (") and "\n" not in str(verdicts["logic"])
    [alone] = judge(array, "logic")
    assert repr(alone) == repr(verdicts["logic"])
    [strict] = judge(array, Logic(reach_threshold=2.0))
    assert strict.outcome() == "violated"


def test_scores_that_teach_nothing_have_no_verdict_and_say_so():
    task = load_task("ontology", worlds=8)
    [verdict] = judge(annotate(-perfect(task), task), "logic")
    assert verdict.outcome() == "inconclusive" and "nothing was clearly taught" in str(verdict)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda shape: np.zeros(shape[::-1]), r"scores must be \(stimuli, probes\) of this task"),
        (lambda shape: np.full(shape, np.nan), r"scores must be finite for at least one stimulus"),
        (lambda shape: np.zeros(shape).astype(str), r"scores must be real numbers with two dimensions"),
    ],
)
def test_scores_that_are_none_of_a_task_are_refused(task, scores, message):
    with pytest.raises(ConfigError, match=message):
        annotate(scores(task.relation.shape), task)


def test_an_array_without_a_task_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"coordinate stimulus_id, got none. Try eif_lab.annotate"):
        judge(xr.DataArray(np.eye(3), dims=("stimulus", "probe")))


@pytest.mark.parametrize("method", ["full", {"name": "lora", "rank": 2}])
def test_a_task_is_measured_as_its_encoded_rows_are(task, language_model, method):
    model, tokenizer = language_model
    encode = Encoder(tokenizer, 512)
    array = measure_task(task, model, tokenizer, method=method, update=UPDATE)
    rows = measure_influence(
        CausalLM(model, encode.pad), token_loss, encode(task.stimuli), encode(task.probes), method=method, update=UPDATE
    )
    np.testing.assert_allclose(array, rows, rtol=1e-4, atol=1e-6)
    assert (array.relation.values == task.relation).all() and array.stimulus_id.values.tolist() == list(
        task.stimuli.ids
    )
    assert len(judge(array, "logic")) == 1
    model.eval()
    with torch.no_grad():
        inputs, targets = encode(task.probes)
        before = log_prob(CausalLM(model, encode.pad)(inputs), targets)
    np.testing.assert_allclose(array.probe_base_log_prob, before, rtol=1e-4)


def test_prompting_measures_the_same_probes_through_the_context(task, language_model):
    model, tokenizer = language_model
    array = measure_task(task, model, tokenizer, method="prompt", readout=["log_odds", "log_prob"])
    assert array.dims == ("stimulus", "probe", "readout") and array.shape[:2] == task.relation.shape
    from eif_lab.methods import named_method

    encode, prompt = Encoder(tokenizer, 512), named_method("prompt")
    [context] = [said for said, _ in prompt.contexts(task.stimuli.take([0]), 0)]
    rows = measure_context(
        CausalLM(model, encode.pad),
        prompt.rows(encode, task.probes),
        [prompt.rows(encode, task.probes, context)],
    )
    np.testing.assert_allclose(array.sel(readout="log_prob")[0], rows[0], rtol=1e-4, atol=1e-5)


def test_an_update_is_refused_by_a_method_that_trains_nothing(task, language_model):
    with pytest.raises(ConfigError, match=r"^update must be left out with method=prompt, .* Remove it\.$") as caught:
        measure_task(task, *language_model, method="prompt", update=UPDATE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["lora", "full", "prompt"])
def test_the_model_is_left_as_it_was(task, language_model, method):
    model, tokenizer = language_model
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    model.get_input_embeddings().eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = [(module.training) for module in model.modules()], [p.requires_grad for p in model.parameters()]
    measure_task(task, model, tokenizer, method=method, update=None if method == "prompt" else UPDATE)
    assert before == ([module.training for module in model.modules()], [p.requires_grad for p in model.parameters()])
    after = model.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(after[name], weights[name]) for name in weights)


def test_without_a_rate_the_rate_is_calibrated_to_strength(task, language_model):
    model, tokenizer = language_model
    update = {"strength": 0.02, "calibration_stimuli": None}
    array = measure_task(task, model, tokenizer, method="full", update=update)
    strengths = [sum(gain for _, gain in contrasts(task, array, i)) for i in np.flatnonzero(~array.stimulus_neutral)]
    assert np.median(strengths) == pytest.approx(0.02, rel=0.1)


def contrasts(task, array, i):
    """Of each cloze that a stimulus states: its column, and how far it gained on the other answer and subject."""
    for j in np.flatnonzero((task.relation[i] == "direct") & (task.foils["same_subject"][i] >= 0)):
        same_subject, same_words, neither = (task.foils[name][i, j] for name in FOILS)
        row = array.values[i]
        yield j, (row[j] - row[same_subject]) - (row[same_words] - row[neither])


def test_images_are_measured_through_a_base_model():
    task = load_task("digits", stimuli=4, probes=6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(task.probes.pixels[0].numel(), 10))
    loss = torch.nn.functional.cross_entropy
    base = BaseModel(net, "linear", lambda samples: (samples.pixels, samples.labels), loss, torch.flatten)
    array = measure_task(task, base, method="full", update=UPDATE)
    pairs = [(samples.pixels, samples.labels) for samples in (task.stimuli, task.probes)]
    np.testing.assert_allclose(array, measure_influence(net, loss, *pairs, method="full", update=UPDATE), rtol=1e-5)
    with pytest.raises(ConfigError, match=r"method must be one for images, got 'prompt'"):
        measure_task(task, base, method="prompt")


def test_a_language_model_needs_its_tokenizer_and_any_other_module_is_refused(task, language_model):
    with pytest.raises(ConfigError, match=r"tokenizer must be given with a language model, got None"):
        measure_task(task, language_model[0])
    with pytest.raises(ConfigError, match=r"model must be a causal language model .* got 'Linear'"):
        measure_task(task, torch.nn.Linear(2, 2))
