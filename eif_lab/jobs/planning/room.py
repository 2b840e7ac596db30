"""What a machine has for a job, and what the job lacks there."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import torch

from eif_lab.console.plans import gibibytes
from eif_lab.errors import ConfigError
from eif_lab.jobs.device import must_be_usable
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import bytes_of
from eif_lab.results.plan import TRAINING, Plan


def why_barred(job: Job) -> str:
    """Why this machine cannot run the job's device, which it can be planned for all the same; empty where it can.

    Raises:
        ConfigError: There is no such device anywhere.
    """
    try:
        must_be_usable(job.device, job.model.dtype)
    except ConfigError:
        try:
            torch.device(job.device)
        except RuntimeError:
            pass
        else:
            return f"device={job.device} cannot be used on this machine"
        raise
    return ""


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
