"""The handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 (Alpaydin and Kaynak, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from eif_lab.data.dataset import Dataset
from eif_lab.data.images.base import held_out_task
from eif_lab.data.task import Images, Task
from eif_lab.options import option


@dataclass
class Digits(Dataset):
    """Embedded: nothing is downloaded. One image in two is held out for stimuli and probes."""

    kind: ClassVar[str] = Images.kind

    name: str = option("digits", one_of=["digits"])
    stimuli: int = option(120, at_least=1, hint="Try 120.")
    probes: int = option(120, at_least=1, hint="Try 120.")

    def load(self, seed: int) -> Task:
        """Stimuli and probes from the held-out half; ``seed`` decides which."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = Images(
            pixels=torch.tensor(bunch.images[:, None] / 16, dtype=torch.float32),
            labels=torch.tensor(bunch.target),
            classes=tuple("0123456789"),
            ids=np.array([f"digits-{i}" for i in range(len(bunch.target))]),
        )
        held_out = np.arange(len(images)) % 2 == 1
        return held_out_task(images, held_out, self.stimuli, self.probes, seed)
