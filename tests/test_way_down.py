"""A job goes down once: each room is entered once, in order, each sample is encoded once, and the base is read once."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from language import byte_level_tokenizer, save_checkpoint
from test_prompting_in_jobs import Small, read

from eif_lab.influence.per_sample import trial
from eif_lab.influence.per_sample.trial import Layouts
from eif_lab.influence.reading import passes
from eif_lab.influence.setup import Setup
from eif_lab.jobs import inputs
from eif_lab.jobs.run import run_job
from eif_lab.models.language.encoding import Encoder

LANDMARKS = {
    "jobs.run": {"run_job"},
    "jobs.inputs": {"load"},
    "jobs.channels.weights": {"WeightsMeasurement.calibrate", "WeightsMeasurement.measure"},
    "jobs.channels.context": {"Context.check", "ContextMeasurement.calibrate", "ContextMeasurement.measure"},
    "jobs.channels.channel": {"Channel.check"},
    "jobs.measure": {"measure"},
    "jobs.judge": {"judge"},
    "influence.measurement": {"Measurement.influence"},
    "influence.context": {"measure_context"},
    "influence.array": {"annotate"},
    "desiderata.evaluation": {"evaluate_all"},
    "results.cache": {"ArrayCache.put"},
    "results.job": {"write_results", "write_manifest"},
}
"""Functions by module: where a job enters a room, or leaves it."""


@contextmanager
def landmarks():
    """The landmarks that are passed within this, in their order."""
    passed = []

    def look(frame, event, argument):
        if event != "call" or frame.f_code.co_filename.startswith(
            "<"
        ):  # a check of annotations has its function's name
            return
        module = frame.f_globals.get("__name__", "").removeprefix("eif_lab.")
        if frame.f_code.co_qualname in LANDMARKS.get(module, ()):
            passed.append(f"{module}.{frame.f_code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield passed
    finally:
        sys.setprofile(before)


def way_of(job, folder):
    """The landmarks that a job passes, in their order."""
    with landmarks() as passed:
        run_job(job, {"seed": job.seed}, folder, "group", [])
    return passed


def print_way(job, folder):
    """Print the way of a job, a landmark a line: what the page on the architecture shows."""
    print("\n".join(way_of(job, folder)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("way") / "base", byte_level_tokenizer())


@pytest.fixture
def job_of(tmp_path, checkpoint, monkeypatch):
    """Makes a job on three sentences; memory is not followed operator by operator, which takes most of the time."""
    for room in (passes, trial):
        monkeypatch.setattr(room, "peak_bytes", lambda call, _: (call(), 2**20)[1])

    def made(*options):
        small = [f"model.checkpoint={checkpoint}", f"cache={tmp_path / 'cache'}", "desideratum=[sparsity]"]
        job = read("model=phi3", *small, *options)
        job.dataset = Small()
        return job

    return made


WEIGHTS = [
    "jobs.run.run_job",
    "jobs.inputs.load",
    "jobs.channels.channel.Channel.check",
    "jobs.measure.measure",
    "jobs.channels.weights.WeightsMeasurement.calibrate",
    "jobs.channels.weights.WeightsMeasurement.measure",
    "influence.measurement.Measurement.influence",
    "influence.array.annotate",
    "results.cache.ArrayCache.put",
    "jobs.judge.judge",
    "desiderata.evaluation.evaluate_all",
    "results.job.write_results",
    "results.job.write_manifest",
]
CONTEXT = [
    one.replace("channel.Channel", "context.Context").replace(
        "weights.WeightsMeasurement", "context.ContextMeasurement"
    )
    for one in WEIGHTS
]
CONTEXT[6] = "influence.context.measure_context"


@pytest.mark.parametrize(
    ("method", "expected"), [("method=full", WEIGHTS), ("method=prompt", CONTEXT)], ids=["weights", "context"]
)
def test_a_job_enters_each_room_once_and_in_order(job_of, tmp_path, method, expected):
    job = job_of(method, "update.learning_rate=0.05")
    assert way_of(job, tmp_path / "job") == expected
    again = way_of(job, tmp_path / "again")  # of an array that is stored only the verdicts are left
    assert again == [one for one in expected if one.split(".")[1] in ("run", "judge", "evaluation", "job")]


def test_each_sample_is_encoded_once_whatever_it_is_used_for(job_of, tmp_path, monkeypatch):
    """Stimuli, clean stimuli for the calibration, probes and the candidates of probes share texts."""
    seen, plain = Counter(), Encoder.tokens

    def tokens(self, prompt, target):
        seen[prompt, target] += 1
        return plain(self, prompt, target)

    monkeypatch.setattr(Encoder, "tokens", tokens)
    job = job_of("method=full", "readout=[log_odds]", "update.strength=0.1")
    way = way_of(job, tmp_path / "job")
    assert way.count("influence.measurement.Measurement.influence") > 1  # the calibration measures, too
    assert len(seen) == 3 + 4 and set(seen.values()) == {1}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_job_prepares_once_for_calibrating_and_measuring(job_of, tmp_path, monkeypatch, method):
    checked, trials = [], []
    plain, on_trial = Setup.checked, Layouts.on_trial
    monkeypatch.setattr(Setup, "checked", lambda problem: checked.append(problem) or plain(problem))
    monkeypatch.setattr(Layouts, "on_trial", lambda self, layout: trials.append(layout) or on_trial(self, layout))
    way = way_of(job_of(f"method={method}", "update.strength=0.1"), tmp_path / "job")
    assert way.count("influence.measurement.Measurement.influence") > 2
    assert len(checked) == 1 and len(trials) == 1


@pytest.mark.parametrize(("method", "times"), [("full", 1), ("prompt", 1), ("lora", 2)])
def test_inputs_read_the_base_once_and_once_more_only_with_added_modules(job_of, monkeypatch, method, times):
    read_models, plain = [], inputs.read_log_probs
    monkeypatch.setattr(inputs, "read_log_probs", lambda *given: read_models.append(given[0]) or plain(*given))
    inputs.load(job_of(f"method={method}"))
    assert len(read_models) == times


def test_rows_are_what_encoding_these_samples_alone_gives(job_of):
    loaded = inputs.load(job_of("method=full", "readout=[log_odds]"))
    for samples in (loaded.task.stimuli, loaded.task.probes, loaded.gauge.stimuli, loaded.task.probes.take([2, 1])):
        rows, (ids, targets) = loaded.rows(samples), loaded.base.encode(samples)
        assert rows.inputs.equal(ids) and rows.targets.equal(targets)
