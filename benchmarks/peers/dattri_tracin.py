"""TracIn of dattri, one checkpoint, whole gradients."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.case import Case


def scores(case: Case) -> np.ndarray:
    """(stimuli, probes): learning rate times the product of gradients; positive means a likelier target."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    model = copy.deepcopy(case.model)

    def loss(parameters: dict[str, torch.Tensor], sample: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        pixels, label = sample
        output = torch.func.functional_call(model, parameters, pixels[None])
        return case.loss(output, label[None])

    task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    tracin = TracInAttributor(task, weight_list=torch.tensor([case.update.learning_rate]), normalized_grad=False)
    tracin.projector_kwargs = None  # the constructor reads None as its default projection
    loaders = [DataLoader(TensorDataset(*data), batch_size=len(data[1])) for data in (case.stimuli, case.probes)]
    return tracin.attribute(*loaders).detach().numpy()
