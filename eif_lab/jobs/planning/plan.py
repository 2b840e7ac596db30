"""What jobs would take: fine-tunes, probe passes, operations, memory, disk and time, with nothing run and nothing kept.

Sizes follow from the data and the model's shape. Time follows from small parts of the work, done with weights that are
not trained yet and thrown away: a few steps of a base training, an update of some stimuli, some passes over probes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from eif_lab.errors import ConfigError, NotApplicable, one_line
from eif_lab.influence.resources.forecast import seconds
from eif_lab.influence.resources.precision import full_precision
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import Inputs, assemble
from eif_lab.jobs.job import Job, job_name
from eif_lab.jobs.planning.example import judging, made_up, on_disk
from eif_lab.jobs.planning.room import available, held_bytes, lacking, why_barred
from eif_lab.jobs.planning.sizes import META
from eif_lab.jobs.planning.training import schooled
from eif_lab.models.reading import read_log_probs
from eif_lab.results.cache import ArrayCache
from eif_lab.results.plan import Plan

SOME = 32
"""Probes that are read to tell how long all of them take."""

COPIES = 3
"""Of an array at once, while its parts are put together."""


def reading(job: Job, inputs: Inputs) -> float:
    """Seconds in which the base model is read before anything is measured: its features, and its answers."""
    model, base, probes = inputs.model, inputs.base, inputs.probes
    device = next(model.parameters()).device
    if device.type == META:
        return 0.0
    few = probes.take(slice(min(SOME, len(probes)))).to(device)
    with torch.no_grad():
        features = seconds(lambda: base.features(few.inputs)) / len(few)
    answers = seconds(lambda: read_log_probs(model, few.inputs, few.targets, device)) / len(few)
    count = len(inputs.task.probes)
    return features * (len(inputs.stimuli) + count) + answers * count * (1 + job.method.adds_modules)


def plan_jobs(jobs: Sequence[tuple[Sequence[str], Job | NotApplicable]]) -> Iterator[Plan]:
    """A plan for each job of a sweep; what an earlier one makes is there for the later ones.

    Args:
        jobs: The overrides of each, with its options, or the reason why these do not go together.
    """
    made: dict[str, Plan] = {}
    for overrides, job in jobs:
        if isinstance(job, NotApplicable):
            yield Plan(" ".join(overrides), reason=str(job), applies=False)
        else:
            yield plan_or_reason(job, made)


def plan_or_reason(job: Job, made: dict[str, Plan]) -> Plan:
    """A job's plan; where it cannot be run, one that says why."""
    try:
        with deterministic_algorithms(job.deterministic), full_precision(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the verdicts are on noise
            return plan_job(job, made)
    except NotApplicable as error:
        return Plan(job_name(job), reason=str(error), applies=False)
    except Exception as error:  # as a job that fails does not stop its sweep
        message = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        return Plan(job_name(job), reason=one_line(message))


def plan_job(job: Job, made: dict[str, Plan]) -> Plan:
    """What a job would take.

    Args:
        job: The validated options.
        made: Keys of arrays and places of base models that will be there, each with what another job takes that finds
            it; this job's are added.

    Raises:
        ConfigError: It cannot be run.
    """
    key = key_of(job)
    array = ArrayCache(Path(job.cache) / "influence").find(key)
    if array is not None:
        note = "the array is in the cache: only verdicts are left"
        return Plan(job_name(job), seconds={"verdicts": judging(job, array)}, disk=on_disk(array), notes=[note])
    if key in made:
        return Plan(job_name(job), notes=["the array is that of an earlier job of this sweep"]) + made[key]
    channel = channel_of(job)
    if not channel.needs_model:
        inputs = channel.load()
        channel.check(inputs)
        made[key] = Plan()
        return Plan(job_name(job)) + channel.plan(inputs)
    barred = why_barred(job)
    started = time.perf_counter()
    plain = job.dataset.load(job.data_seed)
    perturbed = job.perturbation.apply(plain, job.data_seed)
    sketch = job.model.sketch(plain, Path(job.cache), job.seed, META if barred else job.device)
    loading = time.perf_counter() - started
    schooling = schooled(sketch, job, made)
    started = time.perf_counter()
    inputs = assemble(job, plain, perturbed, sketch.base, read=False)
    channel.check(inputs)
    loading += time.perf_counter() - started + reading(job, inputs)
    example, times = made_up(job, channel.steps(inputs), inputs)
    notes = [f"{barred}: time is not known"] if barred else []
    if next(inputs.model.parameters()).is_meta and not barred:
        notes = ["the weights are not on this machine: time is not known"]
    stored = times * on_disk(example)
    before = Plan(job_name(job), disk=2 * stored, seconds={"loading": loading}, notes=notes)  # in the cache, too
    after = Plan(seconds={"verdicts": times * judging(job, example)})
    plan = before + schooling + channel.plan(inputs) + after
    made[key] = replace(after, disk=stored)
    fixed = held_bytes(job, inputs) + COPIES * times * example.nbytes
    plan = replace(plan, memory={name: fixed + size for name, size in plan.memory.items()})
    return replace(plan, lacks=lacking(plan, job, None if barred else available(job.device)))
