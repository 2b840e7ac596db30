"""Leave one out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Exclude(Perturbation):
    """The stimuli are one fine-tuning set; each is left out in turn."""

    membership: ClassVar[str] = "exclude"
