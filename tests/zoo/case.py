"""One row of the table, and what most rows are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Made = tuple[Any, Any, Any, Any]
"""Model, loss, stimuli, probes."""

Data = Callable[[int, torch.Generator], Any]
"""A count and a generator to (inputs, targets)."""

UPDATE = {"learning_rate": 0.1}


@dataclass(frozen=True, eq=False)
class Case:
    """A model and a task.

    Attributes:
        name: Unique in the table.
        kind: What it is an example of.
        make: (stimuli, probes) to a new model, the loss, that many stimuli and that many probes.
        options: Of ``measure_influence``.
        tolerance: Of a cell, relative to the largest cell.
        refused: None, or what the one-line error must match.
        may_refuse: Whether a one-line error is as good as the right array.
        slow: Whether it is left to ``make test-zoo``.
        stimuli, probes: How many.
        classes_at: The dimension of the output that is over classes.
        zeros: Whether every cell is exactly zero in truth.
        scales: Whether ``make`` can make more stimuli and probes.
    """

    name: str
    kind: str
    make: Callable[[int, int], Made]
    options: Mapping[str, Any] = field(default_factory=lambda: {"update": UPDATE})
    tolerance: float = 1e-8
    refused: str | None = None
    may_refuse: bool = False
    slow: bool = False
    stimuli: int = 5
    probes: int = 6
    classes_at: int = -1
    zeros: bool = False
    scales: bool = True


def task(
    build: Callable[[], nn.Module], data: Data, loss: Any = F.cross_entropy, dtype: torch.dtype = torch.float64
) -> Callable[[int, int], Made]:
    """A maker of a seeded model in that precision, and of data.

    Lazy layers are given their shape, and normalisations other statistics than the initial ones.
    """

    def make(stimuli: int, probes: int) -> Made:
        own = [cast(data(n, torch.Generator().manual_seed(s)), dtype) for s, n in enumerate((stimuli, probes), 1)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = in_precision(build(), dtype)
            if any(nn.parameter.is_lazy(p) for p in model.parameters()):
                with torch.no_grad():
                    model.eval()(own[0][0])
                model.train()
            for module in model.modules():
                if getattr(module, "running_mean", None) is not None and isinstance(module.running_mean, Tensor):
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 2)
        return model, loss, *own

    return make


def in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with its real floating-point parameters and buffers in this precision."""
    return {torch.float64: model.double, torch.float32: model.float, torch.bfloat16: model.bfloat16}[dtype]()


def cast(data: Any, dtype: torch.dtype) -> Any:
    """The data with its real floating-point tensors in this precision."""
    return pytree.tree_map_only(Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, data)
