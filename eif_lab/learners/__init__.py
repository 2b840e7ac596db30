"""Reference learners: influence arrays made by a rule and not by a model, whose verdicts are known beforehand."""

from eif_lab.learners.imitation import imitate
from eif_lab.learners.rules import RULES

__all__ = ["RULES", "imitate"]
