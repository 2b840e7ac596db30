"""A job's samples as tensors, each of which is encoded once whatever it is used for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eif_lab.data.task import Samples, Texts, concatenate
from eif_lab.files.checksums import sha256
from eif_lab.influence.batch import Batch
from eif_lab.models.language.encoding import Encoder
from eif_lab.readouts.classes import IGNORED


class EncodedSamples:
    """Every distinct sample as a row.

    Args:
        encode: Samples to (inputs, targets), row by row.
        groups: Samples of one kind, such as the stimuli and the probes; what several of them hold is encoded once.
    """

    def __init__(self, encode: Callable[[Samples], tuple[Any, Tensor]], groups: Sequence[Samples]) -> None:
        self.place: dict[Hashable, int] = {}
        fresh: list[Any] = []
        for group in groups:
            new = {name: row for row, name in enumerate(names(group)) if name not in self.place}
            self.place |= {name: len(self.place) + number for number, name in enumerate(new)}
            if new:
                fresh.append(replace(group.take(list(new.values())), coords={}))
        self.pads = isinstance(encode, Encoder)
        self.batch = Batch(*encode(concatenate(fresh)))

    def rows(self, samples: Samples) -> Batch:
        """Some of the samples, in their order: the tensors that encoding these alone would give."""
        batch = self.batch.take(torch.tensor([self.place[name] for name in names(samples)]))
        if not self.pads:
            return batch
        longest = int((batch.targets != IGNORED).nonzero()[:, 1].max()) + 1
        return batch.map(lambda tensor: tensor[:, :longest].contiguous())


def names(samples: Samples) -> list[Hashable]:
    """The identity of each sample: all that is read of a text, an image's pixels and label.

    Ids would not do: a perturbation may change what a sample holds and leave its id.
    """
    if isinstance(samples, Texts):
        return list(zip(samples.prompts, samples.targets))
    pixels = [sha256(image.numpy().tobytes()) for image in samples.pixels]
    return list(zip(pixels, samples.labels.tolist()))
