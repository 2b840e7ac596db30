"""All that a measurement needs: data, base model, perturbation and method, put together and checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eif_lab.data.images.base import feature_distance
from eif_lab.data.task import Samples, Task, Texts
from eif_lab.errors import ConfigError, rule_error
from eif_lab.influence.batch import Batch
from eif_lab.jobs.device import must_be_usable
from eif_lab.jobs.job import Job
from eif_lab.methods.method import trained_summary
from eif_lab.models.base import BaseModel, weights_hash
from eif_lab.models.language.encoding import spell_out
from eif_lab.readouts.candidates import AMONG
from eif_lab.readouts.readout import log_prob

log = logging.getLogger(__name__)

LARGEST_SHIFT = 1e-3
"""In nats: what a method may change by being there, before it is trained."""


@dataclass(frozen=True)
class Inputs:
    """All that a measurement needs.

    Attributes:
        task: Perturbed, without the worlds that were not learnt.
        clean: The stimuli before the perturbation, but for neutral ones.
        stimuli: Encoded.
        probes: Likewise; where a readout compares candidates, a row for each of them.
        candidates: Which probe each row answers; None where each row is a probe.
        distances: Named (stimuli, probes) arrays; the first is the default.
        base: The base model; its module now holds the method.
        model: The module to call, with exactly what moves requiring a gradient; nothing does where stimuli are read.
        record: What is known so far for the manifest.
    """

    task: Task
    clean: Samples
    stimuli: Batch
    probes: Batch
    candidates: np.ndarray | None
    distances: dict[str, np.ndarray]
    base: BaseModel
    model: nn.Module
    record: dict[str, Any]


def load(job: Job) -> Inputs:
    """Data, base model, perturbation and method: all that a user can still have got wrong shows here."""
    must_be_usable(job.device, getattr(job.model, "dtype", "float32"))
    plain = job.dataset.load(job.data_seed)
    perturbed = job.perturbation.apply(plain, job.data_seed)
    return ready(job, plain, perturbed, job.model.prepare(plain, Path(job.cache), job.seed, job.device))


def ready(job: Job, plain: Task, perturbed: Task, base: BaseModel) -> Inputs:
    """Encode what is measured, and put the method into the base model.

    Args:
        job: The options.
        plain: The data before the perturbation.
        perturbed: The data after it.
        base: Its module is changed.

    Raises:
        ConfigError: They do not go together.
    """
    left_out = base.report.get("worlds_not_learnt", [])
    plain, task = without_worlds(plain, left_out), without_worlds(perturbed, left_out)
    if left_out:
        log.warning("%d worlds excluded: the base model did not learn their background", len(left_out))
    stimuli, probes = Batch(*base.encode(task.stimuli)), Batch(*base.encode(task.probes))
    distances = {**task.distances, "feature": feature_distances(base, stimuli, probes, job.device)}
    base_hash, before = weights_hash(base.module), readings(base.module, probes, job.device)
    must_be_numbers(before, base.name)
    trains = job.method.trains
    model = job.method.apply(base.module, job.seed).eval() if trains else base.module.requires_grad_(False)
    shift = float((readings(model, probes, job.device) - before).abs().max())
    if shift > LARGEST_SHIFT:
        told = "%s changes answers before it is trained, by up to %.3g nat: influence is measured from there"
        log.warning(told, job.method.name, shift)
    record = {
        "base_model": {"name": base.name, "hash": base_hash, **base.report},
        "trained_parameters": trained_summary(model),
        "method_shift": shift,
    }
    rows, candidates = rows_to_read(job.readout, base, task.probes, probes)
    inputs = Inputs(task, without_neutral(plain.stimuli), stimuli, rows, candidates, distances, base, model, record)
    if not trains:
        from eif_lab.jobs.channels.context import must_fit_context

        must_fit_context(job, inputs)
    return inputs


def must_be_numbers(before: Tensor, name: str) -> None:
    """Refuse a base model whose readings are no numbers: no influence on them would be one.

    Args:
        before: (probes,).
        name: The model's.

    Raises:
        ConfigError: One of them is NaN or infinite.
    """
    broken = (~before.isfinite()).nonzero().flatten().tolist()
    if broken:
        rule = f"read every probe as a finite number, {name} does not for {len(broken)} of {len(before)}"
        hint = "Try another checkpoint, or a lower learning rate of its training."
        raise rule_error("model", rule, before[broken[0]].item(), hint)


def without_neutral(stimuli: Samples) -> Samples:
    """The stimuli that say something about a probe."""
    neutral = stimuli.coords.get("neutral")
    return stimuli if neutral is None else stimuli.take(np.flatnonzero(~neutral))


def rows_to_read(
    readouts: list[str], base: BaseModel, probes: Samples, encoded: Batch
) -> tuple[Batch, np.ndarray | None]:
    """The rows that the readouts look at, and which probe each is of.

    Args:
        readouts: By name.
        base: How texts become rows.
        probes: What is watched.
        encoded: The same, without their candidates.

    Returns:
        Every candidate of every probe where a readout compares them; otherwise the probes, and None.
    """
    if not (isinstance(probes, Texts) and probes.candidates and any(name in AMONG for name in readouts)):
        return encoded, None
    answers, rows = spell_out(probes)
    return Batch(*base.encode(answers)), rows


def readings(model: nn.Module, probes: Batch, device: str) -> Tensor:
    """Log-probabilities of the probes: (probes,)."""
    with torch.no_grad():
        chunks = zip(*(part.split(512) for part in probes))
        return torch.cat([log_prob(model(x.to(device)), y.to(device)) for x, y in chunks])


def without_worlds(task: Task, worlds: list[int]) -> Task:
    """The task without the worlds whose background was not learnt.

    Raises:
        ConfigError: None is left.
    """
    if not worlds:
        return task
    stimuli, probes = (np.flatnonzero(~np.isin(s.coords["world"], worlds)) for s in (task.stimuli, task.probes))
    if not len(stimuli):
        told = "model.teaching must teach the background of at least one world, got none learnt."
        raise ConfigError(f"{told} Try more model.teaching.steps.")
    return task.take(stimuli, probes)


def feature_distances(base: BaseModel, stimuli: Batch, probes: Batch, device: str) -> np.ndarray:
    """Distances between the base model's features of stimuli and probes: (stimuli, probes)."""
    with torch.no_grad():
        a, b = (
            torch.cat([base.features(part.to(device)) for part in batch.inputs.split(512)])
            for batch in (stimuli, probes)
        )
    return feature_distance(a.float(), b.float()).cpu().numpy().astype(float)
