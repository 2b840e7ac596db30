"""What a part of a job takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

META = "meta"
"""Torch's device whose tensors have shapes alone."""


@dataclass(frozen=True)
class Work:
    """What a part of a job takes, as of `Plan`; memory beside what is held anyway."""

    engine: str = ""
    memory: Mapping[str, float] = field(default_factory=dict)
    fine_tunes: int = 0
    probe_passes: int = 0
    flops: float = 0.0
    disk: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()


def bytes_of(module: nn.Module) -> int:
    """What its parameters and buffers take."""
    return sum(part.nbytes for part in (*module.parameters(), *module.buffers()))
