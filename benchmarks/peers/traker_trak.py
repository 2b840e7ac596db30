"""TRAK of traker, one model: features of the training data and the stimuli, then scores of the probes."""

from __future__ import annotations

import copy
import logging
import math
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.case import Case, Pairs, parameters
from eif_lab.readouts.classes import IGNORED, log_odds, per_row, prob

ROWS_AT_ONCE = 64
"""Their gradients are held in full."""

LARGEST_PROJECTION = 512
ROWS_PER_DIMENSION = 3
"""Fewer and the features' covariance, which is inverted without damping, is all but singular."""


def scores(case: Case) -> np.ndarray:
    """(stimuli, probes) as if the stimuli belonged to the training data; positive means a likelier target.

    The model output is that of the paper, the log-odds of the target, and so is what a score predicts the change of.
    """
    from trak import TRAKer
    from trak.projectors import BasicProjector, ProjectionType

    featurised = case.stimuli if case.training is None else joined(case.stimuli, case.training)
    count, model = len(featurised[1]), copy.deepcopy(case.model)
    size = max(2, min(LARGEST_PROJECTION, count // ROWS_PER_DIMENSION))
    projector = BasicProjector(
        grad_dim=parameters(model),
        proj_dim=size,
        seed=0,
        proj_type=ProjectionType.normal,
        device="cpu",
        block_size=math.ceil(size / 2),  # a single block is not made again once it is freed between the stages
    )
    with tempfile.TemporaryDirectory() as folder:
        traker = TRAKer(
            model,
            output_to_explain(),
            train_set_size=count,
            save_dir=folder,
            device="cpu",
            projector=projector,
            use_half_precision=False,
            logging_level=logging.ERROR,
        )
        traker.load_checkpoint(model.state_dict(), model_id=0)
        for batch in batches(featurised):
            traker.featurize(batch, num_samples=len(batch[1]))
        traker.finalize_features()
        traker.start_scoring_checkpoint("probes", model.state_dict(), model_id=0, num_targets=len(case.probes[1]))
        for batch in batches(case.probes):
            traker.score(batch, num_samples=len(batch[1]))
        return np.array(traker.finalize_scores("probes")[: len(case.stimuli[1])])


def output_to_explain() -> Any:
    """The log-odds of the target, of an image's class or of a whole text, and how the mean loss changes with them."""
    from trak.modelout_functions import AbstractModelOutput

    class LogOdds(AbstractModelOutput):
        def __init__(self) -> None:
            pass

        def get_output(self, model: nn.Module, weights: dict, buffers: dict, inputs: Tensor, target: Tensor) -> Tensor:
            return log_odds(functional_call(model, (weights, buffers), inputs[None]), target[None])[0]

        def get_out_to_loss_grad(self, model: nn.Module, weights: dict, buffers: dict, batch: Pairs) -> Tensor:
            inputs, targets = batch
            with torch.no_grad():
                chance = prob(functional_call(model, (weights, buffers), inputs), targets)
            return ((1 - chance) / per_row(targets != IGNORED).sum(1))[:, None]

    return LogOdds()


def batches(pairs: Pairs) -> Iterator[tuple[Tensor, ...]]:
    """Some rows at a time."""
    return zip(*(part.split(ROWS_AT_ONCE) for part in pairs))


def joined(first: Pairs, then: Pairs) -> Pairs:
    """The rows of one after those of the other; texts are padded to the longer ones."""
    length = max(first[0].shape[1], then[0].shape[1])

    def padded(pairs: Pairs) -> Pairs:
        inputs, targets = pairs
        if targets.ndim == 1:
            return pairs
        short = (0, length - inputs.shape[1])
        return nn.functional.pad(inputs, short), nn.functional.pad(targets, short, value=IGNORED)

    inputs, targets = (torch.cat(parts) for parts in zip(padded(first), padded(then)))
    return inputs, targets
