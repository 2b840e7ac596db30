"""The fastest exact engine for a problem."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from eif_lab.influence.problem import Engine, Problem
from eif_lab.influence.reference import Reference
from eif_lab.influence.stacked import Stacked

log = logging.getLogger(__name__)


@dataclass
class Auto(Engine):
    """Takes the first engine, fastest first, that does not refuse; the log says which and why, once."""

    def choose(self, problem: Problem) -> Engine:
        """The engine that it would run."""
        refusals: list[str] = []
        for engine in (Stacked(self.memory_budget), Reference(self.memory_budget)):
            reason = engine.refuses(problem)
            if not reason:
                because = "; ".join(refusals) or "the fastest exact engine, and it covers this problem"
                said = f"engine auto: {engine.name} ({because})"
                if self.__dict__.setdefault("said", "") != said:
                    log.info(said)
                    self.__dict__["said"] = said
                return engine
            refusals.append(f"{engine.name} cannot: {reason}")
        raise AssertionError("the reference engine refuses nothing")

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """As the chosen engine."""
        return self.choose(problem).run(problem)
