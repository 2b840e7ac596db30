"""What a measurement would take, and the search for its learning rate."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import asdict, replace

from eif_lab.errors import ConfigError, rule_error
from eif_lab.influence.batch import Batch
from eif_lab.influence.calibrate import MOST_STIMULI, START
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.measure import measure_influence, memberships, must_be_precise
from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.resources.forecast import flops, in_all, peak, seconds, timings
from eif_lab.influence.resources.precision import LostToRounding
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.planning.sizes import META
from eif_lab.readouts.readout import named_readouts
from eif_lab.results.plan import Plan

TRIALS = 5
"""Learning rates that a calibration tries: 3 to 7 in 64 jobs of two models and four methods, 5 in the middle."""


SHAPES_AT_ONCE = 4
"""Stimuli that go at once through a model without numbers, of which each operator takes as long as one with few."""


def tuned(job: Job, inputs: Inputs) -> Plan:
    """A measurement through the weights, and the search for its learning rate."""
    problem = problem_of(job, inputs, inputs.stimuli, inputs.probes)
    started = time.perf_counter()
    engine = taken_engine(job.engine, problem)
    choosing = time.perf_counter() - started
    outlined = problem.members.is_meta
    found = {} if outlined else timings(engine, problem)
    most = int(max((stimuli for stimuli, _ in found), default=SHAPES_AT_ONCE))
    search = searched(job, inputs) if job.update.learning_rate is None else Plan()
    measuring = math.nan if outlined else choosing + in_all(engine, problem, found)
    updates, rows = len(problem.members), len(problem.probes)
    reads = problem.update.steps if problem.trajectory else 1
    compiled = "passes over probes will be compiled, which is not timed here: it takes less"
    return Plan(
        engine=engine.name,
        memory={one.name: peak(one, problem, most) for one in engines(job.engine, engine, problem)},
        fine_tunes=search.fine_tunes + (updates if engine.exact else 0),
        probe_passes=search.probe_passes + (updates * reads + 1 if engine.exact else 1) * rows,
        flops=search.flops + flops(engine, problem),
        seconds={**search.seconds, "measuring": measuring},
        notes=[compiled] if not outlined and engine.compiles(problem) else [],
    )


def searched(job: Job, inputs: Inputs) -> Plan:
    """The search for a learning rate, from one trial."""
    batch = inputs.rows(inputs.clean).take(slice(MOST_STIMULI))
    problem = problem_of(replace(job, readout=["log_prob"], trajectory=False), inputs, batch, batch, "include")
    engine = job.engine if job.engine.exact else Auto(job.engine.memory_budget)
    count = len(batch.targets)

    def trial() -> None:
        with suppress(LostToRounding):
            measure_influence(
                inputs.model, inputs.base.loss, batch, batch, method=None, update=problem.update, engine=engine
            )

    each = math.nan if problem.members.is_meta else seconds(trial)
    return Plan(
        fine_tunes=TRIALS * count,
        probe_passes=TRIALS * count * (count + 1),
        flops=TRIALS * flops(taken_engine(engine, problem), problem),
        seconds={"calibrating": TRIALS * each},
    )


def problem_of(job: Job, inputs: Inputs, stimuli: Batch, probes: Batch, membership: str | None = None) -> Problem:
    """The measurement; candidates are rows like any other here, which takes as long."""
    device = next(inputs.model.parameters()).device
    rate = job.update.learning_rate
    problem = Problem(
        model=inputs.model,
        loss=inputs.base.loss,
        samples=stimuli.to(device),
        members=memberships(len(stimuli.targets), membership or job.perturbation.membership).to(device),
        probes=probes.to(device),
        readouts=named_readouts(job.readout),
        update=replace(job.update, learning_rate=START[job.update.optimizer] if rate is None else rate),
        trajectory=job.trajectory,
        memory_budget=job.engine.memory_budget,
    )
    if device.type == META:
        vars(problem)["shares_prefixes"] = False  # what texts share, shapes do not tell: it takes less
    return problem


def taken_engine(engine: Engine, problem: Problem) -> Engine:
    """The engine that would run.

    Raises:
        ConfigError: It cannot do the problem.
    """
    chosen = engine.choose(problem) if isinstance(engine, Auto) else engine
    if chosen.stores_weights:
        must_be_precise(problem)
    if reason := chosen.refuses(problem):
        raise rule_error("engine", f"be one that can do this ({reason})", engine.name, "Try auto.")
    return chosen


def engines(asked: Engine, taken: Engine, problem: Problem) -> list[Engine]:
    """The one that would run, and the other exact ones that could."""
    options = {name: value for name, value in asdict(asked).items() if name in Engine.__dataclass_fields__}
    possible: list[Engine] = [taken]
    for kind in (Factored, Stacked, Loop, Reference):
        other = kind(**options)
        with suppress(ConfigError):
            possible += [other] if other.name != taken.name and taken_engine(other, problem) else []
    return possible
