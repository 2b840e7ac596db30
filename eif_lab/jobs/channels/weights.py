"""Influence through the weights: a job whose stimuli are learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import xarray as xr

from eif_lab.data.sets import members_of, trained_on
from eif_lab.errors import NotApplicable
from eif_lab.influence.engines import exact_engines, predictions
from eif_lab.influence.measure import influence_array, parts_of
from eif_lab.influence.measurement import Measurement, OnChunk, memberships, open_measurement
from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.update import Update
from eif_lab.jobs.channels.channel import Channel, ChannelMeasurement
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.measurement import tuned
from eif_lab.options import options_of
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan

BATCHES = ("batch_size", "epochs", "order", "seed")
"""Options of the update that say which samples each step is on."""


@dataclass
class Weights(Channel):
    """Stimuli are learnt, each by an update of its own."""

    job: Job

    def must_fit(self) -> None:
        """Refuse an engine that does not follow the optimizer's steps.

        Raises:
            NotApplicable: Which ones it follows.
        """
        follows, optimizer = self.job.engine.optimizers, self.job.update.optimizer
        if follows and optimizer not in follows:
            rule = f"be one that can do this (it follows {', '.join(follows)}, not {optimizer})"
            raise NotApplicable(f"engine must {rule}, got {self.job.engine.name!r}. Try auto.")

    def determinants(self) -> dict[str, Any]:
        """Where each step is on all that is trained on, neither batches nor their order have a say."""
        if self.job.update.batch_size is not None:
            return {}
        update = options_of(self.job.update)
        steps = self.job.update.epochs or self.job.update.steps
        return {"update": {name: one for name, one in update.items() if name not in BATCHES} | {"steps": steps}}

    def steps(self, inputs: Inputs) -> list[int]:
        """Every step of a trajectory, else the last one."""
        members = memberships(len(inputs.stimuli), self.job.perturbation.membership, inputs.sets)
        last = len(self.job.update.batches(members.shape[1]))
        return list(range(1, last + 1)) if self.job.trajectory else [last]

    @contextmanager
    def open_measurement(self, inputs: Inputs) -> Iterator[WeightsMeasurement]:
        """The measurement, whose model and engine are prepared when they are first needed."""
        job = self.job
        with open_measurement(
            inputs.model,
            inputs.base.loss,
            inputs.stimuli,
            inputs.probes,
            readout=job.readout,
            method=None,
            update=job.update,
            engine=job.engine,
            perturbation=job.perturbation.membership,
            sets=inputs.sets,
            trajectory=job.trajectory,
            candidates=inputs.candidates,
            read=inputs.task.read,
        ) as measurement:
            yield WeightsMeasurement(job, inputs, measurement)

    def plan(self, inputs: Inputs) -> Plan:
        """From parts of the measurement by the engine that would run."""
        return tuned(self.job, inputs)

    def counterparts(self) -> list[Job]:
        """The first-order prediction of an exact array, and any exact array of a prediction."""
        kinds = predictions() if self.job.engine.exact else exact_engines()
        return [dataclasses.replace(self.job, engine=kind()) for kind in kinds]


@dataclass
class WeightsMeasurement(ChannelMeasurement):
    """The measurement of the influence of learning each stimulus on each probe.

    Attributes:
        job: The options.
        inputs: What is measured.
        measurement: Prepared once, whatever is calibrated or measured.
    """

    job: Job
    inputs: Inputs
    measurement: Measurement

    def calibrate(self) -> dict[str, Any]:
        """The update; without a learning rate, with the one at which clean stimuli are taught as strongly as asked."""
        update, calibration = self.job.update, None
        if update.learning_rate is None:
            gauge, rows = self.inputs.gauge, self.inputs.rows
            calibration = self.measurement.calibrate(
                rows(trained_on(gauge.stimuli)), update, rows(gauge.probes), gauge.yardstick, members_of(gauge.stimuli)
            )
            update = dataclasses.replace(update, learning_rate=calibration.learning_rate)
        steps = self.measurement.problem.steps
        return {**dataclasses.asdict(update), "steps": steps, "calibration": calibration and calibration.describe()}

    def measure(self, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """The influence of all stimuli, with its dims."""
        problem, parts = self.measurement.problem, left.parts("stimuli").whole
        known = parts_of(problem, iter(parts), len(problem.members))
        values = self.measurement.influence(recipe(update), on_chunk, known)
        return influence_array([values], problem, self.measurement.prepared.engine.name, [self.job.seed])

    def measure_rows(self, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Measure some stimuli, and keep their parts."""
        problem = self.measurement.problem
        known = parts_of(problem, iter(parts.whole), len(problem.members[rows]))
        # whether the array is lost to rounding, only the whole of it can tell
        with suppress(LostToRounding):
            self.measurement.influence(recipe(update), parts.append, known, rows)


def recipe(update: Mapping[str, Any]) -> Update:
    """The update without how its rate was found, and without the steps that its epochs make."""
    left_out = {"calibration", "steps"} if update["epochs"] else {"calibration"}
    return Update(**{name: value for name, value in update.items() if name not in left_out})
