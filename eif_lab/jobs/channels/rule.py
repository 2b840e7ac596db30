"""Influence by a rule: a job whose stimuli no model learns or reads."""

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
from eif_lab.learners.imitation import imitate
from eif_lab.learners.learner import Learner
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan


@dataclass(frozen=True)
class RuleInputs:
    """Inputs of a rule.

    Attributes:
        task: Perturbed.
        distances: The task's.
        record: What the manifest says of the model.
    """

    task: Task
    distances: Mapping[str, np.ndarray]
    record: dict[str, Any]


@dataclass
class Rule(Channel):
    """A reference learner stands in for the model; method, update and engine have no say."""

    job: Job
    learner: Learner
    needs_model: ClassVar[bool] = False

    def must_fit(self) -> None:
        """A rule has no steps to read after."""
        if self.job.trajectory:
            raise NotApplicable("trajectory must be false with model=learner, got True. Leave it out.")

    def determinants(self) -> dict[str, Any]:
        """The rule decides the array, with the data, the seed and the readouts."""
        return {"method": {}, "update": {}, "engine": {}}

    def steps(self, inputs: RuleInputs) -> list[int]:
        """The number of steps that the update would have; none is taken."""
        return [self.job.update.steps]

    def load(self) -> RuleInputs:
        """The data, perturbed.

        Raises:
            ConfigError: It cannot be had, or does not go with the perturbation.
        """
        plain = self.job.dataset.load(self.job.data_seed)
        task = self.job.perturbation.apply(plain, self.job.data_seed)
        record = {
            "base_model": {"name": self.learner.name, "hash": ""},
            "trained_parameters": {"count": 0, "total": 0, "tensors": 0, "names": []},
        }
        return RuleInputs(task, task.distances, record)

    def check(self, inputs: RuleInputs) -> None:
        """Try the rule.

        Raises:
            NotApplicable: The data lacks what the rule goes by.
        """
        self.array(inputs)

    @contextmanager
    def open_measurement(self, inputs: RuleInputs) -> Iterator[RuleMeasurement]:
        """Open a measurement without preparation."""
        yield RuleMeasurement(self, inputs)

    def plan(self, inputs: RuleInputs) -> Plan:
        """An empty plan: a rule takes no time."""
        return Plan(engine="rule", notes=["a rule and no model: it takes no time"])

    def array(self, inputs: RuleInputs) -> xr.DataArray:
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
        made = imitate(annotate(blank, inputs.task), self.learner.rule, self.learner.noise, self.job.seed)
        return made.drop_vars(set(made.coords) - set(coords))


@dataclass
class RuleMeasurement(ChannelMeasurement):
    """The influence of each stimulus on each probe by a rule.

    Attributes:
        channel: Of the job.
        inputs: What the rule goes by.
    """

    channel: Rule
    inputs: RuleInputs

    def calibrate(self) -> dict[str, Any]:
        """No recipe: a rule teaches one nat."""
        return {"optimizer": None, "learning_rate": None, "steps": 0, "calibration": None}

    def measure(self, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """The influence of all stimuli."""
        array = self.channel.array(self.inputs)
        on_chunk(array.values[0][left.parts("stimuli").rows :])
        return array

    def measure_rows(self, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Measure some stimuli by the rule, and store their parts."""
        parts.append(self.channel.array(self.inputs).values[0][rows][parts.rows :])
