"""Influence through the context: a job whose stimuli are read before the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from eif_lab.data.task import Texts
from eif_lab.influence.calibrate import MOST_STIMULI, near
from eif_lab.influence.context import measure_context
from eif_lab.influence.measure import OnChunk
from eif_lab.jobs.inputs import (
    Inputs,
)
from eif_lab.jobs.job import Job
from eif_lab.models.language.encoding import spell_out
from eif_lab.readouts.readout import IGNORED
from eif_lab.results.checkpoint import Checkpoint, Parts


def must_fit_context(job: Job, inputs: Inputs) -> None:
    """Refuse what cannot be read before a probe, by reading every stimulus before the longest one.

    Raises:
        ConfigError: The template, the number of stimuli or the length does not fit.
    """
    probes = read_texts(inputs)
    scored = inputs.probes.targets != IGNORED
    longest = (scored * torch.arange(1, scored.shape[1] + 1)).amax(1).argmax()
    for context, _ in job.method.contexts(inputs.task.stimuli, job.seed):
        job.method.rows(inputs.base.encode, probes.take([int(longest)]), context)


def read_texts(inputs: Inputs) -> Texts:
    """The probes as texts, row by row."""
    probes = inputs.task.probes
    assert isinstance(probes, Texts)
    return probes if inputs.candidates is None else spell_out(probes)[0]


def prompt_update(job: Job, inputs: Inputs) -> dict[str, Any]:
    """No recipe; where there is a target, ``calibration`` says what stimuli do that are read before themselves."""
    target = job.update.direct_influence
    record: dict[str, Any] = {"optimizer": None, "learning_rate": None, "steps": 0, "calibration": None}
    if target is None:
        return record
    said = job.method.contexts(inputs.clean, job.seed)[:MOST_STIMULI]
    direct = []
    for i, (context, others) in enumerate(said):
        with_own, without = (job.method.rows(inputs.base.encode, inputs.clean.take([i]), c) for c in (context, others))
        direct.append(measure_context(inputs.model, without, [with_own]).item())
    mean = float(np.mean(direct))
    return {**record, "calibration": {"direct_influence": mean, "target": target, "reached": near(mean, target)}}


def prompted(job: Job, inputs: Inputs, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
    """Influence through the context; where there are companions, less what these do alone."""
    said, companions = zip(*job.method.contexts(inputs.task.stimuli, job.seed))
    array = read_before(job, inputs, said, left.parts("stimuli"), on_chunk)
    if any(companions):
        alone = left.parts("companions")
        array = array.copy(data=array.values - read_before(job, inputs, companions, alone, alone.append).values)
    return array.expand_dims(seed=[job.seed]).expand_dims(step=[update["steps"]], axis=2)


def read_before(job: Job, inputs: Inputs, contexts: Sequence[str], known: Parts, on_chunk: OnChunk) -> xr.DataArray:
    """What each context does that is read before the probes, of which some parts are known."""
    probes = read_texts(inputs)

    def rows(context: str = "") -> tuple[Tensor, Tensor]:
        return job.method.rows(inputs.base.encode, probes, context)

    return measure_context(
        inputs.model,
        rows(),
        (rows(context) for context in contexts),
        readout=job.readout,
        candidates=inputs.candidates,
        memory_budget=job.engine.memory_budget,
        on_chunk=on_chunk,
        measured=known.whole,
    )
