"""Influence functions of kronfluence: EK-FAC factors fitted on the training data or the stimuli, then all pairs."""

from __future__ import annotations

import copy
import logging
import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.case import Case
from eif_lab.readouts.classes import IGNORED, log_prob

ROWS_AT_ONCE = 128


def scores(case: Case, damping: float | None = None) -> np.ndarray:
    """(stimuli, probes); positive means that training on the stimulus makes the target likelier.

    The library knows linear layers and convolutions: embeddings and norms do not move in its prediction.

    Args:
        case: What is predicted.
        damping: Added to the curvature; None for a tenth of its mean eigenvalue, as published.
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Prediction(Task):
        """The case's loss, summed over rows, as the library asks, and the surprise at a probe."""

        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            output = model(batch[0])
            return case.losses(output, sampled(output.detach(), batch[1]) if sample else batch[1]).sum()

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return -log_prob(model(batch[0]), batch[1]).sum()

        def get_attention_mask(self, batch: Any) -> Tensor | None:
            return (batch[1] != IGNORED).long() if batch[1].ndim > 1 else None

    torch.manual_seed(0)  # the factors are fitted to sampled labels
    task = Prediction()
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
        known = stimuli if case.training is None else TensorDataset(*case.training)
        analyzer.fit_all_factors("ekfac", known, per_device_batch_size=min(len(known), ROWS_AT_ONCE))
        analyzer.compute_pairwise_scores(
            "pairs",
            "ekfac",
            query_dataset=probes,
            train_dataset=stimuli,
            per_device_query_batch_size=min(len(probes), ROWS_AT_ONCE),
            per_device_train_batch_size=min(len(stimuli), ROWS_AT_ONCE),
            score_args=ScoreArguments(damping_factor=damping),
        )
        return analyzer.load_pairwise_scores("pairs")["all_modules"].numpy().T


def sampled(output: Tensor, targets: Tensor) -> Tensor:
    """Targets drawn from what the model predicts, where there are targets."""
    drawn = torch.distributions.Categorical(logits=output).sample()
    return torch.where(targets == IGNORED, IGNORED, drawn)
