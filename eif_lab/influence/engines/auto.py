"""The fastest exact engine for a problem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from torch import Tensor

from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.influence.problem import Engine, Problem


@dataclass
class Auto(Engine):
    """Takes the first engine, fastest first, that does not refuse; the log says which and why, once.

    ``factored`` copies least, where it has something not to copy; ``stacked`` takes any optimizer; ``loop`` takes any
    model. Should stimuli turn out to be other together than alone while they are measured, ``loop`` does them again.
    """

    def choose(self, problem: Problem) -> Engine:
        """The engine that it would run."""
        refusals: list[str] = []
        for kind in (Factored, Stacked, Loop):
            engine = kind(**asdict(self))
            reason = engine.gains_nothing(problem) or engine.refuses(problem)
            if not reason:
                because = "; ".join(refusals) or "the fastest exact engine, and it covers this problem"
                self.say(f"engine auto: {engine.name} ({because})")
                return engine
            refusals.append(f"not {engine.name}: {reason}")
        raise AssertionError("the loop refuses nothing")

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """As the chosen engine."""
        return self.choose(problem).run(problem)
