"""Influence through the weights: a job whose stimuli are learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import xarray as xr

from eif_lab.influence.calibrate import calibrate
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.measure import OnChunk, measure_influence
from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.update import Update
from eif_lab.jobs.channels.channel import Channel
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.measurement import tuned
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan


@dataclass
class Weights(Channel):
    """Stimuli are learnt, each by an update of its own."""

    job: Job

    def steps(self) -> list[int]:
        """Every step of a trajectory, else the last one."""
        last = self.job.update.steps
        return list(range(1, last + 1)) if self.job.trajectory else [last]

    def calibrate(self, inputs: Inputs) -> dict[str, Any]:
        """The update; without a learning rate, with the one at which clean stimuli teach as much as is asked."""
        job, update, calibration = self.job, self.job.update, None
        if update.learning_rate is None:
            # a prediction is made at the rate of what it predicts
            engine = job.engine if job.engine.exact else Auto(job.engine.memory_budget)
            calibration = calibrate(
                inputs.model,
                inputs.base.loss,
                inputs.rows(inputs.clean),
                method=None,
                update=update,
                engine=engine,
                seed=job.seed,
            )
            update = dataclasses.replace(update, learning_rate=calibration.learning_rate)
        return {**dataclasses.asdict(update), "calibration": calibration and calibration.describe()}

    def measure(self, inputs: Inputs, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """What learning each stimulus does to each probe."""
        return self._measure(inputs, update, left.parts("stimuli"), on_chunk)

    def measure_rows(self, inputs: Inputs, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Measure some stimuli, and keep their parts."""
        # whether the array is lost to rounding, only the whole of it can tell
        with suppress(LostToRounding):
            self._measure(inputs, update, parts, parts.append, rows)

    def _measure(
        self, inputs: Inputs, update: Mapping[str, Any], known: Parts, on_chunk: OnChunk, rows: slice | None = None
    ) -> xr.DataArray:
        job = self.job
        array = measure_influence(
            inputs.model,
            inputs.base.loss,
            inputs.stimuli,
            inputs.probes,
            readout=job.readout,
            method=None,
            update=Update(**{name: value for name, value in update.items() if name != "calibration"}),
            engine=job.engine,
            perturbation=job.perturbation.membership,
            trajectory=job.trajectory,
            seed=[job.seed],
            candidates=inputs.candidates,
            on_chunk=on_chunk,
            measured=known.whole,
            rows=rows,
        )
        return array if "step" in array.dims else array.expand_dims(step=[update["steps"]], axis=2)

    def plan(self, inputs: Inputs) -> Plan:
        """From parts of the measurement by the engine that would run."""
        return tuned(self.job, inputs)

    def counterparts(self) -> list[Job]:
        """The first-order prediction of an exact array, and any exact array of a prediction."""
        exact = (Auto(), Factored(), Stacked(), Loop(), Reference())
        others = (FirstOrder(),) if self.job.engine.exact else exact
        return [dataclasses.replace(self.job, engine=engine) for engine in others]
