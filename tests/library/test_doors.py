"""What a public function is given of another type than it should be is refused in one line, at the door."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

import eif_lab
from eif_lab.errors import ConfigError
from eif_lab.methods.lora import LoRA

INPUTS, TARGETS = torch.linspace(-1, 1, 30).view(6, 5), torch.arange(6) % 3
SAMPLES = INPUTS, TARGETS
CONTEXTS = [(INPUTS + 1, TARGETS), SAMPLES]
NET = nn.Linear(5, 3)
TASK = eif_lab.load_task("ontology", worlds=2, stimuli_per_world=1)
SCORES = np.zeros(TASK.relation.shape)
ARRAY = eif_lab.annotate(SCORES, TASK)


@dataclass
class Learning:
    """What `measure_influence` and `calibrate` take."""

    model: Any = NET
    loss: Any = F.cross_entropy
    stimuli: Any = SAMPLES

    def arguments(self) -> list[Any]:
        return [self.model, self.loss, self.stimuli]


def call(name: str, *arguments: Any, **options: Any) -> Any:
    """A public function without the check of its annotations, which only tests put there."""
    return inspect.unwrap(getattr(eif_lab, name))(*arguments, **options)


def error_line(name: str, *arguments: Any, **options: Any) -> str:
    """The one line that refuses a call."""
    with pytest.raises(ConfigError) as caught:
        call(name, *arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


LEARNING = {
    "a class for a model": ({"model": nn.Linear}, {}, "model must be a torch.nn.Module, got 'the class Linear'"),
    "no model": ({"model": None}, {}, "model must be a torch.nn.Module, got 'NoneType'"),
    "a name for a loss": ({"loss": "cross_entropy"}, {}, "loss must be a function"),
    "numbers elsewhere": ({"stimuli": (INPUTS.to("meta"), TARGETS)}, {}, "stimuli must hold numbers"),
    "numbers too wide": ({"stimuli": (INPUTS.numpy().astype("g"), TARGETS)}, {}, "got ndarray of "),
    "a class for a method": ({}, {"method": LoRA}, "method must be a name, .*got 'the class LoRA'"),
    "an option of no method": ({}, {"method": {"name": "lora", "rnak": 4}}, "one of alpha, rank, target_modules"),
    "text for a number": ({}, {"method": {"name": "lora", "rank": "four"}}, "method.rank must be a whole number"),
    "a list for a tuner's options": (
        {}, {"method": {"name": "peft", "options": [4]}}, "method.options must be a mapping .*got 'list'"),
    "a name for an update": ({}, {"update": "sgd"}, "update must be a mapping or an Update"),
    "a class for an engine": ({}, {"engine": eif_lab.judge}, "engine must be a name or an Engine"),
    "an old engine": ({}, {"engine": "lowrank"}, "It is called factored now"),
    "text for a seed": ({}, {"seed": "0"}, "seed must be a whole number from 0 on"),
}  # fmt: skip


@pytest.mark.parametrize("row", LEARNING)
@pytest.mark.parametrize("function", ["measure_influence", "calibrate"])
def test_what_is_no_model_loss_or_recipe_is_refused(function, row):
    given, options, line = LEARNING[row]
    arguments = Learning(**given).arguments()
    probes = [SAMPLES] if function == "measure_influence" else []
    assert matches(line, error_line(function, *arguments, *probes, **options))


def matches(parts: str, line: str) -> bool:
    """Whether the line has the parts, which ``.*`` divides, in that order."""
    place = 0
    for part in parts.split(".*"):
        place = line.find(part, place)
        if place < 0:
            return False
    return True


MEASURING = {
    "text for yes": ({"trajectory": "yes"}, "trajectory must be True or False"),
    "a step of zero": ({"rows": slice(0, 3, 0)}, "rows must be a slice forwards"),
    "a slice of text": ({"rows": slice("a", "b")}, "rows must be a slice forwards"),
    "text for candidates": ({"candidates": "ab", "readout": "rank"}, "candidates must be one whole number for each"),
    "a number for parts": ({"measured": 3}, "measured must be parts of an earlier measurement"),
    "parts of text": ({"measured": [np.full((2, 1, 6, 1), "a")]}, "measured must hold parts of this measurement"),
}


@pytest.mark.parametrize("row", MEASURING)
def test_options_of_a_measurement_that_are_of_another_type_are_refused(row):
    options, line = MEASURING[row]
    assert matches(line, error_line("measure_influence", NET, F.cross_entropy, SAMPLES, SAMPLES, **options))


READING = {
    "a class for a model": ([nn.Linear, SAMPLES, CONTEXTS], {}, "model must be a torch.nn.Module"),
    "no contexts": ([NET, SAMPLES, None], {}, "contexts must be the rows of each stimulus"),
    "other inputs": ([NET, SAMPLES, [(INPUTS[:, :2], TARGETS)]], {}, "model on contexts[0] of shape (4, 2) must work"),
    "probes of other classes": ([NET, (INPUTS, TARGETS + 3), CONTEXTS], {}, "probes must have targets from 0 to 2"),
    "other classes later": (
        [NET, SAMPLES, [*CONTEXTS, (INPUTS, TARGETS + 3)]], {}, "contexts[2] must have targets from 0 to 2"),
    "a model that gives two": ([nn.LSTM(5, 3), SAMPLES, CONTEXTS], {}, "model must return one tensor"),
    "no memory": ([NET, SAMPLES, CONTEXTS], {"memory_budget": 0}, "memory_budget must be a number above 0"),
    "text for memory": ([NET, SAMPLES, CONTEXTS], {"memory_budget": "2"}, "memory_budget must be a number above 0"),
    "a number to call": ([NET, SAMPLES, CONTEXTS], {"on_chunk": 3}, "on_chunk must be a function"),
    "a number for parts": ([NET, SAMPLES, CONTEXTS], {"measured": 3}, "measured must be parts"),
    "parts of another shape": (
        [NET, SAMPLES, CONTEXTS], {"measured": [np.zeros((2, 2))]}, "each (1, 1, 6, 1), got (2, 2)"),
    "more parts than contexts": (
        [NET, SAMPLES, CONTEXTS], {"measured": [np.zeros((1, 1, 6, 1))] * 3}, "no more than the 2 contexts, got 3"),
}  # fmt: skip


@pytest.mark.parametrize("row", READING)
def test_what_cannot_be_read_in_context_is_refused(row):
    arguments, options, line = READING[row]
    assert matches(line, error_line("measure_context", *arguments, **options))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 3)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return self.inner(one) + self.inner(other).tanh()


@pytest.mark.parametrize("form", ["a tuple", "a dict", "one number a row"])
def test_contexts_may_have_inputs_of_any_form(form):
    """Their influence is the difference of the readings."""
    make = {
        "a tuple": (TwoInputs(), lambda x: (x, x * 2)),
        "a dict": (TwoInputs(), lambda x: {"one": x, "other": x * 2}),
        "one number a row": (nn.Embedding(9, 3), lambda x: (x[:, 0] > 0).long() + 2),
    }
    model, inputs = make[form]
    probes, behind = (inputs(INPUTS), TARGETS), (inputs(INPUTS.flip(0)), TARGETS)
    influence = eif_lab.measure_context(model, probes, [behind])
    call_model = (lambda x: model(*x)) if form == "a tuple" else (lambda x: model(**x)) if form == "a dict" else model
    before, after = (
        call_model(x).log_softmax(1).gather(1, TARGETS[:, None])[:, 0].detach() for x, _ in (probes, behind)
    )
    np.testing.assert_allclose(influence[0], after - before, atol=1e-6)


ANNOTATING = {
    "no task": ([SCORES, None], {}, "task must be a Task, got 'NoneType'. Try eif_lab.load_task"),
    "the class": ([SCORES, type(TASK)], {}, "task must be a Task, got 'the class Task'"),
    "text": ([xr.DataArray(SCORES.astype(str), dims=("stimulus", "probe")), TASK], {}, "scores must be real numbers"),
    "several arrays": ([xr.Dataset({"a": (("stimulus", "probe"), SCORES)}), TASK], {}, "scores must be one array"),
    "a sparse tensor": ([torch.from_numpy(SCORES).to_sparse(), TASK], {}, "scores must hold a number for each cell"),
    "distances without names": ([SCORES, TASK], {"distances": [SCORES]}, "distances must be a mapping"),
    "distances of others": ([SCORES, TASK], {"distances": {"a": np.zeros((2, 2))}}, "distances['a'] must be (stimuli"),
    "distances in words": ([SCORES, TASK], {"distances": {"a": SCORES.astype(str)}}, "distances['a'] must be real"),
    "a number for a name": ([SCORES, TASK], {"default": 3}, "default must be one of path, got 3"),
}


@pytest.mark.parametrize("row", ANNOTATING)
def test_what_cannot_be_annotated_is_refused(row):
    arguments, options, line = ANNOTATING[row]
    assert matches(line, error_line("annotate", *arguments, **options))


OTHERS = {
    "a data set that is no name": ("load_task", [3], {}, "dataset must be one of causality, .*got 3"),
    "a negative seed": ("load_task", ["ontology"], {"seed": -1}, "seed must be a whole number from 0 on, got -1"),
    "a seed that is text": ("load_task", ["ontology"], {"seed": "a"}, "seed must be a whole number from 0 on, got 'a'"),
    "a folder that is none": ("load_task", ["ontology"], {"cache": 3}, "cache must be the path of a folder, got 'int'"),
    "no array": ("judge", [None], {}, "influence must be an annotated DataArray, got 'NoneType'"),
    "an array without cells": ("judge", [ARRAY[:0]], {}, "influence must hold at least one real number, got 'flo"),
    "an array of text": ("judge", [ARRAY.astype(str)], {}, "influence must hold at least one real number, got '<U"),
    "an array of complex numbers": ("judge", [ARRAY.astype(complex)], {}, "real number, got 'complex128 of shape"),
    "an array of other dims": (
        "judge", [ARRAY.rename(stimulus="s")], {}, "influence must have the dims stimulus and probe, got .*probe"),
    "a rate for the search of one": (
        "calibrate", [NET, F.cross_entropy, SAMPLES], {"update": {"learning_rate": 0.1}},
        "update.learning_rate must be left out, .*got 0.1. Give update.strength."),
    "a path that no system has": ("open_results", ["a\0b"], {}, "results path must be a path without a null character"),
    "no path": ("open_results", [None], {}, "results path must be the path of a folder, got 'NoneType'"),
    "a task's name": ("measure_task", ["ontology", NET], {}, "task must be a Task, got 'str'"),
    "a model's name": ("measure_task", [TASK, "gpt2"], {}, "model must be a causal language model of .*got 'str'"),
    "a network": ("measure_task", [TASK, NET], {}, "Try eif_lab.measure_influence for any other module"),
    "no method": ("measure_task", [TASK, NET], {"method": None}, "method must be a name"),
    "an engine that prompting has not": (
        "measure_task", [TASK, NET], {"method": "prompt", "engine": "stakced"}, "Did you mean stacked?"),
    "several seeds": ("measure_task", [TASK, NET], {"seed": [0, 1]}, "seed must be a whole number from 0 on, got ["),
}  # fmt: skip


@pytest.mark.parametrize("row", OTHERS)
def test_what_the_other_functions_cannot_take_is_refused(row):
    name, arguments, options, line = OTHERS[row]
    assert matches(line, error_line(name, *arguments, **options))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(x.dtype.newbyteorder(">")),
        lambda x: np.flip(np.flip(x, 0).copy(), 0),
        lambda x: x.astype(np.uint16) if x.dtype.kind == "i" else x,
    ],
    ids=["the other byte order", "a negative stride", "unsigned numbers"],
)
def test_an_array_is_taken_whatever_its_layout(change):
    arrays = change(INPUTS.numpy()), change(TARGETS.numpy())
    expected = eif_lab.measure_influence(NET, F.cross_entropy, SAMPLES, SAMPLES)
    np.testing.assert_array_equal(eif_lab.measure_influence(NET, F.cross_entropy, arrays, arrays), expected)


def test_numbers_of_numpy_and_torch_are_numbers():
    plain = eif_lab.measure_influence(NET, F.cross_entropy, SAMPLES, SAMPLES, update={"learning_rate": 0.5, "steps": 2})
    for rate in (np.float32(0.5), torch.tensor(0.5)):
        update = {"learning_rate": rate, "steps": np.int64(2)}
        same = call("measure_influence", NET, F.cross_entropy, SAMPLES, SAMPLES, update=update, seed=np.array(0))
        np.testing.assert_array_equal(same.squeeze(), plain)
