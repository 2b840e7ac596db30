"""Trials of a tuner on a small scale: whether it can be put on a layer or a model, and what comes of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


@dataclass(frozen=True)
class Trial:
    """The result of trying a tuner.

    Attributes:
        reason: Why the tuner cannot be used; empty where it can.
        shifts: Whether the outputs change before it is trained.
        size: The value of the option that `SIZES` names, where the default had to be made smaller.
    """

    reason: str = ""
    shifts: bool = False
    size: int | None = None


def compare_outputs(model: nn.Module, inputs: Tensor, before: Tensor | None, trained: list[nn.Parameter]) -> Trial:
    """Whether training the tuner would change the outputs, and whether they have changed already.

    Args:
        model: With a tuner in it.
        inputs: Any that the model takes.
        before: The outputs without the tuner; None where they are not to be compared.
        trained: The tuner's parameters.
    """
    after = model(inputs)
    if not after.isfinite().all():
        return Trial("its outputs are no numbers")
    direction = torch.randn(after.shape).to(after)
    slopes = torch.autograd.grad((after * direction).sum(), trained, allow_unused=True) if after.requires_grad else []
    if not any(slope is not None and bool(slope.abs().max() > 0) for slope in slopes if slope is None or slope.numel()):
        return Trial("what it trains has no effect")
    return Trial(
        shifts=before is not None
        and bool((after - before).abs().max() > 64 * max(torch.finfo(after.dtype).eps, 1e-7) * before.abs().max())
    )


def layer_signature(layer: nn.Module) -> str:
    """The signature of layers that a tuner treats alike: their type with its sizes, and their dtype."""
    return f"{layer!r} {next((parameter.dtype for parameter in layer.parameters()), None)}"


def example_input(layer: nn.Module) -> Tensor | None:
    """Random input for a layer; None where the shape of its input is not known."""
    from transformers.pytorch_utils import Conv1D

    shape: tuple[int, ...]
    if isinstance(layer, nn.Linear):
        shape = (2, layer.in_features)
    elif isinstance(layer, Conv1D):
        shape = (2, layer.nx)
    elif isinstance(layer, _ConvNd) and not layer.transposed:
        extents = [(size - 1) * step + 2 for size, step in zip(layer.kernel_size, layer.dilation)]
        shape = (2, layer.in_channels, *extents)
    else:
        return None
    return torch.randn(shape).to(layer.weight.dtype)


def reason_of(error: Exception) -> str:
    """The reason in an error's words; where it is no refusal, that PEFT fails."""
    if isinstance(error, ValueError | TypeError | NotImplementedError) and str(error):
        return str(error)
    return f"PEFT fails with {type(error).__name__} {error}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings and progress bars off the console."""
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


def first_tokens(device: torch.device) -> Tensor:
    """Three token ids that any language model knows, (1, 3)."""
    return torch.arange(1, 4, device=device)[None]
