"""What a measurement would take, and the search for its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from eif_lab.data.sets import members_of, trained_on
from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch, device_of
from eif_lab.influence.engines import exact_engines
from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.measurement import engine_for_search, memberships
from eif_lab.influence.per_sample.layout import LARGEST_CHUNK
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.forecast import (
    Rates,
    amounts,
    both,
    extrapolate_total,
    flops,
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
from eif_lab.jobs.planning.sizes import bytes_of
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.plan import Plan

TRIALS = 5
"""Learning rates that a calibration tries: 3 to 7 in 64 jobs of two models and four methods, 5 in the middle."""


SHAPES_AT_ONCE = 4
"""Stimuli that go at once through a model without numbers, of which each operator takes as long as one with few."""


MOST_BYTES = 2**26
"""Of a model that is planned for with all engines; of a larger one as much as takes seconds is found out."""


def tuned(job: Job, inputs: Inputs) -> Plan:
    """A measurement through the weights, and the search for its learning rate."""
    problem = measured_problem(job, inputs)
    started = time.perf_counter()
    setup = Setup.of(problem)
    prepared = job.engine.prepare(setup)
    choosing = time.perf_counter() - started
    meta, large = problem.members.is_meta, bytes_of(inputs.model) > MOST_BYTES
    known = known_of(prepared, large)
    search = searched(job, inputs, prepared, known, choosing) if job.update.learning_rate is None else Plan()
    every = [prepared] if large else [prepared, *others(prepared, setup)]
    updates, rows, exact = len(problem.members), len(problem.probes), prepared.engine.exact
    compiled = "passes over probes will be compiled, which is not timed here: it takes less"
    return Plan(
        engine=prepared.engine.name,
        memory={one.engine.name: (large and one.planned_bytes()) or peak(one, SHAPES_AT_ONCE) for one in every},
        fine_tunes=search.fine_tunes + (updates if exact else 0),
        probe_passes=search.probe_passes + (amounts(prepared)[1] + rows if exact else rows),
        flops=search.flops + (float(known.operations.of(*amounts(prepared))) if known else flops(prepared)),
        seconds={**search.seconds, "measuring": choosing + measuring(prepared, known)},
        notes=[compiled] if not meta and prepared.setup.passes.kernels is not None else [],
    )


class Known(NamedTuple):
    """What the parts of a measurement take.

    Attributes:
        operations: Floating-point operations.
        seconds: Of a model without numbers None.
    """

    operations: Rates
    seconds: Rates | None


def known_of(prepared: Prepared, large: bool) -> Known | None:
    """What the parts take; None of a prediction, of which whole chunks alone tell anything.

    Args:
        prepared: The engine that is to do it.
        large: Whether the model is so large that its parts are run no more often than they must be.
    """
    if not prepared.engine.exact:
        return None
    if prepared.setup.problem.members.is_meta:
        return Known(Rates.measured(prepared, operations, outline_part, 1 if large else LARGEST_CHUNK), None)
    if large:
        rates = Rates.measured(prepared, both, part)
        times, counted = (
            Rates(*(np.broadcast_to(one, 2)[i] for one in (rates.chunk, rates.stimulus, rates.row))) for i in range(2)
        )
        return Known(counted, times)
    return Known(Rates.measured(prepared, operations, outline_part), Rates.measured(prepared, seconds, part))


def measuring(prepared: Prepared, known: Known | None) -> float:
    """Seconds of the measurement; NaN where they cannot be known."""
    if prepared.setup.problem.members.is_meta:
        return math.nan
    if known is None or known.seconds is None:
        return extrapolate_total(prepared, seconds, part)
    return float(known.seconds.of(*amounts(prepared)))


def measured_problem(job: Job, inputs: Inputs) -> Problem:
    """The measurement, with what each stimulus is read on."""
    members = memberships(len(inputs.stimuli), job.perturbation.membership, inputs.sets)
    problem, read = problem_of(job, inputs, inputs.stimuli, inputs.probes, members), inputs.task.read
    if read is None:
        return problem
    return replace(problem, reads=torch.from_numpy(read if inputs.candidates is None else read[:, inputs.candidates]))


def searched(job: Job, inputs: Inputs, prepared: Prepared, known: Known | None, choosing: float) -> Plan:
    """The search for a learning rate: trials of the same update as the measurement's, each on what it is to raise.

    Args:
        job: The options.
        inputs: What is measured.
        prepared: The measurement's engine.
        known: What its parts take.
        choosing: Seconds until it was ready.
    """
    gauge = inputs.gauge
    stimuli, probes = inputs.rows(trained_on(gauge.stimuli)), inputs.rows(gauge.probes)
    if known is None:  # the rate of a prediction is that of the influence that it predicts
        members = memberships(len(stimuli), "include", members_of(gauge.stimuli))
        problem = problem_of(replace(job, readout=["log_prob"], trajectory=False), inputs, stimuli, probes, members)
        prepared = engine_for_search(job.engine).prepare(Setup.of(problem))
        known = known_of(prepared, large=False)
    assert known is not None
    count, yardstick = len(gauge.stimuli), gauge.yardstick
    pairs = count if yardstick is None else int(yardstick.needed.sum())
    trials = count, pairs, len(probes), prepared.stimuli_at_once, TRIALS
    return Plan(
        fine_tunes=TRIALS * count,
        probe_passes=TRIALS * pairs + len(probes),
        flops=float(known.operations.of_search(*trials)),
        seconds={
            "calibrating": math.nan if known.seconds is None else choosing + float(known.seconds.of_search(*trials))
        },
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
