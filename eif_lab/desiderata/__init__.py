"""Influence array -> verdict: each desideratum a claim, a statistic and a test."""

from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.evaluation import adjust, evaluate_all
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED, Finding, Verdict

__all__ = ["INCONCLUSIVE", "SATISFIED", "VIOLATED", "Desideratum", "Finding", "Verdict", "adjust", "evaluate_all"]
