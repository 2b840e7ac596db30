"""What jobs would take: fine-tunes, probe passes, operations, memory, disk and time, with nothing run and nothing kept.

Sizes follow from the data and the model's shape. Time follows from small parts of the work, done with weights that are
not trained yet and thrown away: a few steps of a base training, an update of some stimuli, some passes over probes.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import torch
import xarray as xr

from eif_lab.console.plans import TRAINING, Plan, gibibytes
from eif_lab.data.task import Task
from eif_lab.desiderata import evaluate_all
from eif_lab.errors import ConfigError, NotApplicable, one_line, rule_error
from eif_lab.influence.array import annotate
from eif_lab.influence.batch import Batch
from eif_lab.influence.resources.forecast import grown, seconds
from eif_lab.influence.resources.precision import full_precision
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.device import deterministic_algorithms, must_be_usable
from eif_lab.jobs.inputs import Inputs, ready, rows_to_read, without_neutral
from eif_lab.jobs.job import Job, job_name
from eif_lab.jobs.planning.measurement import (
    prompted,
    tuned,
)
from eif_lab.jobs.planning.training import schooled
from eif_lab.jobs.planning.work import META, bytes_of
from eif_lab.models.base import BaseModel, Sketch
from eif_lab.results.arrays import write_array
from eif_lab.results.cache import ArrayCache

MOST_CELLS = 250_000
"""Of an array that verdicts and disk are tried on; a larger one goes by its size."""


COPIES = 3
"""Of an array at once, while its parts are put together."""


def plan_jobs(jobs: Sequence[tuple[Sequence[str], Job | NotApplicable]]) -> Iterator[Plan]:
    """A plan for each job of a sweep; what an earlier one makes is there for the later ones.

    Args:
        jobs: The overrides of each, with its options, or the reason why these do not go together.
    """
    made: set[str] = set()
    for overrides, job in jobs:
        if isinstance(job, NotApplicable):
            yield Plan(" ".join(overrides), reason=str(job), applies=False)
        else:
            yield plan_or_reason(job, made)


def plan_or_reason(job: Job, made: set[str]) -> Plan:
    """A job's plan; where it cannot be run, one that says why."""
    try:
        with deterministic_algorithms(job.deterministic), full_precision(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the verdicts are on noise
            return plan_job(job, made)
    except NotApplicable as error:
        return Plan(job_name(job), reason=str(error), applies=False)
    except Exception as error:  # as a job that fails does not stop its sweep
        told = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        return Plan(job_name(job), reason=one_line(told))


def plan_job(job: Job, made: set[str]) -> Plan:
    """What a job would take.

    Args:
        job: The validated options.
        made: Keys of arrays and places of base models that will be there; this job's are added.

    Raises:
        ConfigError: It cannot be run.
    """
    key = key_of(job)
    array = ArrayCache(Path(job.cache) / "influence").find(key)
    if array is not None:
        note = "the array is in the cache: only verdicts are left"
        return Plan(job_name(job), seconds={"verdicts": judging(job, array)}, disk=on_disk(array), notes=[note])
    if key in made:
        return Plan(job_name(job), notes=["the array is that of an earlier job of this sweep"])
    made.add(key)
    barred = why_barred(job)
    started = time.perf_counter()
    plain = job.dataset.load(job.data_seed)
    perturbed = job.perturbation.apply(plain, job.data_seed)
    sketch = sketched(job, plain, META if barred else job.device)
    loading = time.perf_counter() - started
    schooling = schooled(sketch, job, made)
    started = time.perf_counter()
    outlined = next(sketch.base.module.parameters()).is_meta
    inputs = (outline if outlined else ready)(job, plain, perturbed, sketch.base)
    loading += time.perf_counter() - started
    example, times = made_up(job, inputs)
    held = held_bytes(job, inputs) + COPIES * times * example.nbytes
    work = (tuned if job.method.trains else prompted)(job, inputs)
    notes = [f"{barred}: time is not known"] if barred else []
    if outlined and not barred:
        notes = ["the weights are not on this machine: time is not known"]
    plan = Plan(
        job=job_name(job),
        engine=work.engine,
        memory={name: held + size for name, size in {**schooling.memory, **work.memory}.items()},
        fine_tunes=work.fine_tunes,
        probe_passes=work.probe_passes,
        flops=schooling.flops + work.flops,
        disk=2 * times * on_disk(example) + schooling.disk,  # in the cache, and with the job
        seconds={"loading": loading, **schooling.seconds, **work.seconds, "verdicts": times * judging(job, example)},
        notes=[*notes, *schooling.notes, *work.notes],
    )
    return replace(plan, lacks=lacking(plan, job, None if barred else available(job.device)))


def why_barred(job: Job) -> str:
    """Why this machine cannot run the job's device, which it can be planned for all the same; empty where it can.

    Raises:
        ConfigError: There is no such device anywhere.
    """
    try:
        must_be_usable(job.device, getattr(job.model, "dtype", "float32"))
    except ConfigError:
        try:
            torch.device(job.device)
        except RuntimeError:
            pass
        else:
            return f"device={job.device} cannot be used on this machine"
        raise
    return ""


def sketched(job: Job, task: Task, device: str) -> Sketch:
    """The base model to plan with.

    Raises:
        ConfigError: The model cannot be planned with, or not even its shape can be had.
    """
    if not hasattr(job.model, "sketch"):
        hint = "Give it one, as eif_lab/models/cnn.py has."
        raise rule_error("plan", "be false with a model that has no sketch()", job.model.name, hint)
    return job.model.sketch(task, Path(job.cache), job.seed, device)


def outline(job: Job, plain: Task, perturbed: Task, base: BaseModel) -> Inputs:
    """As `eif_lab.jobs.inputs.ready`, of a model without numbers."""
    stimuli, probes = Batch(*base.encode(perturbed.stimuli)), Batch(*base.encode(perturbed.probes))
    model = job.method.apply(base.module, job.seed) if job.method.trains else base.module.requires_grad_(False)
    rows, candidates = rows_to_read(job.readout, base, perturbed.probes, probes)
    distances = {**perturbed.distances, "feature": np.zeros(perturbed.relation.shape)}
    clean, model = without_neutral(plain.stimuli), model.eval().to(META)  # with what a method drew elsewhere
    return Inputs(perturbed, clean, stimuli, rows, candidates, distances, base, model, {})


def held_bytes(job: Job, inputs: Inputs) -> float:
    """What is there all the time: of the whole process on a CPU, else the model and the data."""
    weights = bytes_of(inputs.model)
    data = sum(part.nbytes for batch in (inputs.stimuli, inputs.probes) for part in batch)
    if torch.device(job.device).type != "cpu":
        return weights + data
    outlined = next(inputs.model.parameters()).is_meta
    return psutil.Process().memory_info().rss + (weights if outlined else 0)


def available(device: str) -> float:
    """Bytes that this process could hold, what it holds now included."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return psutil.virtual_memory().available + psutil.Process().memory_info().rss


def lacking(plan: Plan, job: Job, memory: float | None) -> str:
    """What the job needs beyond what there is, and what to try; empty where it fits."""
    if memory is not None and plan.peak > memory:
        others = [name for name, size in plan.memory.items() if size <= memory and name not in (plan.engine, TRAINING)]
        hint = f"engine={others[0]}" if others else "method=lora, or a smaller engine.memory_budget"
        return f"it needs {gibibytes(plan.peak)} of memory, {gibibytes(memory)} are there. Try {hint}."
    cache = Path(job.cache).absolute()
    free = shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.is_dir())).free
    if plan.disk > free:
        return f"it needs {gibibytes(plan.disk)} of disk, {gibibytes(free)} are free. Try another cache."
    return ""


def made_up(job: Job, inputs: Inputs) -> tuple[xr.DataArray, float]:
    """An array of noise with the coordinates of the one to be, or of its head; and how many times larger that is."""
    task = inputs.task
    stimuli, probes = task.relation.shape
    steps = range(1, job.update.steps + 1) if job.trajectory and job.method.trains else [job.update.steps]
    rows = max(min(2, stimuli), min(stimuli, MOST_CELLS // (probes * len(steps))))
    first = task.take(np.arange(rows), np.arange(probes))
    kind = np.float64 if next(inputs.model.parameters()).dtype == torch.float64 else np.float32
    noise = np.random.default_rng(0).normal(size=(1, rows, len(steps), probes, len(job.readout))).astype(kind)
    coords = {"seed": [job.seed], "step": list(steps), "readout": job.readout}
    array = xr.DataArray(noise, dims=("seed", "stimulus", "step", "probe", "readout"), coords=coords)
    distances = {name: values[:rows] for name, values in inputs.distances.items()}
    return annotate(array, first, distances, default=next(iter(distances))), stimuli / rows


def on_disk(array: xr.DataArray) -> float:
    """Bytes of the stored array, by storing it."""
    with TemporaryDirectory() as folder:
        write_array(Path(folder) / "array", array)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def judging(job: Job, array: xr.DataArray) -> float:
    """Seconds of the verdicts, from few of their resamples."""

    def taken(part: float) -> tuple[float, float]:
        fewer = {name: replace(one, resamples=max(19, int(one.resamples * part))) for name, one in asked.items()}
        resamples = sum(one.resamples for one in fewer.values())
        return resamples, seconds(partial(evaluate_all, array, fewer, job.seed, job.readout[0]))

    asked = job.desideratum
    if not asked:
        return 0.0
    found = {(resamples, 1.0): some for resamples, some in (taken(0.02), taken(0.1))}
    return max(*found.values(), grown(found, (sum(one.resamples for one in asked.values()), 1.0)))
