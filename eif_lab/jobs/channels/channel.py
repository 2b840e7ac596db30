"""The protocol of channels: the way by which a stimulus enters the model, and all of a job that depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, runtime_checkable

import xarray as xr

from eif_lab.influence.measurement import OnChunk
from eif_lab.jobs.inputs import JobData, load
from eif_lab.jobs.job import Job
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan


class ChannelMeasurement(Protocol):
    """The measurement of one job's inputs."""

    def calibrate(self) -> dict[str, Any]:
        """The recipe, in what JSON holds, and how its rate was found: ``calibration``, None where it was given."""
        ...

    def measure(self, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """The influence of all stimuli: dims (seed, stimulus, step, probe, readout), of one seed.

        Args:
            update: The recipe that `calibrate` gave.
            left: The parts that are measured already.
            on_chunk: Called with each finished part, (stimuli, steps, probes, readouts).
        """
        ...

    def measure_rows(self, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Measure some stimuli, and keep their parts; those that are kept already are not measured again."""
        ...


@runtime_checkable
class Channel(Protocol):
    """The channel of one job.

    Attributes:
        job: The options.
        needs_model: Whether there is a model to prepare, to read and to plan for.
    """

    job: Job
    needs_model: ClassVar[bool] = True

    def must_fit(self) -> None:
        """Refuse options that have no meaning in this channel.

        Raises:
            NotApplicable: Says which.
        """

    def determinants(self) -> dict[str, Any]:
        """Replacements in the array's key for groups whose options do not decide the array; empty where all do."""
        return {}

    def load(self) -> JobData:
        """Data, base model, perturbation and method.

        Raises:
            ConfigError: One of them cannot be had, or they do not go together.
        """
        return load(self.job)

    def steps(self, inputs: Any) -> list[int]:
        """The steps after which probes are read.

        Args:
            inputs: What `load` gave.
        """
        ...

    def check(self, inputs: Any) -> None:
        """Refuse data that cannot be measured, before anything is.

        Args:
            inputs: What `load` gave.

        Raises:
            ConfigError: Says what does not fit.
        """

    def open_measurement(self, inputs: Any) -> AbstractContextManager[ChannelMeasurement]:
        """The measurement of a job, prepared once for calibrating and for measuring all or some stimuli.

        Within the context the model is in eval mode; afterwards it is as it was.
        """
        ...

    def plan(self, inputs: Any) -> Plan:
        """Time and memory that the measurement would take, the search for a learning rate included."""
        ...

    def counterparts(self) -> list[Job]:
        """The jobs of a prediction's exact arrays, or of an exact array's prediction; none by default."""
        return []
