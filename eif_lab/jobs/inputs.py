"""Inputs of a measurement: data, base model, perturbation and method, put together and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from eif_lab.data.images.base import feature_distance
from eif_lab.data.sets import Members, Sets, members_of, trained_on
from eif_lab.data.task import Samples, Task, without_neutral
from eif_lab.errors import ConfigError, rule_error
from eif_lab.influence.batch import Batch
from eif_lab.jobs.device import must_be_usable
from eif_lab.jobs.encoded import EncodedSamples
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import META
from eif_lab.library.measure import rows_to_read, with_base_log_prob
from eif_lab.library.strength import Gauge, gauge_of
from eif_lab.methods import Method
from eif_lab.methods.method import trained_summary
from eif_lab.models.base import BaseModel, weights_hash
from eif_lab.models.reading import read_log_probs
from eif_lab.readouts.readout import named_readouts

log = logging.getLogger(__name__)

LARGEST_SHIFT = 1e-3
"""In nats: what a method may change by being there, before it is trained."""


@runtime_checkable
class JobData(Protocol):
    """The data of every job, whether a model answers or a rule."""

    @property
    def task(self) -> Task:
        """The data, perturbed."""

    @property
    def distances(self) -> Mapping[str, np.ndarray]:
        """Named (stimuli, probes) arrays; the first is the default."""

    @property
    def record(self) -> dict[str, Any]:
        """The manifest's entry for the model."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of a measurement.

    Attributes:
        task: Perturbed, without the worlds that were not learnt.
        clean: The task before the perturbation, without neutral stimuli and worlds that were not learnt.
        gauge: What tells how strongly stimuli are taught: of some of the clean ones.
        stimuli: Encoded, (stimuli, ...); where these are sets, the samples that they hold.
        sets: (sets, samples), which samples each row is trained on; None where each is trained on alone.
        probes: Encoded; where a readout compares candidates, a row for each candidate of each probe.
        candidates: (rows,), which probe each row of ``probes`` answers; None where each row is a probe.
        encoded: Every sample of the job, of which `rows` takes some.
        distances: Named (stimuli, probes) arrays; the first is the default.
        base: The base model; its module now holds the method.
        model: The module to call; exactly what the method trains requires a gradient.
        record: What the manifest says of the model.
    """

    task: Task
    clean: Task
    gauge: Gauge
    stimuli: Batch
    sets: Members | None
    probes: Batch
    candidates: np.ndarray | None
    encoded: EncodedSamples
    distances: dict[str, np.ndarray]
    base: BaseModel
    model: nn.Module
    record: dict[str, Any]

    def rows(self, samples: Samples) -> Batch:
        """Samples of the job as tensors."""
        return self.encoded.rows(samples)


def load(job: Job) -> Inputs:
    """Data, base model, perturbation and method.

    Raises:
        ConfigError: One of them cannot be had, or they do not go together.
    """
    must_be_usable(job.device, job.model.dtype)
    plain = job.dataset.load(job.data_seed)
    perturbed = job.perturbation.apply(plain, job.data_seed)
    return assemble(job, plain, perturbed, job.model.prepare(plain, Path(job.cache), job.seed, job.device))


def assemble(job: Job, plain: Task, perturbed: Task, base: BaseModel, read: bool = True) -> Inputs:
    """Encode every sample once, read the base model, and put the method into it.

    A base model without numbers, on the meta device, is not read: its distances are zeros, and its record is empty.

    Args:
        job: The options.
        plain: The data before the perturbation.
        perturbed: The data after it.
        base: Its module is changed.
        read: Whether it is read; otherwise it is as though it had no numbers, for whom it is to be quick.

    Raises:
        ConfigError: They do not go together.
    """
    left_out = base.report.get("worlds_not_learnt", [])
    device, perturbation = next(base.module.parameters()).device, job.perturbation
    plain, task = without_worlds(plain, left_out), perturbed
    if perturbation.asks_model and read and device.type != META:
        task = perturbation.apply_with(plain, job.data_seed, base)
    elif left_out:
        task = perturbation.apply(plain, job.data_seed)  # anew, since it may draw from what is left
    if left_out:
        log.warning("%d worlds excluded: the base model does not know their background", len(left_out))
    clean = without_neutral(plain)
    gauge = gauge_of(task if perturbation.of_sets else clean, job.update.calibration_stimuli)
    answers, candidates = rows_to_read(list(named_readouts(job.readout).values()), task.probes)
    samples = trained_on(task.stimuli)
    encoded = EncodedSamples(base.encode, [samples, trained_on(gauge.stimuli), task.probes, gauge.probes, answers])
    stimuli, probes = encoded.rows(samples), encoded.rows(task.probes)
    if device.type == META or not read:
        feature, record = np.zeros(task.relation.shape), dict[str, Any]()
        model = job.method.apply(base.module, job.seed).eval().to(device)  # with what a method drew elsewhere
    else:
        feature = feature_distances(base, stimuli, probes, job.device)
        feature = task.stimuli.nearest(feature) if isinstance(task.stimuli, Sets) else feature
        before = read_log_probs(base.module, probes.inputs, probes.targets, job.device)
        must_be_numbers(before, base.name)
        task = with_base_log_prob(task, before)
        model, record = with_method(job.method, base, probes, before, seed=job.seed, device=job.device)
    rows = probes if candidates is None else encoded.rows(answers)
    distances = {**task.distances, "feature": feature}
    sets = members_of(task.stimuli)
    return Inputs(task, clean, gauge, stimuli, sets, rows, candidates, encoded, distances, base, model, record)


def with_method(
    method: Method, base: BaseModel, probes: Batch, before: Tensor, *, seed: int, device: str
) -> tuple[nn.Module, dict[str, Any]]:
    """The base model with the method in it, and what the manifest says of both.

    It is read again only with a method that adds modules, which may change an answer by being there.

    Args:
        method: The method.
        base: The base model.
        probes: Encoded.
        before: (probes,), what the base model reads of each.
        seed: Of what the method draws.
        device: As torch names it.
    """
    base_hash = weights_hash(base.module)
    model, shift = method.apply(base.module, seed).eval(), 0.0
    if method.adds_modules:
        after = read_log_probs(model, probes.inputs, probes.targets, device)
        shift = float((after - before).abs().max())
    if shift > LARGEST_SHIFT:
        message = "%s changes answers before it is trained, by up to %.3g nat: influence is measured from there"
        log.warning(message, method.name, shift)
    return model, {
        "base_model": {"name": base.name, "hash": base_hash, **base.report},
        "trained_parameters": trained_summary(model),
        "method_shift": shift,
    }


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


def without_worlds(task: Task, worlds: list[int]) -> Task:
    """The task without the worlds whose background the base model does not know.

    Raises:
        ConfigError: None is left.
    """
    if not worlds:
        return task
    stimuli, probes = (np.flatnonzero(~np.isin(s.coords["world"], worlds)) for s in (task.stimuli, task.probes))
    if not len(stimuli):
        if task.background is not None and task.background.known:
            rule = "be taught or context with a base model that knows the background of no world"
            raise rule_error("dataset.background", rule, "known", "Try taught.")
        message = "model.teaching must teach the background of at least one world, got none learnt."
        raise ConfigError(f"{message} Try more model.teaching.steps.")
    return task.take(stimuli, probes)


def feature_distances(base: BaseModel, stimuli: Batch, probes: Batch, device: str) -> np.ndarray:
    """Distances between the base model's features of stimuli and probes: (stimuli, probes)."""
    with torch.no_grad():
        a, b = (
            torch.cat([base.features(part.to(device)) for part in batch.inputs.split(512)])
            for batch in (stimuli, probes)
        )
    return feature_distance(a.float(), b.float()).cpu().numpy().astype(float)
