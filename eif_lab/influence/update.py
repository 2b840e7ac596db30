"""The fine-tuning recipe: optimizer, learning rate, number of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from eif_lab.errors import rule_error
from eif_lab.options import Options, option


@dataclass
class Update(Options):
    """``steps`` steps on one training batch, everything in eval mode.

    Attributes:
        optimizer: ``sgd``, ``adam`` or ``adamw``, as in ``torch.optim``.
        learning_rate: None asks for calibration: the rate at which stimuli raise the log-probability of themselves by
            ``direct_influence`` on average, or by ``headroom`` of what there is to gain.
        steps: How often the same batch is stepped on.
        momentum: Of SGD.
        weight_decay: L2 for SGD and Adam, decoupled for AdamW.
        gradient_clip: Largest norm of one stimulus's gradient over all that is trained; None for no clipping.
        headroom: The calibration's target, as a share of the mean ``-log_prob`` before the update.
        direct_influence: The target in nats, the same for every method and model; None for ``headroom``'s.
    """

    group: ClassVar[str] = "update"

    optimizer: str = option("sgd", one_of=["sgd", "adam", "adamw"])
    learning_rate: float | None = option(None, at_least=0, hint="Try 0.01, or null to have it calibrated.")
    steps: int = option(1, at_least=1, hint="Try 1.")
    momentum: float = option(0.0, at_least=0, below=1, hint="Try 0.9.")
    weight_decay: float = option(0.0, at_least=0, hint="Try 0.01.")
    gradient_clip: float | None = option(None, above=0, hint="Try 1.0, or null for none.")
    headroom: float = option(0.1, above=0, below=1, hint="Try 0.1.")
    direct_influence: float | None = option(None, above=0, hint="Try 1 (nat), or null for update.headroom.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum and self.optimizer != "sgd":
            raise rule_error(
                "update.momentum", f"be 0 with optimizer={self.optimizer}", self.momentum, "Try update.optimizer=sgd."
            )

    @property
    def moves_without_gradient(self) -> bool:
        """Whether a parameter with a gradient of zero can move, which one without a gradient never does."""
        return bool(self.weight_decay) or (self.steps > 1 and (self.optimizer != "sgd" or bool(self.momentum)))

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The ``torch.optim`` optimizer; elementwise, so that it steps stacked parameters like single ones."""
        if self.learning_rate is None:
            raise rule_error("update.learning_rate", "be a number here", None, "Try 0.01, or eif_lab.calibrate().")
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
            )
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer]
        return kind(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
