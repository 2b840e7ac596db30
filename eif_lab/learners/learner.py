"""A reference learner as the model of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from eif_lab.learners.imitation import imitate, title
from eif_lab.learners.rules import RULES
from eif_lab.models.substitute import Substitute
from eif_lab.options import option


@dataclass
class Learner(Substitute):
    """A rule in place of a model: nothing is trained or read, and the method, the update and the engine have no say.

    Attributes:
        rule: One of `eif_lab.learners.RULES`.
        noise: Standard deviation of the noise on each cell, in shares of what is taught.
    """

    engine: ClassVar[str] = "rule"

    rule: str = option("perfect", one_of=RULES, hint="Try perfect.")
    noise: float = option(0.1, at_least=0, hint="Try 0.1.")

    @property
    def name(self) -> str:
        """What it is and which rule it follows."""
        return title(self.rule)

    @property
    def origin(self) -> str:
        """That there is no model."""
        return "a rule and no model, so that the right verdicts are known"

    def influence(self, array: xr.DataArray, seed: int) -> xr.DataArray:
        """The array that the rule makes."""
        return imitate(array, self.rule, self.noise, seed)
