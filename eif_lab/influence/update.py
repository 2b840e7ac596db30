"""The fine-tuning recipe: optimizer, learning rate, steps, and what each of them is on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Int
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

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
    """``steps`` steps, or ``epochs`` times through the samples, everything in eval mode.

    A stimulus that is trained on alone is one sample. Where it is a set of them, or all but one, each step is on
    ``batch_size`` of them, in the order in which ``torch.utils.data.DataLoader`` gives them.

    Attributes:
        optimizer: One of `OPTIMIZERS`: ``sgd``, ``adam`` or ``adamw``, as in ``torch.optim``.
        learning_rate: None asks for calibration: the rate at which stimuli are taught with a strength of ``strength``,
            or of ``headroom`` of what there is to gain. Strength is the influence on the stated cloze less that on its
            own foils, the median over stimuli; where there are no such clozes, it is the mean influence of a stimulus
            on itself.
        steps: How many there are.
        batch_size: Samples of each step, of which an epoch's last may have fewer; None for all of them at once.
        epochs: How often all samples are gone through; with it, ``steps`` follows from the samples.
        order: ``shuffled`` anew in each epoch, or as ``given``. It has no say where a step is on all samples.
        seed: Of the order. Sets of one size are gone through in the same order of places.
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
    batch_size: int | None = option(None, at_least=1, hint="Try 8, or null for all samples at once.")
    epochs: int | None = option(None, at_least=1, hint="Try 3, or null for update.steps.")
    order: str = option("shuffled", one_of=["shuffled", "given"])
    seed: int = option(0, at_least=0, at_most=2**32 - 1, hint="Try 0.")
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
        if self.epochs is not None and self.steps != 1:
            rule = f"be left out with update.epochs={self.epochs}, which says how many steps there are"
            raise rule_error("update.steps", rule, self.steps, "Give one of the two.")
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
        several = self.steps > 1 or self.epochs is not None
        return bool(self.weight_decay) or (several and self.stepping.remembers(self) > 0)

    def batches(self, size: int) -> tuple[Int[Tensor, " rows"], ...]:
        """Which of ``size`` samples each step is on, by their places."""
        how = {"epochs": self.epochs, "steps": self.steps, "shuffled": self.order == "shuffled", "seed": self.seed}
        return batches(size, self.batch_size or size, **how)

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer over these parameters, which it steps elementwise."""
        return self.stepping.make(parameters, self)


@lru_cache(maxsize=16)
def batches(
    size: int, batch_size: int, *, epochs: int | None, steps: int, shuffled: bool, seed: int
) -> tuple[Int[Tensor, " rows"], ...]:
    """The batches that a ``DataLoader`` makes of ``size`` samples, epoch after epoch, by their places.

    Args:
        size: Of the data set.
        batch_size: At most; where it is the size or more, every batch is all samples in their order.
        epochs: None for as many as make ``steps`` batches.
        steps: How many batches where ``epochs`` is None.
        shuffled: Whether each epoch is in another order.
        seed: Of the loader's own generator.
    """
    if batch_size >= size:
        return (torch.arange(size),) * (epochs or steps)
    generator = torch.Generator().manual_seed(seed)
    loader: Any = DataLoader(cast(Dataset, range(size)), batch_size, shuffle=shuffled, generator=generator)
    if epochs is None:
        return tuple(islice(chain.from_iterable(repeat(loader)), steps))
    return tuple(chain.from_iterable(repeat(loader, epochs)))
