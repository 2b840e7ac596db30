"""Influence that is stated by a rule or a file: a job whose stimuli no model learns or reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from eif_lab.data.task import Task
from eif_lab.errors import NotApplicable
from eif_lab.influence.array import annotate
from eif_lab.influence.measure import SIGN
from eif_lab.influence.measurement import OnChunk
from eif_lab.jobs.channels.channel import Channel, ChannelMeasurement
from eif_lab.jobs.job import Job
from eif_lab.models.substitute import Substitute
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan


@dataclass(frozen=True)
class StatedInputs:
    """Inputs of a job without a model.

    Attributes:
        task: Perturbed.
        distances: The task's.
        record: What the manifest says of the model.
    """

    task: Task
    distances: Mapping[str, np.ndarray]
    record: dict[str, Any]


@dataclass
class Stated(Channel):
    """A substitute in the place of the model; method, update and engine have no say."""

    job: Job
    substitute: Substitute
    needs_model: ClassVar[bool] = False

    def must_fit(self) -> None:
        """There are no steps to read after."""
        if self.job.trajectory:
            raise NotApplicable(f"trajectory must be false with {self.substitute.name}, got True. Leave it out.")

    def determinants(self) -> dict[str, Any]:
        """The substitute decides the array, with the data, the seed and the readouts."""
        return {"method": {}, "update": {}, "engine": {}}

    def steps(self, inputs: StatedInputs) -> list[int]:
        """The number of steps that the update would have; none is taken."""
        return [self.job.update.steps]

    def load(self) -> StatedInputs:
        """The data, perturbed.

        Raises:
            ConfigError: It cannot be had, or does not go with the perturbation.
        """
        plain = self.job.dataset.load(self.job.data_seed)
        task = self.job.perturbation.apply(plain, self.job.data_seed)
        record = {
            "base_model": {"name": self.substitute.name, "hash": "", "origin": self.substitute.origin},
            "trained_parameters": {"count": 0, "total": 0, "tensors": 0, "names": []},
        }
        return StatedInputs(task, task.distances, record)

    def check(self, inputs: StatedInputs) -> None:
        """Try it.

        Raises:
            NotApplicable: The data lacks what a rule goes by.
            ConfigError: The file cannot be read, or is not about these samples.
        """
        self.array(inputs)

    @contextmanager
    def open_measurement(self, inputs: StatedInputs) -> Iterator[StatedMeasurement]:
        """Open a measurement without preparation."""
        yield StatedMeasurement(self, inputs)

    def plan(self, inputs: StatedInputs) -> Plan:
        """An empty plan: this takes no time."""
        return Plan(engine=self.substitute.engine, notes=[f"{self.substitute.origin}: it takes no time"])

    def array(self, inputs: StatedInputs) -> xr.DataArray:
        """The whole array, (seed, stimulus, step, probe, readout)."""
        shape = (1, len(inputs.task.stimuli), 1, len(inputs.task.probes), len(self.job.readout))
        coords = {
            "seed": [self.job.seed],
            "stimulus": np.arange(shape[1]),
            "step": self.steps(inputs),
            "probe": np.arange(shape[3]),
            "readout": self.job.readout,
        }
        blank = xr.DataArray(np.zeros(shape), coords, dims=tuple(coords), attrs={"sign": SIGN["include"]})
        made = self.substitute.influence(annotate(blank, inputs.task), self.job.seed)
        return made.drop_vars(set(made.coords) - set(coords))


@dataclass
class StatedMeasurement(ChannelMeasurement):
    """The influence of each stimulus on each probe as it is stated.

    Attributes:
        channel: Of the job.
        inputs: What it is about.
    """

    channel: Stated
    inputs: StatedInputs

    def calibrate(self) -> dict[str, Any]:
        """No recipe: nothing is trained."""
        return {"optimizer": None, "learning_rate": None, "steps": 0, "calibration": None}

    def measure(self, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """The influence of all stimuli."""
        array = self.channel.array(self.inputs)
        on_chunk(array.values[0][left.parts("stimuli").rows :])
        return array

    def measure_rows(self, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Store the parts of some stimuli."""
        parts.append(self.channel.array(self.inputs).values[0][rows][parts.rows :])
