"""The base class of engines: how influence is computed, prepared once for a problem and run at any learning rate."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from eif_lab.errors import ConfigError, rule_error
from eif_lab.influence.problem import Problem
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.precision import (
    largest_moves,
    must_be_precise,
    must_be_resolved,
    must_hold_update,
)
from eif_lab.influence.setup import Setup
from eif_lab.influence.update import Update
from eif_lab.options import Options, option
from eif_lab.readouts.classes import at_least_float32

log = logging.getLogger(__name__)

ENGINES: dict[str, type[Engine]] = {}
"""Every engine by its name: a class that has one enters itself."""


EVERY = slice(None)
"""All stimuli."""


class Refused(ConfigError):
    """An engine cannot do a problem.

    Attributes:
        reason: Why.
    """

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(str(rule_error("engine", f"be one that can do this ({reason})", engine, "Try auto.")))
        self.reason = reason


class Prepared(ABC):
    """An engine that is ready for a problem.

    Attributes:
        engine: The engine, never ``auto``.
        setup: What is measured, and how it goes through the model.
        stimuli_at_once: How many stimuli it takes at once.
        checked_of: Of how many stimuli one is read again, where it takes one at once.
        note: What a user should know of how it does this problem; empty where there is nothing.
        rechecks: Whether one stimulus of each chunk is done, or read, again alone.
    """

    stimuli_at_once: int = 1
    checked_of: int = 1
    note: str = ""
    rechecks: bool = True

    def __init__(self, engine: Engine, setup: Setup) -> None:
        self.engine, self.setup = engine, setup

    @abstractmethod
    def influence(self, update: Update, known: Sequence[Tensor] = (), rows: slice = EVERY) -> Iterator[Tensor]:
        """Influence, chunk by chunk in the order of ``problem.members``, in at least float32.

        Args:
            update: The recipe that the problem has, at any learning rate.
            known: Chunks of the first of these stimuli that were measured before, which are not measured again.
            rows: Which stimuli.

        Yields:
            (stimuli in this chunk, steps read, probes, readouts).

        Raises:
            LostToRounding: The learning rate is so small that the result would be rounding noise.
            Disagreement: Stimuli turn out to be otherwise together than alone.
        """

    def before(self) -> Tensor:
        """Readings of the probes before any update: (probes, readouts)."""
        return self.setup.passes.probe_readings(self.setup.passes.base_rows)

    def read_base(self, passes: Passes) -> Tensor:
        """The base's readings, (rows, columns), taken as those after an update are."""
        return passes.read_rows({})

    def planned_bytes(self) -> int:
        """About the most that it will hold at once, without running the whole of it; 0 where that is not known."""
        return 0


class PreparedUpdate(Prepared):
    """An engine that runs the update and reads the probes before and after it: influence is the difference."""

    @abstractmethod
    def readings(self, problem: Problem) -> Iterator[Tensor]:
        """Readings of the probes after the update, chunk by chunk: (stimuli, steps read, probes, readouts)."""

    def influence(self, update: Update, known: Sequence[Tensor] = (), rows: slice = EVERY) -> Iterator[Tensor]:
        """Readings after the update less those before, or those after an update on everything less them."""
        problem = replace(self.setup.problem.of_stimuli(rows), update=update)
        if self.engine.stores_weights:
            must_hold_update(problem, self.setup.layouts.gradients)
        self.setup.layouts.gradients.known.clear()
        if problem.everything is None:
            before, sign = at_least_float32(self.before()), 1
        else:
            [after_all] = self.readings(replace(problem, members=problem.everything[None], reads=None))
            before, sign = at_least_float32(after_all[0]), -1
        signs = sign * towards_target(problem, before)
        moves = [largest_moves(chunk) for chunk in known]
        for after in self.readings(rest_of(problem, known)):
            chunk = (at_least_float32(after) - before) * signs
            if update.learning_rate:
                moves.append(largest_moves(chunk).cpu())
            yield chunk
        if update.learning_rate:
            must_be_resolved(problem, self.setup.passes, before, torch.stack(moves).amax(0))


class ReadPlainly(PreparedUpdate):
    """An engine that reads the probes of a whole model, rows as they are, before the update and after it."""

    def before(self) -> Tensor:
        """The plain reading of the base."""
        return self.base_readings

    @cached_property
    def base_readings(self) -> Tensor:
        """Read once for all learning rates: (probes, readouts)."""
        passes = self.setup.passes
        try:
            return passes.probe_readings(self.read_base(passes))
        finally:
            passes.base.restore()

    def read_base(self, passes: Passes) -> Tensor:
        """Rows as they are."""
        return passes.read_plainly(passes.base.model)


def rest_of(problem: Problem, known: Sequence[Tensor]) -> Problem:
    """The problem without its first stimuli, of which the influence is known."""
    return problem.of_stimuli(slice(sum(map(len, known)), None))


def towards_target(problem: Problem, like: Tensor) -> Tensor:
    """The sign of each readout: 1, or -1 where a likelier target has a lower reading: (readouts,)."""
    return like.new_tensor([readout.sign for readout in problem.readouts.values()])


@dataclass
class Engine(Options):
    """How influence is computed.

    Attributes:
        memory_budget: GiB that it may take beside the model and the data.
        compile: Whether passes over probes go through ``torch.compile``; ``auto`` where a job is long enough to pay.
        name: What it is called in configs and results.
        exact: Whether the update is run; otherwise its influence is a prediction.
        stores_weights: Whether it writes the updated weights down, in which a small update can vanish.
        optimizers: Those whose steps it follows; none named: all.
        preference: Its place among those that ``auto`` tries, fastest first; None where ``auto`` never takes it.
    """

    group: ClassVar[str] = "engine"
    incidental: ClassVar[tuple[str, ...]] = ("memory_budget", "compile")
    name: ClassVar[str]
    exact: ClassVar[bool] = True
    stores_weights: ClassVar[bool] = True
    optimizers: ClassVar[tuple[str, ...]] = ()
    preference: ClassVar[int | None] = None

    memory_budget: float = option(2.0, above=0, hint="Try 2 (GiB).")
    compile: str = option("auto", one_of=["auto", "always", "never"])

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            ENGINES[cls.name] = cls

    def prepare(self, setup: Setup) -> Prepared:
        """Make ready for a problem; what is found out holds at any learning rate.

        Raises:
            Refused: It cannot do this problem.
            ConfigError: No engine that stores updated weights can.
        """
        if self.stores_weights:
            must_be_precise(setup.problem)
        return self.prepared(setup)

    def prepared(self, setup: Setup) -> Prepared:
        """Make ready for a problem whose parameters are precise enough for an update to show; see `prepare`."""
        raise NotImplementedError

    def gains_nothing(self, setup: Setup) -> str:
        """Why another engine would do this problem at least as well; empty where that is not known."""
        return ""

    def instead(self, prepared: Prepared, reason: str, of_probes: bool) -> Prepared:
        """A prepared engine that measures the problem anew where stimuli together differ from stimuli alone.

        Args:
            prepared: What found it out.
            reason: What it found.
            of_probes: Whether it is the probes that are read otherwise.

        Raises:
            ConfigError: Nothing does, where this engine was asked for.
        """
        raise rule_error("engine", f"be one that can do this ({reason})", self.name, "Try auto or loop.")

    def outline(self) -> Engine:
        """An engine of the same operators that also goes through shapes without numbers."""
        return self

    def unseen_bytes(self, problem: Problem) -> int:
        """Memory that it takes beyond what operators allocate."""
        return 0

    def say(self, line: str) -> None:
        """Log a line, once."""
        lines = self.__dict__.setdefault("lines", set())
        if line not in lines:
            log.info(line)
            lines.add(line)
