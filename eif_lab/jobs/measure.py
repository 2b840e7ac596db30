"""Measure a job's array, from the last part that is stored on."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import xarray as xr

from eif_lab.console.progress import Bar
from eif_lab.data.worlds.distances import word_overlap
from eif_lab.desiderata.direct import direct_influence
from eif_lab.influence.array import annotate
from eif_lab.influence.resources.precision import COUNTS, LostToRounding
from eif_lab.jobs.channels.context import prompt_update, prompted, read_before
from eif_lab.jobs.channels.weights import calibrated_update, fine_tuned
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import (
    Inputs,
)
from eif_lab.jobs.job import Job
from eif_lab.readouts.readout import UNITS
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.provenance import package_versions, provenance
from eif_lab.results.trackers.tracker import Run

log = logging.getLogger(__name__)

MOST_NAMED = 8
"""Stimuli that diverged whose names are told; the array has them all."""


def measured(job: Job, inputs: Inputs, run: Run, left: Checkpoint) -> xr.DataArray:
    """Calibrate and measure, or go on with it: the array with its coordinates and its record."""
    task, base = inputs.task, inputs.base
    conditions = {"base_model": inputs.record["base_model"]["hash"], "versions": package_versions()}
    recipe = calibrated_update if job.method.trains else prompt_update
    update = left.settle(conditions, lambda: recipe(job, inputs))
    earlier, started = left.seconds, time.perf_counter()
    job.workers.measure(job, update, left, len(task.stimuli))
    with Live(run, len(task.stimuli), left.parts("stimuli")) as live:
        if job.method.trains:
            array = fine_tuned(job, inputs, update, left.parts("stimuli"), live)
        else:
            array = prompted(job, inputs, update, left, live)
    seconds = earlier + time.perf_counter() - started
    array = annotate(array, task, inputs.distances, default=next(iter(inputs.distances)))
    diverged = (~np.isfinite(array.values)).any(axis=(0, 2, 3, 4))
    record = {
        **inputs.record,
        "update": update,
        "direct_influence": dataclasses.asdict(direct_influence(array, job.readout[0])),
        "unit": UNITS[job.readout[0]],
        "engine": array.attrs["engine"],
        "diverged": int(diverged.sum()),
        "diverged_stimuli": array.stimulus_id.values[diverged][:MOST_NAMED].tolist(),
        "unmoved": int(unmoved(array).sum()),
        "stimuli": len(task.stimuli),
        "probes": len(task.probes),
        "measuring_seconds": seconds,
        "pairs_per_second": len(task.stimuli) * len(task.probes) / seconds,
        "measured": provenance(),
    }
    overlap = word_overlap(task)
    record |= {} if math.isnan(overlap) else {"word_overlap": overlap}
    names = {"model": base.name, "dataset": job.dataset.name, "method": job.method.name}
    domain = {"domain": job.dataset.name} if job.dataset.kind == "text" else {}
    return array.assign_attrs(**names, **domain, perturbation=job.perturbation.name, record=json.dumps(record))


def measure_rows(job: Job, inputs: Inputs, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
    """Measure some stimuli, and keep their parts; whether the whole array is lost to rounding, it alone can tell."""
    with deterministic_algorithms(job.deterministic), suppress(LostToRounding):
        if job.method.trains:
            fine_tuned(job, inputs, update, parts, parts.append, rows=rows)
        else:
            said = [own for own, _ in job.method.contexts(inputs.task.stimuli, job.seed)]
            read_before(job, inputs, said[rows], parts, parts.append)


class Live(ExitStack):
    """Keeps what is measured, and tells the tracker, and the console, how far the measurement is."""

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


def unmoved(array: xr.DataArray) -> np.ndarray:
    """Which stimuli moved no reading of any probe by one bit; none where only counts are read: (stimuli,)."""
    continuous = [name for name in array.readout.values if name not in COUNTS]
    return (array.sel(readout=continuous).values == 0).all(axis=(0, 2, 3, 4)) & bool(continuous)
