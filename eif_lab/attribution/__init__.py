"""Attribution scores of any origin: reading them, and how well they foretell what training did."""

from eif_lab.attribution.measure import Measure
from eif_lab.attribution.reading import read_scores
from eif_lab.attribution.sources import SOURCES
from eif_lab.attribution.truth import datamodeling_score, leave_one_out_correlation, removal_difference, top_sets

__all__ = [
    "SOURCES",
    "Measure",
    "datamodeling_score",
    "leave_one_out_correlation",
    "read_scores",
    "removal_difference",
    "top_sets",
]
