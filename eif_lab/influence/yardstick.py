"""The yardstick of a stimulus's strength: weights of its influence on probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from eif_lab.errors import rule_error

Cells = Float[np.ndarray, "stimuli probes"]


class Taught(NamedTuple):
    """Strength that stimuli reached at one learning rate, on average, in nats; NaN where one of them diverged.

    Attributes:
        strength: What the yardstick measures.
        own: Influence on what they were trained on.
    """

    strength: float
    own: float


@dataclass(frozen=True)
class Yardstick:
    """The yardstick of each stimulus's strength.

    Attributes:
        weights: The strength of stimulus i is ``sum_j weights[i, j] * I[i, j]``, of the log-probability, in nats.
        stated: Shares of the probes that each stimulus states: what it has to gain is ``-log_prob`` of these before
            the update.
        own: Shares of the probes that are what each stimulus is trained on. An update that does not raise these has
            overshot, whatever its strength is.
        average: Over stimuli.
        headroom: The share of what there is to gain that is asked for by default.
        name: What records call it.
    """

    weights: Cells
    stated: Cells
    own: Cells
    average: Callable[[np.ndarray], np.floating] = np.median
    headroom: float = 0.005
    name: str = "stated clozes less their foils"

    def __post_init__(self) -> None:
        for field in ("weights", "stated", "own"):
            cells = getattr(self, field)
            if not np.isfinite(cells).all() or not (cells != 0).any(axis=1).all():
                rule = "be finite, and weigh a probe for each stimulus"
                raise rule_error(f"yardstick.{field}", rule, "a row of zeros, NaN or infinity")

    @classmethod
    def of_itself(cls, stimuli: int) -> Yardstick:
        """Each stimulus by its influence on itself, where the probes are the stimuli.

        The average is the mean: half of a set of images may be known beforehand, and have nothing to gain.
        """
        itself = np.eye(stimuli)
        return cls(itself, itself, itself, average=np.mean, headroom=0.1, name="stimuli themselves")

    @classmethod
    def of_sets(cls, sets: Bool[np.ndarray, "stimuli probes"]) -> Yardstick:
        """Each set by the mean over its samples, where the probes are the samples; see `of_itself`."""
        share = sets / sets.sum(axis=1, keepdims=True)
        return cls(share, share, share, average=np.mean, headroom=0.1, name="samples of the sets themselves")

    def taught(self, influence: Cells) -> Taught:
        """Strength, and influence on what was trained on, on average."""
        return Taught(*(self._averaged(cells, influence) for cells in (self.weights, self.own)))

    def possible_gain(self, log_prob: Float[np.ndarray, " probes"]) -> float:
        """The largest gain that is possible before the update, on average over stimuli, in nats."""
        return self._averaged(self.stated, np.broadcast_to(-log_prob, self.stated.shape))

    @property
    def needed(self) -> Bool[np.ndarray, "stimuli probes"]:
        """Which probes each stimulus is read on."""
        return (self.weights != 0) | (self.stated != 0) | (self.own != 0)

    def take(self, rows: Int[np.ndarray, " rows"]) -> tuple[Yardstick, Int[np.ndarray, " columns"]]:
        """The yardstick of some stimuli, and the probes that it still needs, to which it belongs."""
        columns = np.flatnonzero(self.needed[rows].any(axis=0))
        weights, stated, own = (cells[rows][:, columns] for cells in (self.weights, self.stated, self.own))
        return Yardstick(weights, stated, own, self.average, self.headroom, self.name), columns

    def _averaged(self, weights: Cells, values: Cells) -> float:
        """The average of each stimulus's weighted sum; a probe that a stimulus does not weigh may have any value."""
        return float(self.average(np.where(weights != 0, weights * values, 0.0).sum(axis=1)))


def draw_rows(count: int, most: int | None) -> Int[np.ndarray, " rows"]:
    """Rows of ``count`` stimuli, in their order: a draw of ``most`` of them, always the same one; all for None."""
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:most])
