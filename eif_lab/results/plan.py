"""The plan of a job: the time and memory it would take, before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

TRAINING = "base training"
"""The part of a plan that a base model's training takes."""


@dataclass(frozen=True)
class Plan:
    """Time, memory and disk of one job, or a part of it.

    Attributes:
        job: Its name; empty of a part.
        reason: Why it cannot be run; then nothing else is known. Empty where it can.
        applies: False where the options do not go together.
        engine: The one that would be taken.
        memory: The most bytes held at once, by engine; of the whole process on a CPU, of the device elsewhere. Of a
            part, what it takes beside what is held anyway.
        fine_tunes: Updates of the model, those that look for a learning rate among them.
        probe_passes: How often a probe goes through the model.
        flops: Floating-point operations.
        disk: Bytes that it leaves.
        seconds: By what is done; NaN where it is not known.
        lacks: What it needs and is not there, in words; empty where it fits.
        notes: What a reader must know besides.
    """

    job: str = ""
    reason: str = ""
    applies: bool = True
    engine: str = ""
    memory: Mapping[str, float] = field(default_factory=dict)
    fine_tunes: int = 0
    probe_passes: int = 0
    flops: float = 0.0
    disk: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    lacks: str = ""
    notes: Sequence[str] = ()

    @property
    def total_seconds(self) -> float:
        """Seconds of the whole job."""
        return sum(self.seconds.values())

    @property
    def peak(self) -> float:
        """The most bytes held at once, by the engine that would be taken or before it."""
        return max((size for name, size in self.memory.items() if name in (self.engine, TRAINING)), default=0.0)

    def __add__(self, other: Plan) -> Plan:
        """The plan of this part of a job and another one together."""
        return replace(
            self,
            engine=self.engine or other.engine,
            memory={**self.memory, **other.memory},
            fine_tunes=self.fine_tunes + other.fine_tunes,
            probe_passes=self.probe_passes + other.probe_passes,
            flops=self.flops + other.flops,
            disk=self.disk + other.disk,
            seconds={**self.seconds, **other.seconds},
            notes=[*self.notes, *other.notes],
        )
