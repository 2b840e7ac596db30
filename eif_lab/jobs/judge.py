"""Judging a job's array by its desiderata."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from eif_lab.desiderata.evaluation import evaluate_all, withhold_if_untaught
from eif_lab.desiderata.verdict import Verdict
from eif_lab.desiderata.wording import explain
from eif_lab.influence.agreement import agreement
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.job import Job
from eif_lab.jobs.record import Record
from eif_lab.results.cache import ArrayCache
from eif_lab.results.scalars import summarise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """The verdicts on an array, and its agreement with the other engine's.

    Attributes:
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no verdict.
        first_order: How far the first-order prediction is from the exact array; None until both are there.
    """

    verdicts: list[Verdict]
    not_applicable: Mapping[str, str]
    first_order: dict[str, Any] | None

    def summary(self, record: Record, seconds: float) -> dict[str, Any]:
        """The numbers and verdicts of a job by which runs are sorted.

        Args:
            record: The measurement's.
            seconds: Of the whole job.
        """
        speed = {"pairs_per_second": record.pairs_per_second, "seconds": seconds}
        far = {f"first_order/{name}": value for name, value in (self.first_order or {}).items()}
        return summarise(record.strength, self.verdicts, **speed) | far


def judge(job: Job, influence: xr.DataArray, record: Record, cache: ArrayCache) -> Judgement:
    """Hold an array to the job's desiderata.

    Args:
        job: The options.
        influence: The array.
        record: The measurement's.
        cache: Where the exact array of a prediction is, or the prediction of an exact one.
    """
    verdicts, not_applicable = evaluate_all(influence, job.desideratum, job.seed, job.readout[0])
    verdicts = withhold_if_untaught(verdicts, record.strength)
    for verdict in verdicts:
        log.info("%s: %s", verdict.desideratum, explain(verdict, record.unit))
    return Judgement(verdicts, not_applicable, distance_from_exact(job, influence, cache))


def distance_from_exact(job: Job, influence: xr.DataArray, cache: ArrayCache) -> dict[str, Any] | None:
    """How far the first-order array of this job is from the exact one, in its first readout; None until both are there.

    Whichever of the two comes second finds the other in the cache.
    """
    arrays = (cache.find(key_of(other)) for other in channel_of(job).counterparts())
    other = next((array for array in arrays if array is not None), None)
    if other is None:
        return None
    both = (other, influence) if job.engine.exact else (influence, other)
    far = agreement(*(array.sel(readout=job.readout[0]) for array in both))
    log.info(
        "first order against exact: Spearman %.3f, Pearson %.3f, relative error %.3g, same sign %.1f %% of %d cells",
        far.spearman, far.pearson, far.relative_error, 100 * far.sign_agreement, far.cells,
    )  # fmt: skip
    return far.describe()
