"""TracIn of captum, one checkpoint, per-sample gradients of whole batches."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.case import Case


def scores(case: Case) -> np.ndarray:
    """(stimuli, probes): learning rate times the product of gradients; positive means a likelier target."""
    from captum.influence import TracInCP

    rate = case.update.learning_rate
    model = copy.deepcopy(case.model)
    tracin = TracInCP(
        model,
        TensorDataset(*case.stimuli),
        checkpoints=[model.state_dict()],
        checkpoints_load_func=lambda model, state: model.load_state_dict(state) and rate,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=len(case.stimuli[1]),
        sample_wise_grads_per_batch=True,
    )
    probes = DataLoader(TensorDataset(*case.probes), batch_size=len(case.probes[1]))
    return tracin.influence(probes).detach().numpy().T
