"""Measure a job's array, from the last part that is stored on."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from eif_lab.console.progress import Bar
from eif_lab.data.task import Texts
from eif_lab.data.worlds.distances import word_overlap
from eif_lab.desiderata.selection import unread
from eif_lab.desiderata.strength import strength_of
from eif_lab.influence.array import annotate
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import JobData
from eif_lab.jobs.job import Job
from eif_lab.jobs.record import Record
from eif_lab.jobs.workers import NoWorkers, Rows
from eif_lab.library.strength import strength_by_level
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.provenance import package_versions, provenance
from eif_lab.results.summary import unit
from eif_lab.results.trackers.none import NoTracker
from eif_lab.results.trackers.tracker import Run

log = logging.getLogger(__name__)

MOST_NAMED = 8
"""Number of diverged stimuli whose names are logged; the array has them all."""


def measure(job: Job, inputs: JobData, run: Run, left: Checkpoint) -> tuple[xr.DataArray, Record]:
    """Calibrate and measure, or go on with it.

    Args:
        job: The options.
        inputs: What is measured.
        run: The tracker's run, to which progress is logged.
        left: What is measured already.

    Returns:
        The array, (seed, stimulus, step, probe, readout) with its coordinates, and its record.
    """
    task = inputs.task
    conditions = {"base_model": inputs.record["base_model"]["hash"], "versions": package_versions()}
    with channel_of(job).open_measurement(inputs) as measuring:
        update = left.decide_once(conditions, measuring.calibrate)
        earlier, started = left.seconds, time.perf_counter()
        elsewhere = dataclasses.replace(job, workers=NoWorkers(), tracker=NoTracker())
        job.workers.measure(partial(prepare, elsewhere, update), left, len(task.stimuli))
        with PartHandler(run, len(task.stimuli), left.parts("stimuli")) as live:
            array = measuring.measure(update, left, live)
    seconds = earlier + time.perf_counter() - started
    array = annotate(array, task, inputs.distances, default=next(iter(inputs.distances)))
    names = {"model": inputs.record["base_model"]["name"], "dataset": job.dataset.name, "method": job.method.name}
    domain = {"domain": job.dataset.name} if job.dataset.kind == Texts.kind else {}
    array = array.assign_attrs(**names, **domain, perturbation=job.perturbation.name)
    record = record_of(job, inputs, update, array, seconds)
    return record.attach_to(array), record


def record_of(job: Job, inputs: JobData, update: Mapping[str, Any], array: xr.DataArray, seconds: float) -> Record:
    """The record of a measurement that has just ended.

    Args:
        job: The options.
        inputs: What was measured.
        update: The recipe.
        array: With its coordinates.
        seconds: That the measurement took.
    """
    read = ~unread(array)
    finite = np.isfinite(array.values).all(axis=(0, 2, 4))
    diverged = (~finite & read).any(axis=1)
    overlap, (stimuli, probes) = word_overlap(inputs.task), inputs.task.relation.shape
    return Record(
        **inputs.record,
        update=update,
        strength=strength_of(array, job.readout[0]),
        unit=unit(array, job.readout[0]) or named_readouts(job.readout)[job.readout[0]].unit,
        engine=array.attrs["engine"],
        diverged=int(diverged.sum()),
        diverged_stimuli=array.stimulus_id.values[diverged][:MOST_NAMED].tolist(),
        unmoved=int(find_unmoved(array, job.readout).sum()),
        stimuli=stimuli,
        probes=probes,
        measuring_seconds=seconds,
        pairs_per_second=int(read.sum()) / seconds,
        measured=provenance(),
        word_overlap=None if math.isnan(overlap) else overlap,
        strength_by_level=strength_by_level(array, job.readout[0]),
    )


@contextmanager
def prepare(job: Job, update: Mapping[str, Any]) -> Iterator[Rows]:
    """A worker's start: the job's measurement, from the cache that the job's own process has filled."""
    channel = channel_of(job)
    with deterministic_algorithms(job.deterministic), channel.open_measurement(channel.load()) as measuring:
        yield partial(measuring.measure_rows, update)


class PartHandler(ExitStack):
    """Stores each measured part, and reports progress to the tracker and the console."""

    def __init__(self, run: Run, total: int, parts: Parts) -> None:
        super().__init__()
        self.run, self.total, self.parts = run, total, parts
        self.bar = self.enter_context(Bar(total))
        self.done = 0
        self.cells, self.absolute = 0, 0.0
        for part in parts.whole:
            self.count(part)
        if self.done:
            log.info("going on: %d of them are measured already", self.done)
        self.before, self.started = self.done, time.perf_counter()

    def count(self, part: np.ndarray) -> None:
        """Add a part to the running means."""
        known = np.abs(part[..., 0][np.isfinite(part[..., 0])])
        self.done += len(part)
        self.cells, self.absolute = self.cells + known.size, self.absolute + float(known.sum())

    def __call__(self, part: np.ndarray) -> None:
        """One chunk of (stimuli, steps, probes, readouts) is measured."""
        self.parts.append(part)
        self.count(part)
        rate = (self.done - self.before) / (time.perf_counter() - self.started)
        self.bar.move(self.done, rate)
        running = {"mean_absolute_influence": self.absolute / self.cells if self.cells else math.nan}
        self.run.progress(self.done, self.total, rate, running)


def find_unmoved(array: xr.DataArray, readouts: list[str]) -> np.ndarray:
    """Which stimuli moved no reading of any probe by one bit; none where only counts are read: (stimuli,)."""
    continuous = [name for name, readout in named_readouts(readouts).items() if not readout.is_count]
    still = (array.sel(readout=continuous).values == 0).all(axis=(0, 2, 4)) | unread(array)
    return still.all(axis=1) & bool(continuous)
