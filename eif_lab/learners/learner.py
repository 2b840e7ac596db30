"""A reference learner as the model of a job."""

from __future__ import annotations

from dataclasses import dataclass

from eif_lab.learners.imitation import title
from eif_lab.learners.rules import RULES
from eif_lab.models.base import Model
from eif_lab.options import option


@dataclass
class Learner(Model):
    """A rule in place of a model: nothing is trained or read, and the method, the update and the engine have no say.

    Attributes:
        rule: One of `eif_lab.learners.RULES`.
        noise: Standard deviation of the noise on each cell, in shares of what is taught.
    """

    rule: str = option("perfect", one_of=RULES, hint="Try perfect.")
    noise: float = option(0.1, at_least=0, hint="Try 0.1.")

    @property
    def name(self) -> str:
        """What it is and which rule it follows."""
        return title(self.rule)
