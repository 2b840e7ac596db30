"""What a model takes, and the device on which it takes nothing."""

from __future__ import annotations

from torch import nn

META = "meta"
"""Torch's device whose tensors have shapes alone."""


MOST_BYTES = 2**26
"""Of a model that is planned for with all engines; of a larger one as much as takes seconds is found out."""


def is_large(model: nn.Module) -> bool:
    """Whether its parts are run for a plan no more often, and on no more, than they must be."""
    return bytes_of(model) > MOST_BYTES


def bytes_of(module: nn.Module) -> int:
    """What its parameters and buffers take."""
    return sum(part.nbytes for part in (*module.parameters(), *module.buffers()))
