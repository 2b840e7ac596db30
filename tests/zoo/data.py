"""Small data of every shape; a generator decides what is drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import Data


def labels(count: int, generator: torch.Generator, classes: int = 3) -> Tensor:
    """Every class comes up, whatever the count."""
    return (torch.arange(count) + torch.randint(classes, (count,), generator=generator)) % classes


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """In float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def arrays(*shape: int, classes: int = 3, scale: float = 1.0) -> Data:
    """Inputs of this shape, with classes."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return scale * normal(count, *shape, generator=generator), labels(count, generator, classes)

    return data


def vectors(width: int = 6, classes: int = 3) -> Data:
    """(n, width)."""
    return arrays(width, classes=classes)


def images(channels: int = 1, side: int = 6, classes: int = 3) -> Data:
    """(n, channels, side, side)."""
    return arrays(channels, side, side, classes=classes)


def sequences(length: int = 6, width: int = 4, classes: int = 3) -> Data:
    """(n, length, width), one class each."""
    return arrays(length, width, classes=classes)


def words(length: int = 6, vocabulary: int = 11, classes: int = 3) -> Data:
    """(n, length) of ids from 1 on, one class each."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ids = torch.randint(1, vocabulary, (count, length), generator=generator)
        return ids, labels(count, generator, classes)

    return data


def padded(length: int = 6, vocabulary: int = 11, classes: int = 3, whole: int = 2) -> Data:
    """As `words`, with zeros at the end of all but the first ``whole`` rows."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ids, target = words(length, vocabulary, classes)(count, generator)
        for row in range(whole, count):
            ids[row, length - 1 - row % (length - 1) :] = 0
        return ids, target

    return data


def tagged(length: int = 5, width: int = 4, classes: int = 3, ignored: bool = False) -> Data:
    """(n, length, width), a class at each position; with ``ignored`` some are -100."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        target = torch.randint(classes, (count, length), generator=generator)
        if ignored:
            target[:, 0] = -100
            target[1::2, -2:] = -100
        return normal(count, length, width, generator=generator), target

    return data


def valued(*shape: int, out: tuple[int, ...] = (2,)) -> Data:
    """Real-valued targets."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return normal(count, *shape, generator=generator), normal(count, *out, generator=generator)

    return data
