"""What a base training would take."""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from eif_lab.influence.resources.forecast import operations, seconds
from eif_lab.influence.resources.memory import peak_bytes
from eif_lab.jobs.determinants import determinants
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import bytes_of
from eif_lab.models.base import BaseModel, Lesson, Sketch
from eif_lab.results.plan import TRAINING, Plan

STEPS = (2, 8)
"""Of a base training, that are timed."""


def schooled(sketch: Sketch, job: Job, made: dict[str, Plan]) -> Plan:
    """One round of the base training; nothing where it is done, or where an earlier job will have done it."""
    lesson, place = sketch.lesson, str(sketch.kept or determinants(job)["model"])
    if lesson is None or place in made:
        return Plan()
    made[place] = Plan()
    module = copy.deepcopy(sketch.base.module).float().train()  # it is float32 whatever is measured in
    example = next(module.parameters())
    batch = [part.to(example.device) for part in next(iter(lesson.batches))]
    two = partial(two_steps, module, sketch.base, batch)
    wider = bytes_of(module) - bytes_of(sketch.base.module)
    again = f"base training: one round of at most {lesson.rounds}, as many as it takes to learn the background"
    return Plan(
        memory={TRAINING: wider + peak_bytes(two, example.device)},
        flops=operations(two) / 2 * lesson.training.steps,
        disk=bytes_of(module),
        seconds={TRAINING: math.nan if example.is_meta else lesson_seconds(lesson, sketch.base, job.device)},
        notes=[again] if lesson.rounds > 1 else [],
    )


def two_steps(module: nn.Module, base: BaseModel, batch: Sequence[torch.Tensor]) -> None:
    """Of AdamW: only in the second are its averages there beside all else."""
    optimizer = torch.optim.AdamW(module.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        base.loss(module(batch[0]), batch[1]).backward()
        optimizer.step()


def lesson_seconds(lesson: Lesson, base: BaseModel, device: str) -> float:
    """One round, from a few of its steps."""
    from eif_lab.models.training import remaining_batches, train

    def timed(steps: int) -> float:
        module, options = copy.deepcopy(base.module).float(), replace(lesson.training, steps=steps)
        with TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            started = time.perf_counter()
            place, batches = Path(folder), remaining_batches(lesson.batches)
            train(module, base.loss, batches, options, directory=place, title="", device=device)
            return time.perf_counter() - started

    timed(1)  # imports, and all that is done once
    few, several = (timed(steps) for steps in STEPS)
    each = max(0.0, several - few) / (STEPS[1] - STEPS[0])
    return few + (lesson.training.steps - STEPS[0]) * each + seconds(lesson.examine)
