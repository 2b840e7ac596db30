"""What a measurement would take, and the search for its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from eif_lab.errors import ConfigError
from eif_lab.influence.batch import Batch, device_of
from eif_lab.influence.engines import exact_engines
from eif_lab.influence.engines.engine import Prepared
from eif_lab.influence.measurement import Measurement, engine_for_search, memberships
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.forecast import extrapolate_total, flops, peak, seconds, timings
from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.influence.setup import Setup
from eif_lab.influence.snapshot import Snapshot
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.plan import Plan

TRIALS = 5
"""Learning rates that a calibration tries: 3 to 7 in 64 jobs of two models and four methods, 5 in the middle."""


SHAPES_AT_ONCE = 4
"""Stimuli that go at once through a model without numbers, of which each operator takes as long as one with few."""


def tuned(job: Job, inputs: Inputs) -> Plan:
    """A measurement through the weights, and the search for its learning rate."""
    problem = problem_of(job, inputs, inputs.stimuli, inputs.probes)
    setup = Setup.of(problem)
    started = time.perf_counter()
    prepared = job.engine.prepare(setup)
    choosing = time.perf_counter() - started
    outlined = problem.members.is_meta
    times = {} if outlined else timings(prepared)
    most = int(max((stimuli for stimuli, _ in times), default=SHAPES_AT_ONCE))
    search = searched(job, inputs) if job.update.learning_rate is None else Plan()
    measuring = math.nan if outlined else choosing + extrapolate_total(prepared, times)
    updates, rows, exact = len(problem.members), len(problem.probes), prepared.engine.exact
    reads = problem.update.steps if problem.trajectory else 1
    compiled = "passes over probes will be compiled, which is not timed here: it takes less"
    return Plan(
        engine=prepared.engine.name,
        memory={one.engine.name: peak(one, most) for one in [prepared, *others(prepared, setup)]},
        fine_tunes=search.fine_tunes + (updates if exact else 0),
        probe_passes=search.probe_passes + (updates * reads + 1 if exact else 1) * rows,
        flops=search.flops + flops(prepared),
        seconds={**search.seconds, "measuring": measuring},
        notes=[compiled] if not outlined and prepared.setup.passes.kernels is not None else [],
    )


def searched(job: Job, inputs: Inputs) -> Plan:
    """The search for a learning rate, from one trial."""
    stimuli, probes = inputs.rows(inputs.gauge.stimuli), inputs.rows(inputs.gauge.probes)
    problem = problem_of(replace(job, readout=["log_prob"], trajectory=False), inputs, stimuli, probes, "include")
    measurement = Measurement(problem, engine_for_search(job.engine))
    count, meta = len(stimuli), problem.members.is_meta

    def trial() -> None:
        with suppress(LostToRounding):
            measurement.influence(problem.update)

    preparing = 0.0 if meta else once(lambda: measurement.prepared)
    prepared = measurement.engine.prepare(Setup.of(problem)) if meta else measurement.prepared
    each = math.nan if meta else seconds(trial)
    return Plan(
        fine_tunes=TRIALS * count,
        probe_passes=TRIALS * (count + 1) * len(probes),
        flops=TRIALS * flops(prepared),
        seconds={"calibrating": preparing + TRIALS * each},
    )


def once(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def problem_of(job: Job, inputs: Inputs, stimuli: Batch, probes: Batch, membership: str | None = None) -> Problem:
    """The measurement; candidates are rows like any other here, which takes as long."""
    device = device_of(inputs.model)
    rate, budget = job.update.learning_rate, job.engine.memory_budget
    return Problem(
        base=Snapshot(inputs.model, room=budget * GIB / 2),
        loss=inputs.base.loss,
        samples=stimuli.to(device),
        members=memberships(len(stimuli.targets), membership or job.perturbation.membership).to(device),
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
