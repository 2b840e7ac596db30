"""The public function that finds a learning rate: the same strength for every method, not the same rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from eif_lab.errors import one_seed, rule_error
from eif_lab.influence.arguments import must_be_able_to_learn
from eif_lab.influence.batch import Batch, Data, as_batch
from eif_lab.influence.engines import Engine
from eif_lab.influence.learning_rate import Calibration
from eif_lab.influence.measurement import memberships, open_measurement
from eif_lab.influence.update import Update
from eif_lab.influence.yardstick import Yardstick, draw_rows
from eif_lab.methods import Method
from eif_lab.models.base import Loss
from eif_lab.options import build


def calibrate(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    *,
    probes: Data | None = None,
    yardstick: Yardstick | None = None,
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    sets: np.ndarray | None = None,
    seed: int = 0,
) -> Calibration:
    """The learning rate at which stimuli are taught as strongly as was asked for.

    The average strength is to be ``update.strength``, or where that is None ``update.headroom`` of what there is to
    gain. Without a yardstick, strength is the influence of a stimulus on itself, ``mean I[i, i]``. The model is tried,
    the engine chosen and the base read once, for all rates that are tried.

    Args:
        model: Any module, as `measure_influence` takes it.
        loss: (output, target), a mean over the batch.
        stimuli: (inputs, targets) to teach, of which ``update.calibration_stimuli`` are drawn.
        probes: (inputs, targets) that strength is measured on, where there is a yardstick.
        yardstick: Weights of the influence of stimuli, or sets, on probes, such as that of
            `eif_lab.library.strength.gauge_of`.
        method: What moves.
        update: The recipe whose rate is sought.
        engine: Name or `Engine`.
        sets: (sets, stimuli), as `measure_influence` takes them: these are taught, and drawn from, in place of stimuli
            alone. Without a yardstick, strength is the mean over a set of the influence on its stimuli.
        seed: Of what the method draws.

    Returns:
        The rate, the strength at it in nats, and whether that is near the target.

    Raises:
        ConfigError: An option is wrong, or the stimuli are not what they should be.

    Examples:
        >>> import torch
        >>> samples = torch.randn(6, 5), torch.arange(6) % 3
        >>> loss = torch.nn.functional.cross_entropy
        >>> calibration = calibrate(torch.nn.Linear(5, 3), loss, samples, update={"strength": 0.1})
        >>> calibration.learning_rate > 0
        True
    """
    must_be_able_to_learn(model, loss, method=method, update=update, engine=engine)
    seed = one_seed(seed)
    if not isinstance(update, Update):
        update = cast(Update, build(Update, dict(update or {}), "update"))
    if update.learning_rate is not None:
        rule = "be left out, since it is what is looked for"
        raise rule_error("update.learning_rate", rule, update.learning_rate, "Give update.strength.")
    batch = as_batch(stimuli, "stimuli")
    count = len(memberships(len(batch), "include", sets))
    rows = draw_rows(count, update.calibration_stimuli)
    watched, yardstick = some_rows(count, rows, probes, yardstick)
    if sets is None:
        batch = batch.take(torch.from_numpy(rows))
        held_to = Yardstick.of_itself(len(batch)) if yardstick is None else yardstick
    else:
        sets = sets[rows]
        held_to = Yardstick.of_sets(sets) if yardstick is None else yardstick
    given = batch if watched is None else watched
    options: dict[str, Any] = {"method": method, "update": update, "engine": engine, "sets": sets, "seed": seed}
    with open_measurement(model, loss, batch, given, **options, read=held_to.needed) as one:
        return one.search(held_to)


def some_rows(
    count: int, rows: np.ndarray, probes: Data | None, yardstick: Yardstick | None
) -> tuple[Batch | None, Yardstick | None]:
    """The yardstick of some stimuli, and the probes that it needs; None of either where there is none.

    Raises:
        ConfigError: One was given without the other, or they do not fit each other and the stimuli.
    """
    if probes is None or yardstick is None:
        if probes is not yardstick:
            missing = "yardstick" if yardstick is None else "probes"
            raise rule_error(missing, "be given where the other of probes and yardstick is", None, "Give both.")
        return None, None
    batch = as_batch(probes, "probes")
    size = count, len(batch)
    for cells in (yardstick.weights, yardstick.stated, yardstick.own):
        if np.shape(cells) != size:
            raise rule_error("yardstick", f"be (stimuli, probes), {size}", np.shape(cells))
    kept, columns = yardstick.take(rows)
    return batch.take(torch.from_numpy(columns)), kept
