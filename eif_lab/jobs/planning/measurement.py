"""What a measurement would take, and the search for its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from eif_lab.data.sets import members_of, trained_on
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch, device_of
from eif_lab.influence.engines import exact_engines
from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.measurement import engine_for_search, memberships
from eif_lab.influence.problem import GIB, Problem, rows_read
from eif_lab.influence.resources.forecast import (
    Rates,
    amounts,
    measured_rates,
    of_whole_prediction,
    operations,
    outline_part,
    part,
    peak,
    seconds,
)
from eif_lab.influence.setup import Setup
from eif_lab.influence.snapshot import Snapshot
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import is_large
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.plan import Plan

TRIALS, TRIALS_OF_MANY = 3, 4
"""Learning rates that a calibration tries, of one step and of several, whose strength is a less smooth curve: 2 to 4 in
four jobs of phi3-tiny and the CNN; of several 3 in a job of SmolLM2 with Adam, and on ten curves of SmolLM2 4 to 8
before the search left a third of them out."""


SHAPES_AT_ONCE = 4
"""Stimuli that go at once through a model without numbers, of which each operator takes as long as one with few."""


def tuned(job: Job, inputs: Inputs) -> Plan:
    """A measurement through the weights, and the search for its learning rate, for which the model is prepared."""
    problem = measured_problem(job, inputs)
    started = time.perf_counter()
    setup = Setup.of(problem)
    prepared = job.engine.prepare(setup)
    choosing = time.perf_counter() - started
    meta, large = problem.members.is_meta, is_large(inputs.model)
    measuring = taken(prepared, large)
    search = searched(job, inputs, prepared, measuring) if job.update.learning_rate is None else Plan()
    times = {**search.seconds, "measuring": measuring.seconds}
    times[next(iter(times))] += choosing
    every = [prepared] if large else [prepared, *others(prepared, setup)]
    updates, rows, exact = len(problem.members), len(problem.probes), prepared.engine.exact
    compiled = "passes over probes will be compiled, which is not timed here: it takes less"
    return Plan(
        engine=prepared.engine.name,
        memory={one.engine.name: (large and one.planned_bytes()) or peak(one, SHAPES_AT_ONCE) for one in every},
        fine_tunes=search.fine_tunes + (updates if exact else 0),
        probe_passes=search.probe_passes + (amounts(prepared)[1] + rows if exact else rows),
        flops=search.flops + measuring.flops,
        seconds=times,
        notes=[compiled] if not meta and prepared.setup.passes.kernels is not None else [],
    )


@dataclass(frozen=True)
class Taken:
    """What a measurement takes.

    Attributes:
        flops: Floating-point operations.
        seconds: NaN where the model has no numbers.
        rates: Of its parts, the operations and the seconds; None of a prediction, of which whole chunks alone tell
            anything.
    """

    flops: float
    seconds: float
    rates: tuple[Rates, Rates | None] | None


def taken(prepared: Prepared, large: bool) -> Taken:
    """What a measurement takes.

    Args:
        prepared: The engine that is to do it.
        large: As `measured_rates` takes it.
    """
    unknown = prepared.setup.problem.members.is_meta
    if not prepared.engine.exact:
        times = math.nan if unknown else of_whole_prediction(prepared, seconds, part)
        return Taken(of_whole_prediction(prepared, operations, outline_part), times, None)
    counted, timed = rates = measured_rates(prepared, large)
    size = amounts(prepared)
    return Taken(counted.of(*size), math.nan if timed is None else timed.of(*size), rates)


def measured_problem(job: Job, inputs: Inputs) -> Problem:
    """The measurement, with what each stimulus is read on."""
    members = memberships(len(inputs.stimuli), job.perturbation.membership, inputs.sets)
    problem, read = problem_of(job, inputs, inputs.stimuli, inputs.probes, members), inputs.task.read
    if read is None:
        return problem
    return replace(problem, reads=torch.from_numpy(read if inputs.candidates is None else read[:, inputs.candidates]))


def searched(job: Job, inputs: Inputs, prepared: Prepared, measuring: Taken) -> Plan:
    """The search for a learning rate: trials of the same update as the measurement's, each on what it is to raise.

    Args:
        job: The options.
        inputs: What is measured.
        prepared: The measurement's engine.
        measuring: What that takes.
    """
    gauge, rates = inputs.gauge, measuring.rates
    stimuli, probes = inputs.rows(trained_on(gauge.stimuli)), inputs.rows(gauge.probes)
    if rates is None:  # the rate of a prediction is that of the influence that it predicts
        members = memberships(len(stimuli), "include", members_of(gauge.stimuli))
        problem = problem_of(replace(job, readout=["log_prob"], trajectory=False), inputs, stimuli, probes, members)
        prepared = engine_for_search(job.engine).prepare(Setup.of(problem))
        rates = measured_rates(prepared, large=is_large(inputs.model))
    counted, timed = rates
    count, yardstick = len(gauge.stimuli), gauge.yardstick
    pairs = count if yardstick is None else rows_read(torch.from_numpy(yardstick.needed))
    tried = TRIALS if prepared.setup.problem.steps == 1 else TRIALS_OF_MANY
    trials = count, pairs, len(probes), prepared.stimuli_at_once, tried
    return Plan(
        fine_tunes=tried * count,
        probe_passes=tried * pairs + len(probes),
        flops=counted.of_search(*trials),
        seconds={"calibrating": math.nan if timed is None else timed.of_search(*trials)},
    )


def problem_of(job: Job, inputs: Inputs, stimuli: Batch, probes: Batch, members: torch.Tensor) -> Problem:
    """The measurement; candidates are rows like any other here, which takes as long."""
    device = device_of(inputs.model)
    rate, budget = job.update.learning_rate, job.engine.memory_budget
    return Problem(
        base=Snapshot(inputs.model, room=budget * GIB / 2),
        loss=inputs.base.loss,
        samples=stimuli.to(device),
        members=members.to(device),
        probes=probes.to(device),
        readouts=named_readouts(job.readout),
        update=replace(job.update, learning_rate=job.update.stepping.first_rate if rate is None else rate),
        trajectory=job.trajectory,
        memory_budget=budget,
    )


def others(prepared: Prepared, setup: Setup) -> Iterator[Prepared]:
    """The other exact engines that could do it."""
    for kind in exact_engines():
        if kind.name not in (prepared.engine.name, "auto"):
            with suppress(ConfigError):
                yield kind(memory_budget=prepared.engine.memory_budget).prepare(setup)
