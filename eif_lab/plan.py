"""What jobs would take: fine-tunes, probe passes, operations, memory, disk and time, with nothing run and nothing kept.

Sizes follow from the data and the model's shape. Time follows from small parts of the work, done with weights that are
not trained yet and thrown away: a few steps of a base training, an update of some stimuli, some passes over probes.
"""

from __future__ import annotations

import copy
import io
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import torch
import xarray as xr
from torch import nn

from eif_lab.data.task import Task
from eif_lab.desiderata import evaluate_all
from eif_lab.determinants import determinants, key_of
from eif_lab.influence.annotate import annotate
from eif_lab.influence.auto import Auto
from eif_lab.influence.batch import Batch
from eif_lab.influence.calibrate import MOST_STIMULI, START
from eif_lab.influence.context import ContextReader
from eif_lab.influence.forecast import flops, grown, in_all, operations, peak, seconds, timings
from eif_lab.influence.loop import Loop
from eif_lab.influence.lowrank import LowRank
from eif_lab.influence.measure import measure_influence, memberships, must_be_precise
from eif_lab.influence.memory import peak_bytes
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.readout import named_readouts
from eif_lab.influence.reference import Reference
from eif_lab.influence.rounding import LostToRounding, full_precision
from eif_lab.influence.stacked import Stacked
from eif_lab.models.base import BaseModel, Lesson, Sketch
from eif_lab.pipeline import (
    Inputs,
    deterministic_algorithms,
    job_name,
    must_be_usable,
    read_texts,
    ready,
    rows_to_read,
    without_neutral,
)
from eif_lab.results.arrays import write_array
from eif_lab.results.plans import TRAINING, Plan, gibibytes
from eif_lab.results.store import ArrayCache
from eif_lab.schema import ConfigError, Job, NotApplicable, rule_error

META = "meta"
"""Torch's device whose tensors have shapes alone."""

TRIALS = 5
"""Learning rates that a calibration tries: 3 to 7 in 64 jobs of two models and four methods, 5 in the middle."""

STEPS = (2, 8)
"""Of a base training, that are timed."""

SHAPES_AT_ONCE = 4
"""Stimuli that go at once through a model without numbers, of which each operator takes as long as one with few."""

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
        return Plan(job_name(job), reason=" ".join(told.split()))


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


@dataclass(frozen=True)
class Work:
    """What a part of a job takes, as of `Plan`; memory beside what is held anyway."""

    engine: str = ""
    memory: Mapping[str, float] = field(default_factory=dict)
    fine_tunes: int = 0
    probe_passes: int = 0
    flops: float = 0.0
    disk: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()


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


def schooled(sketch: Sketch, job: Job, made: set[str]) -> Work:
    """One round of the base training; nothing where it is done, or where an earlier job will have done it."""
    lesson, place = sketch.lesson, str(sketch.kept or determinants(job)["model"])
    if lesson is None or place in made:
        return Work()
    made.add(place)
    module = copy.deepcopy(sketch.base.module).float().train()  # it is float32 whatever is measured in
    example = next(module.parameters())
    batch = [part.to(example.device) for part in next(iter(lesson.batches))]
    two = partial(two_steps, module, sketch.base, batch)
    wider = bytes_of(module) - bytes_of(sketch.base.module)
    again = f"base training: one round of at most {lesson.rounds}, as many as it takes to learn the background"
    return Work(
        memory={TRAINING: wider + peak_bytes(two, example.device)},
        flops=operations(two) / 2 * lesson.training.steps,
        disk=bytes_of(module),
        seconds={TRAINING: math.nan if example.is_meta else lesson_seconds(lesson, sketch.base, job.device)},
        notes=[again] if lesson.rounds > 1 else [],
    )


def bytes_of(module: nn.Module) -> int:
    """What its parameters and buffers take."""
    return sum(part.nbytes for part in (*module.parameters(), *module.buffers()))


def two_steps(module: nn.Module, base: BaseModel, batch: Sequence[torch.Tensor]) -> None:
    """Of AdamW: only in the second are its averages there beside all else."""
    optimizer = torch.optim.AdamW(module.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        base.loss(module(batch[0]), batch[1]).backward()
        optimizer.step()


def lesson_seconds(lesson: Lesson, base: BaseModel, device: str) -> float:
    """One round, from a few of its steps."""
    from eif_lab.models.training import train, unseen

    def taken(steps: int) -> float:
        module, options = copy.deepcopy(base.module).float(), replace(lesson.training, steps=steps)
        with TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            started = time.perf_counter()
            place, batches = Path(folder), unseen(lesson.batches)
            train(module, base.loss, batches, options, directory=place, title="", device=device)
            return time.perf_counter() - started

    taken(1)  # imports, and all that is done once
    few, several = (taken(steps) for steps in STEPS)
    each = max(0.0, several - few) / (STEPS[1] - STEPS[0])
    return few + (lesson.training.steps - STEPS[0]) * each + seconds(lesson.examine)


def outline(job: Job, plain: Task, perturbed: Task, base: BaseModel) -> Inputs:
    """As `eif_lab.pipeline.ready`, of a model without numbers."""
    stimuli, probes = Batch(*base.encode(perturbed.stimuli)), Batch(*base.encode(perturbed.probes))
    model = job.method.apply(base.module, job.seed) if job.method.trains else base.module.requires_grad_(False)
    rows, candidates = rows_to_read(job.readout, base, perturbed.probes, probes)
    distances = {**perturbed.distances, "feature": np.zeros(perturbed.relation.shape)}
    clean, model = without_neutral(plain.stimuli), model.eval().to(META)  # with what a method drew elsewhere
    return Inputs(perturbed, clean, stimuli, rows, candidates, distances, base, model, {})


def tuned(job: Job, inputs: Inputs) -> Work:
    """A measurement through the weights, and the search for its learning rate."""
    problem = problem_of(job, inputs, inputs.stimuli, inputs.probes)
    started = time.perf_counter()
    engine = taken_engine(job.engine, problem)
    choosing = time.perf_counter() - started
    outlined = problem.members.is_meta
    found = {} if outlined else timings(engine, problem)
    most = int(max((stimuli for stimuli, _ in found), default=SHAPES_AT_ONCE))
    search = searched(job, inputs) if job.update.learning_rate is None else Work()
    measuring = math.nan if outlined else choosing + in_all(engine, problem, found)
    updates, rows = len(problem.members), len(problem.probes)
    reads = problem.update.steps if problem.trajectory else 1
    compiled = "passes over probes will be compiled, which is not timed here: it takes less"
    return Work(
        engine=engine.name,
        memory={one.name: peak(one, problem, most) for one in engines(job.engine, engine, problem)},
        fine_tunes=search.fine_tunes + (updates if engine.exact else 0),
        probe_passes=search.probe_passes + (updates * reads + 1 if engine.exact else 1) * rows,
        flops=search.flops + flops(engine, problem),
        seconds={**search.seconds, "measuring": measuring},
        notes=[compiled] if not outlined and engine.compiles(problem) else [],
    )


def searched(job: Job, inputs: Inputs) -> Work:
    """The search for a learning rate, from one trial."""
    batch = Batch(*inputs.base.encode(inputs.clean)).take(slice(MOST_STIMULI))
    problem = problem_of(replace(job, readout=["log_prob"], trajectory=False), inputs, batch, batch, "include")
    engine = job.engine if job.engine.exact else Auto(job.engine.memory_budget)
    count = len(batch.targets)

    def trial() -> None:
        with suppress(LostToRounding):
            measure_influence(
                inputs.model, inputs.base.loss, batch, batch, method=None, update=problem.update, engine=engine
            )

    each = math.nan if problem.members.is_meta else seconds(trial)
    return Work(
        fine_tunes=TRIALS * count,
        probe_passes=TRIALS * count * (count + 1),
        flops=TRIALS * flops(taken_engine(engine, problem), problem),
        seconds={"calibrating": TRIALS * each},
    )


def problem_of(job: Job, inputs: Inputs, stimuli: Batch, probes: Batch, membership: str | None = None) -> Problem:
    """The measurement; candidates are rows like any other here, which takes as long."""
    device = next(inputs.model.parameters()).device
    rate = job.update.learning_rate
    problem = Problem(
        model=inputs.model,
        loss=inputs.base.loss,
        samples=stimuli.to(device),
        members=memberships(len(stimuli.targets), membership or job.perturbation.membership).to(device),
        probes=probes.to(device),
        readouts=named_readouts(job.readout),
        update=replace(job.update, learning_rate=START[job.update.optimizer] if rate is None else rate),
        trajectory=job.trajectory,
        memory_budget=job.engine.memory_budget,
    )
    if device.type == META:
        vars(problem)["shares_prefixes"] = False  # what texts share, shapes do not tell: it takes less
    return problem


def taken_engine(engine: Engine, problem: Problem) -> Engine:
    """The engine that would run.

    Raises:
        ConfigError: It cannot do the problem.
    """
    chosen = engine.choose(problem) if isinstance(engine, Auto) else engine
    if chosen.stores_weights:
        must_be_precise(problem)
    if reason := chosen.refuses(problem):
        raise rule_error("engine", f"be one that can do this ({reason})", engine.name, "Try auto.")
    return chosen


def engines(asked: Engine, taken: Engine, problem: Problem) -> list[Engine]:
    """The one that would run, and the other exact ones that could."""
    options = {name: value for name, value in asdict(asked).items() if name in Engine.__dataclass_fields__}
    possible: list[Engine] = [taken]
    for kind in (LowRank, Stacked, Loop, Reference):
        other = kind(**options)
        with suppress(ConfigError):
            possible += [other] if other.name != taken.name and taken_engine(other, problem) else []
    return possible


def prompted(job: Job, inputs: Inputs) -> Work:
    """A measurement through the context, from one stimulus."""
    contexts = job.method.contexts(inputs.task.stimuli, job.seed)
    texts = read_texts(inputs)
    budget = job.engine.memory_budget
    reader = ContextReader(inputs.model, named_readouts(job.readout), None, budget)

    def rows(context: str) -> Batch:
        return Batch(*job.method.rows(inputs.base.encode, texts, context))

    batch, device = rows(contexts[0][0]), next(inputs.model.parameters()).device
    problem = reader.problem(batch, None)
    if device.type == META:
        vars(problem)["shares_prefixes"] = False
    read: Callable[[], Any] = partial(problem.read_rows, {})
    reads = 1 + sum(bool(said) for pair in contexts for said in pair)
    each = math.nan if device.type == META else seconds(lambda: reader.read(rows(contexts[0][0])))
    return Work(
        engine="context",
        memory={"context": peak_bytes(read, device)},
        probe_passes=reads * len(batch.targets),
        flops=reads * operations(read),
        seconds={"measuring": reads * each},
    )


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
