"""The fastest exact engine for a problem."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, TypeVar

from eif_lab.influence.engines.engine import ENGINES, Engine, Prepared, Refused
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.setup import Setup

log = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=Engine)


@dataclass
class Auto(Engine):
    """Prepares the first engine, fastest first, that does not refuse; the log says which and why, once.

    ``factored`` copies least, where it has something not to copy; ``stacked`` takes any optimizer; ``loop`` takes any
    model. Should stimuli turn out to be other together than alone while they are measured, ``loop`` does them again.
    """

    name: ClassVar[str] = "auto"

    def prepare(self, setup: Setup) -> Prepared:
        """The engine that it takes, prepared."""
        refusals: list[str] = []
        candidates = [kind for kind in ENGINES.values() if kind.preference is not None]
        for kind in sorted(candidates, key=lambda kind: (kind.preference or 0, kind.name)):
            engine = self.as_kind(kind)
            reason = engine.gains_nothing(setup)
            if not reason:
                try:
                    prepared = engine.prepare(setup)
                except Refused as error:
                    reason = error.reason
                else:
                    because = "; ".join(refusals) or "the fastest exact engine, and it covers this problem"
                    self.say(f"engine auto: {engine.name} ({because})")
                    return prepared
            refusals.append(f"not {engine.name}: {reason}")
        raise Refused(self.name, "; ".join(refusals))

    def as_kind(self, kind: type[Kind]) -> Kind:
        """An engine of another kind with the options of this one that it has."""
        names = {field.name for field in fields(kind)}
        return kind(**{name: value for name, value in asdict(self).items() if name in names})

    def instead(self, prepared: Prepared, reason: str, of_probes: bool) -> Prepared:
        """``loop``, with the probes in no faster arrangement."""
        loop = self.as_kind(Loop)
        if isinstance(prepared.engine, Loop):
            return loop.instead(prepared, reason, of_probes)
        log.warning("engine auto: loop in place of %s: %s", prepared.engine.name, reason)
        return loop.plainly(prepared.setup, of_probes)
