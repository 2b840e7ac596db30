"""What a model takes, and the device on which it takes nothing."""

from __future__ import annotations

from torch import nn

META = "meta"
"""Torch's device whose tensors have shapes alone."""


def bytes_of(module: nn.Module) -> int:
    """What its parameters and buffers take."""
    return sum(part.nbytes for part in (*module.parameters(), *module.buffers()))
