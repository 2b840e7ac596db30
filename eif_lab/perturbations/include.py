"""Each stimulus as it is, alone."""

from __future__ import annotations

from dataclasses import dataclass

from eif_lab.perturbations.perturbation import Perturbation


@dataclass
class Include(Perturbation):
    """The stimulus is trained on alone, unchanged."""
