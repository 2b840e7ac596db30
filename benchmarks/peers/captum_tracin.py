"""TracIn of captum, one checkpoint: that of the model as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.case import Case
from eif_lab.readouts.classes import log_prob

PROBES_AT_ONCE = 128
"""Their gradients are held in full."""

ROWS_AT_ONCE = 16
"""Where rows go back one by one: each goes back through all of its batch."""


def scores(case: Case) -> np.ndarray:
    """(stimuli, probes): learning rate times the product of gradients; positive means a likelier target."""
    from captum.influence import TracInCP

    rate = case.update.learning_rate
    model = copy.deepcopy(case.model)
    together = vectorised(model)
    reduce = summed if together else each
    rows = max(len(case.stimuli[1]), PROBES_AT_ONCE) if together else ROWS_AT_ONCE
    tracin = TracInCP(
        model,
        TensorDataset(*case.stimuli),
        checkpoints=[model.state_dict()],
        checkpoints_load_func=lambda model, state: model.load_state_dict(state) and rate,
        loss_fn=reduce(case.losses),
        test_loss_fn=reduce(lambda output, targets: -log_prob(output, targets)),
        batch_size=rows,
        sample_wise_grads_per_batch=together,
    )
    chunks = zip(*(part.split(PROBES_AT_ONCE) for part in case.probes))
    loaders = (DataLoader(TensorDataset(*chunk), batch_size=rows) for chunk in chunks)
    return torch.cat([tracin.influence(loader).detach() for loader in loaders]).numpy().T


def vectorised(model: nn.Module) -> bool:
    """Whether captum knows every layer's gradients row by row; any other model's rows go back one by one."""
    owners = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    return all(isinstance(module, nn.Linear | nn.Conv2d) for module in owners)


def each(losses: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The losses as they are, in captum's words."""
    return reducing(losses, "none")


def summed(losses: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Their sum, in captum's words."""
    return reducing(lambda output, targets: losses(output, targets).sum(), "sum")


def reducing(loss: Callable[[Tensor, Tensor], Tensor], reduction: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss with the attribute by which captum knows what it returns."""

    def named(output: Tensor, targets: Tensor) -> Tensor:
        return loss(output, targets)

    with_reduction: Any = named
    with_reduction.reduction = reduction
    return named
