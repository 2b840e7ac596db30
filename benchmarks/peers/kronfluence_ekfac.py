"""Influence functions of kronfluence: EK-FAC factors fitted on the stimuli, then all pairs."""

from __future__ import annotations

import copy
import logging
import tempfile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.case import Case


def scores(case: Case) -> np.ndarray:
    """(stimuli, probes); positive means that training on the stimulus makes the target likelier."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):
        """Cross-entropy, summed over the batch, as the library asks."""

        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            output = model(batch[0])
            labels = torch.distributions.Categorical(logits=output.detach()).sample() if sample else batch[1]
            return F.cross_entropy(output, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    torch.manual_seed(0)  # the factors are fitted to sampled labels
    task = Classification()
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "scores",
            prepare_model(copy.deepcopy(case.model), task),
            task,
            cpu=case.stimuli[0].device.type == "cpu",
            log_level=logging.ERROR,
            disable_tqdm=True,
            output_dir=folder,
        )
        stimuli, probes = TensorDataset(*case.stimuli), TensorDataset(*case.probes)
        analyzer.fit_all_factors("ekfac", stimuli, per_device_batch_size=len(stimuli))
        analyzer.compute_pairwise_scores(
            "pairs",
            "ekfac",
            query_dataset=probes,
            train_dataset=stimuli,
            per_device_query_batch_size=len(probes),
            per_device_train_batch_size=len(stimuli),
            score_args=ScoreArguments(damping_factor=None),  # a tenth of the mean eigenvalue, as published
        )
        return analyzer.load_pairwise_scores("pairs")["all_modules"].numpy().T
