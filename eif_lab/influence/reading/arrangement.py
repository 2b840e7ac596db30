"""How the rows of a pass over probes are laid out, so that they go through a model fastest."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from eif_lab.influence.batch import Batch, Inputs
from eif_lab.models.base import SharesPrefixes

WORTH_SHARING = 0.1
"""The share of a pass's tokens that must be saved for prefixes to be shared: a mask and a gather cost something."""

Pass = tuple[Inputs, Tensor]
"""Inputs and targets of some rows, as they go through the model."""


@dataclass
class Arrangement:
    """The plain arrangement: rows as they are."""

    channels_last = False

    def arrange(self, place: slice, rows: Batch) -> Pass:
        """The rows of one pass, of which ``place`` says where they are among all."""
        return rows.inputs, rows.targets

    def weight(self, value: Tensor) -> Tensor:
        """A parameter as the model is to use it."""
        return value

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The base's parameters that are used in another layout than they have, by name."""
        return {}

    def for_other_rows(self) -> Arrangement:
        """The same arrangement of other rows of the same length."""
        return self


@dataclass
class ChannelsLast(Arrangement):
    """Images, and weights of convolutions, with the channels last."""

    channels_last = True
    laid_out: dict[str, Tensor] = field(default_factory=dict)

    def arrange(self, place: slice, rows: Batch) -> Pass:
        """The images with the channels last."""
        return tree_map(self.weight, rows.inputs), rows.targets

    def weight(self, value: Tensor) -> Tensor:
        """The channels last; it also sets the strides of a single channel."""
        return value.to(memory_format=torch.channels_last) if value.ndim == 4 else value

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights of convolutions, laid out once."""
        if not self.laid_out:
            every = ((name, parameter.detach()) for name, parameter in model.named_parameters())
            self.laid_out = {name: self.weight(value) for name, value in every if value.ndim == 4}
        return self.laid_out


@dataclass
class SharedPrefixes(Arrangement):
    """Texts that begin alike, whose beginning the model computes once.

    Attributes:
        model: What packs texts, and reads them so.
        packed: Passes by where they begin and how many texts they hold; None where packing saves too little.
    """

    model: SharesPrefixes
    packed: dict[tuple[int, int], Pass | None] = field(default_factory=dict)

    def arrange(self, place: slice, rows: Batch) -> Pass:
        """The texts packed, where that saves enough."""
        key = (place.start or 0, len(rows))
        if key not in self.packed:
            packed = self.model.share_prefixes(rows.inputs, rows.targets)
            self.packed[key] = packed if packed[0].saved >= WORTH_SHARING else None
        return self.packed[key] or (rows.inputs, rows.targets)

    def for_other_rows(self) -> Arrangement:
        """Other texts are packed anew."""
        return SharedPrefixes(self.model)
