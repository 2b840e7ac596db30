"""The public function that finds a learning rate: the same direct influence for every method, not the same rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from eif_lab.errors import rule_error
from eif_lab.influence.arguments import must_be_able_to_learn, one_seed
from eif_lab.influence.batch import Data, as_batch
from eif_lab.influence.engines import Engine
from eif_lab.influence.learning_rate import Calibration
from eif_lab.influence.measurement import MOST_STIMULI, open_measurement
from eif_lab.influence.update import Update
from eif_lab.methods import Method
from eif_lab.models.base import Loss
from eif_lab.options import build


def calibrate(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    *,
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    seed: int = 0,
    largest: int = MOST_STIMULI,
) -> Calibration:
    """The learning rate at which stimuli raise their own log-probability by as much as was asked for.

    On average over the stimuli, ``mean I[i, i]`` is to be ``update.direct_influence``, or where that is None
    ``update.headroom * mean(-log_prob before)``. The model is tried, the engine chosen and the base read once, for all
    rates that are tried.

    Args:
        model: Any module, as `measure_influence` takes it.
        loss: (output, target), a mean over the batch.
        stimuli: (inputs, targets) to teach; no more than the first ``largest`` are used.
        method: What moves.
        update: The recipe whose rate is sought.
        engine: Name or `Engine`.
        seed: Of what the method draws.
        largest: Bound on the number of stimuli.

    Returns:
        The rate, the influence at it in nats, and whether that is near the target.

    Raises:
        ConfigError: An option is wrong, or the stimuli are not what they should be.

    Examples:
        >>> import torch
        >>> samples = torch.randn(6, 5), torch.arange(6) % 3
        >>> loss = torch.nn.functional.cross_entropy
        >>> calibration = calibrate(torch.nn.Linear(5, 3), loss, samples, update={"direct_influence": 0.1})
        >>> calibration.learning_rate > 0
        True
    """
    must_be_able_to_learn(model, loss, method=method, update=update, engine=engine)
    seed = one_seed(seed)
    if not isinstance(update, Update):
        update = cast(Update, build(Update, dict(update or {}), "update"))
    if largest < 1:
        raise rule_error("largest", "be at least 1", largest)
    batch = as_batch(stimuli, "stimuli").take(slice(largest))
    with open_measurement(model, loss, batch, batch, method=method, update=update, engine=engine, seed=seed) as one:
        return one.search()
