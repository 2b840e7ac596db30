"""Influence through the context: a job whose stimuli are read before the probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr

from eif_lab.data.sets import Sets
from eif_lab.data.task import Samples, Texts
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.influence.batch import Batch
from eif_lab.influence.context import ContextReader
from eif_lab.influence.learning_rate import close_to_target
from eif_lab.influence.measurement import OnChunk
from eif_lab.influence.problem import GIB
from eif_lab.influence.resources.forecast import operations, seconds
from eif_lab.influence.resources.memory import peak_bytes
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.yardstick import Yardstick
from eif_lab.jobs.channels.channel import Channel, ChannelMeasurement
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import META
from eif_lab.library.measure import read_after_context, read_in_context
from eif_lab.library.strength import Gauge
from eif_lab.methods.method import ContextMethod
from eif_lab.models.language.encoding import spell_out
from eif_lab.readouts.classes import IGNORED
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.checkpoint import Checkpoint, Parts
from eif_lab.results.plan import Plan

ROWS_TIMED = 32
"""Of the probes, that a plan reads behind a stimulus."""


@dataclass
class Context(Channel):
    """Stimuli are read before the probes, and no weight moves."""

    job: Job

    @property
    def method(self) -> ContextMethod:
        """The method, which makes the rows.

        Raises:
            ConfigError: It names this channel and does not say how stimuli are read.
        """
        if not isinstance(self.job.method, ContextMethod):
            rule = "name a ContextMethod (eif_lab.methods.method.ContextMethod) where stimuli are read in the context"
            raise rule_error("method._target_", rule, type(self.job.method).__qualname__)
        return self.job.method

    def must_fit(self) -> None:
        """Leave-one-out, sets, predictions and trajectories have a meaning only where weights move."""
        job = self.job
        together = job.perturbation.membership != "include" or job.perturbation.of_sets
        for field, rule, received, unfit in (
            ("perturbation", "take each stimulus alone", job.perturbation.name, together),
            ("engine", "be an exact one", job.engine.name, not job.engine.exact),
            ("trajectory", "be false", job.trajectory, job.trajectory),
        ):
            if unfit:
                message = f"{field} must {rule} with method={job.method.name}, got {received!r}"
                raise NotApplicable(f"{message}. Leave it out.")

    def determinants(self) -> dict[str, Any]:
        """The target that strength is compared with, and on how many stimuli; update and engine have no other say."""
        update = self.job.update
        options = {} if update.strength is None else {"calibration_stimuli": update.calibration_stimuli}
        return {"update": {"strength": update.strength, **options}, "engine": {}}

    def steps(self, inputs: Inputs) -> list[int]:
        """The number of steps that the update would have; none is taken."""
        return [self.job.update.steps]

    def check(self, inputs: Inputs) -> None:
        """Read every stimulus before the longest probe.

        Raises:
            ConfigError: The template, the number of stimuli or the length does not fit.
        """
        probes = probe_texts(inputs)
        scored = inputs.probes.targets != IGNORED
        longest = (scored * torch.arange(1, scored.shape[1] + 1)).amax(1).argmax()
        for context, _ in self.method.contexts(texts(inputs.task.stimuli), self.job.seed):
            self.method.rows(inputs.base.encode, probes.take([int(longest)]), context)

    @contextmanager
    def open_measurement(self, inputs: Inputs) -> Iterator[ContextMeasurement]:
        """Open a measurement without preparation: each length of rows is checked when it is first read."""
        yield ContextMeasurement(self.job, self.method, inputs)

    def plan(self, inputs: Inputs) -> Plan:
        """From reading one stimulus before the probes."""
        contexts, every = self.method.contexts(texts(inputs.task.stimuli), self.job.seed), probe_texts(inputs)
        few = every.take(np.arange(min(len(every), ROWS_TIMED)))
        rows = partial(self.method.rows, inputs.base.encode, few, contexts[0][0])
        budget = self.job.engine.memory_budget
        base = Snapshot(inputs.model, room=budget * GIB / 2)
        reader = ContextReader(base, named_readouts(self.job.readout), None, budget)
        batch, device = Batch(*rows()), next(inputs.model.parameters()).device
        read: Callable[[], Any] = partial(reader.passes_over(batch).read_rows, {})
        passes, read_on = sum(bool(text) for pair in contexts for text in pair), inputs.task.read
        share = 1.0 if read_on is None else float(read_on.mean())
        reads = {"measuring": round((1 + passes * share) * len(every))}
        if self.job.update.strength is not None:
            asked = int((yardstick_of(inputs.gauge).weights != 0).sum())
            reads = {"calibrating": len(inputs.gauge.probes) + round(passes / len(contexts) * asked), **reads}
        each = math.nan if device.type == META else seconds(lambda: reader.read(Batch(*rows()))) / len(few)
        return Plan(
            engine="context",
            memory={"context": peak_bytes(read, device)},
            probe_passes=sum(reads.values()),
            flops=sum(reads.values()) / len(few) * operations(read),
            seconds={part: count * each for part, count in reads.items()},
        )


@dataclass
class ContextMeasurement(ChannelMeasurement):
    """The measurement of the influence of reading each stimulus on each probe.

    Attributes:
        job: The options.
        method: The method, which makes the rows.
        inputs: What is measured.
    """

    job: Job
    method: ContextMethod
    inputs: Inputs

    def calibrate(self) -> dict[str, Any]:
        """No recipe; where there is a target, ``calibration`` says how strongly stimuli teach that are read."""
        target = self.job.update.strength
        record: dict[str, Any] = {"optimizer": None, "learning_rate": None, "steps": 0, "calibration": None}
        if target is None:
            return record
        gauge = self.inputs.gauge
        yardstick = yardstick_of(gauge)
        strength = yardstick.taught(self.influence_on(gauge, yardstick)).strength
        found = {"strength": strength, "target": target, "reached": close_to_target(strength, target)}
        return {**record, "calibration": {**found, "stimuli": len(gauge.rows), "yardstick": yardstick.name}}

    def influence_on(self, gauge: Gauge, yardstick: Yardstick) -> np.ndarray:
        """The influence of reading each stimulus on the probes that count for it, (stimuli, probes); NaN elsewhere."""
        every = self.method.contexts(texts(self.inputs.clean.stimuli), self.job.seed)
        return read_in_context(
            [every[row] for row in gauge.rows],
            texts(gauge.probes),
            self.inputs.model,
            self.method,
            self.inputs.base.encode,
            memory_budget=self.job.engine.memory_budget,
            read=yardstick.weights != 0,
        ).values

    def measure(self, update: Mapping[str, Any], left: Checkpoint, on_chunk: OnChunk) -> xr.DataArray:
        """The influence of reading each stimulus on each probe; with companions, less their own influence."""
        contexts, companions = zip(*self.method.contexts(texts(self.inputs.task.stimuli), self.job.seed))
        array = self._read(contexts, left.parts("stimuli"), on_chunk)
        if any(companions):
            alone = left.parts("companions")
            array = array.copy(data=array.values - self._read(companions, alone, alone.append).values)
        return array.expand_dims(seed=[self.job.seed]).expand_dims(step=[update["steps"]], axis=2)

    def measure_rows(self, update: Mapping[str, Any], parts: Parts, rows: slice) -> None:
        """Read some stimuli before the probes; their companions are read by who measures the whole array."""
        contexts = [context for context, _ in self.method.contexts(texts(self.inputs.task.stimuli), self.job.seed)]
        self._read(contexts, parts, parts.append, rows)

    def _read(
        self, contexts: Sequence[str], known: Parts, on_chunk: OnChunk, rows: slice = slice(None)
    ) -> xr.DataArray:
        """What some of the contexts do to each probe behind them, (contexts, probes, readouts)."""
        read = self.inputs.task.read
        return read_after_context(
            contexts[rows],
            probe_texts(self.inputs),
            self.inputs.model,
            self.method,
            self.inputs.base.encode,
            readout=self.job.readout,
            candidates=self.inputs.candidates,
            memory_budget=self.job.engine.memory_budget,
            on_chunk=on_chunk,
            measured=known.whole,
            read=None if read is None else read[rows],
        )


def texts(samples: Samples | Sets) -> Texts:
    """The samples of a job whose method is for texts alone."""
    assert isinstance(samples, Texts)
    return samples


def yardstick_of(gauge: Gauge) -> Yardstick:
    """What strength is measured by; each stimulus by itself where there is nothing else."""
    return gauge.yardstick or Yardstick.of_itself(len(gauge.rows))


def probe_texts(inputs: Inputs) -> Texts:
    """The probes as texts, row by row: each candidate of a probe is one where a readout compares them."""
    probes = texts(inputs.task.probes)
    return probes if inputs.candidates is None else spell_out(probes)[0]
