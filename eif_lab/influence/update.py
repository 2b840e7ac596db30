"""The fine-tuning recipe: optimizer, learning rate, number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from eif_lab.errors import rule_error
from eif_lab.options import Options, option


@dataclass(frozen=True)
class Stepping:
    """One kind of optimizer. It must step elementwise: a step on stacked parameters is then one step on each.

    Attributes:
        make: (parameters, update) to the optimizer, its learning rate and weight decay those of the update.
        first_rate: The learning rate that calibration tries first.
        remembers: How many numbers it keeps for each parameter's number from one step to the next.
        decoupled: Whether weight decay is a step of its own, and not a part of the gradient.
        has_momentum: Whether it takes ``update.momentum``.
    """

    make: Callable[[Iterable[Tensor], Update], Optimizer]
    first_rate: float
    remembers: Callable[[Update], int]
    decoupled: bool = False
    has_momentum: bool = False


OPTIMIZERS: dict[str, Stepping] = {
    "sgd": Stepping(
        lambda parameters, update: torch.optim.SGD(
            parameters, lr=update.rate, momentum=update.momentum, weight_decay=update.weight_decay
        ),
        first_rate=1e-2,
        remembers=lambda update: 1 if update.momentum else 0,
        has_momentum=True,
    ),
    "adam": Stepping(
        lambda parameters, update: torch.optim.Adam(parameters, lr=update.rate, weight_decay=update.weight_decay),
        first_rate=1e-4,
        remembers=lambda update: 2,
    ),
    "adamw": Stepping(
        lambda parameters, update: torch.optim.AdamW(parameters, lr=update.rate, weight_decay=update.weight_decay),
        first_rate=1e-4,
        remembers=lambda update: 2,
        decoupled=True,
    ),
}
"""By the name that ``update.optimizer`` has; a new one is an entry here and a file in ``conf/update``."""


@dataclass
class Update(Options):
    """``steps`` steps on one training batch, everything in eval mode.

    Attributes:
        optimizer: One of `OPTIMIZERS`: ``sgd``, ``adam`` or ``adamw``, as in ``torch.optim``.
        learning_rate: None asks for calibration: the rate at which stimuli are taught with a strength of ``strength``,
            or of ``headroom`` of what there is to gain. Strength is the influence on the stated cloze less that on its
            own foils, the median over stimuli; where there are no such clozes, it is the mean influence of a stimulus
            on itself.
        steps: How often the same batch is stepped on.
        momentum: Of SGD.
        weight_decay: L2 for SGD and Adam, decoupled for AdamW.
        gradient_clip: Largest norm of one stimulus's gradient over all that is trained; None for no clipping.
        strength: The calibration's target in nats, the same for every method and model; None for ``headroom``'s.
        headroom: The target as a share of ``-log_prob`` before the update, of stated clozes or of the stimuli
            themselves; None for 0.005 of clozes, or 0.1 of the stimuli themselves.
        calibration_stimuli: How many clean stimuli the rate is calibrated on, drawn at random; None for all of them.
    """

    group: ClassVar[str] = "update"

    optimizer: str = "sgd"
    learning_rate: float | None = option(None, at_least=0, hint="Try 0.01, or null to have it calibrated.")
    steps: int = option(1, at_least=1, hint="Try 1.")
    momentum: float = option(0.0, at_least=0, below=1, hint="Try 0.9.")
    weight_decay: float = option(0.0, at_least=0, hint="Try 0.01.")
    gradient_clip: float | None = option(None, above=0, hint="Try 1.0, or null for none.")
    strength: float | None = option(None, above=0, hint="Try 0.1 (nat), or null for update.headroom.")
    headroom: float | None = option(None, above=0, below=1, hint="Try 0.005.")
    calibration_stimuli: int | None = option(32, at_least=1, hint="Try 32, or null for all.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer not in OPTIMIZERS:
            raise rule_error("update.optimizer", f"be one of {', '.join(OPTIMIZERS)}", self.optimizer)
        if self.momentum and not self.stepping.has_momentum:
            raise rule_error(
                "update.momentum", f"be 0 with optimizer={self.optimizer}", self.momentum, "Try update.optimizer=sgd."
            )

    @property
    def stepping(self) -> Stepping:
        """The properties of its optimizer."""
        return OPTIMIZERS[self.optimizer]

    @property
    def rate(self) -> float:
        """The learning rate.

        Raises:
            ConfigError: There is none yet.
        """
        if self.learning_rate is None:
            raise rule_error("update.learning_rate", "be a number here", None, "Try 0.01, or eif_lab.calibrate().")
        return self.learning_rate

    @property
    def moves_without_gradient(self) -> bool:
        """Whether a parameter with a gradient of zero can move, which one without a gradient never does."""
        return bool(self.weight_decay) or (self.steps > 1 and self.stepping.remembers(self) > 0)

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer over these parameters, which it steps elementwise."""
        return self.stepping.make(parameters, self)
