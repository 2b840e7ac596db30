"""Influence through the weights: calibration and measurement of a job that fine-tunes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import xarray as xr

from eif_lab.influence.batch import Batch
from eif_lab.influence.calibrate import calibrate
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.measure import OnChunk, measure_influence
from eif_lab.influence.update import Update
from eif_lab.jobs.inputs import (
    Inputs,
)
from eif_lab.jobs.job import Job
from eif_lab.results.checkpoint import Parts


def calibrated_update(job: Job, inputs: Inputs) -> dict[str, Any]:
    """The recipe with its learning rate, and how that was found: ``calibration``, None where it was given."""
    update, calibration = job.update, None
    if update.learning_rate is None:
        # a prediction is made at the rate of what it predicts
        engine = job.engine if job.engine.exact else Auto(job.engine.memory_budget)
        clean = Batch(*inputs.base.encode(inputs.clean))
        calibration = calibrate(
            inputs.model, inputs.base.loss, clean, method=None, update=update, engine=engine, seed=job.seed
        )
        update = dataclasses.replace(update, learning_rate=calibration.learning_rate)
    return {**dataclasses.asdict(update), "calibration": calibration and calibration.describe()}


def fine_tuned(
    job: Job, inputs: Inputs, update: Mapping[str, Any], known: Parts, on_chunk: OnChunk, *, rows: slice | None = None
) -> xr.DataArray:
    """Influence through the weights, of all stimuli or of some rows, of which some parts are known."""
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
