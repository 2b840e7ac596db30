"""What the desiderata say of a job's array."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from eif_lab.desiderata import evaluate_all
from eif_lab.desiderata.verdict import SATISFIED, Finding, Verdict
from eif_lab.influence.agreement import agreement
from eif_lab.influence.engines.auto import Auto
from eif_lab.influence.engines.factored import Factored
from eif_lab.influence.engines.first_order import FirstOrder
from eif_lab.influence.engines.loop import Loop
from eif_lab.influence.engines.reference import Reference
from eif_lab.influence.engines.stacked import Stacked
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.job import Job
from eif_lab.jobs.record import interval, log_record
from eif_lab.results.cache import ArrayCache
from eif_lab.results.scalars import summarise

log = logging.getLogger(__name__)

DIRECT_ALPHA = 0.05
"""Level at which direct influence must be above zero for verdicts to be about something."""


Judged = tuple[list[Verdict], dict[str, str]]
"""Verdicts, and why desiderata have none."""


def judged(job: Job, influence: xr.DataArray, cache: ArrayCache) -> tuple[Judged, dict[str, Any]]:
    """What the desiderata say of an array, and the manifest's part on what was found.

    Args:
        job: The options.
        influence: The array.
        cache: Where the exact array of a prediction is, or the other way round.
    """
    record = json.loads(influence.attrs["record"])
    log_record(record)
    finding = Finding(**record["direct_influence"])
    verdicts, missing = evaluate_all(influence, job.desideratum, job.seed, job.readout[0])
    if finding.verdict(DIRECT_ALPHA) != SATISFIED:
        note = f"direct influence is not clearly above zero ({interval(finding)}): this verdict is about nothing"
        verdicts = [about_nothing(verdict, note) for verdict in verdicts]
    return (verdicts, missing), {"first_order": distance_from_exact(job, influence, cache), **record}


def summary(verdicts: Sequence[Verdict], found: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and verdicts of a job by which runs are sorted."""
    speed = {name: found[name] for name in ("pairs_per_second", "seconds")}
    far = {f"first_order/{name}": value for name, value in (found["first_order"] or {}).items()}
    return summarise(Finding(**found["direct_influence"]), verdicts, **speed) | far


def distance_from_exact(job: Job, influence: xr.DataArray, cache: ArrayCache) -> dict[str, Any] | None:
    """How far the first-order array of this job is from the exact one, in its first readout; None until both are there.

    Whichever of the two comes second finds the other in the cache.
    """
    if not job.method.trains:
        return None
    others = (Auto(), Factored(), Stacked(), Loop(), Reference()) if not job.engine.exact else (FirstOrder(),)
    found = (cache.find(key_of(dataclasses.replace(job, engine=other))) for other in others)
    other = next((array for array in found if array is not None), None)
    if other is None:
        return None
    both = (other, influence) if job.engine.exact else (influence, other)
    far = agreement(*(array.sel(readout=job.readout[0]) for array in both))
    log.info(
        "first order against exact: Spearman %.3f, Pearson %.3f, relative error %.3g, same sign %.1f %% of %d cells",
        far.spearman, far.pearson, far.relative_error, 100 * far.sign_agreement, far.cells,
    )  # fmt: skip
    return far.describe()


def about_nothing(verdict: Verdict, note: str) -> Verdict:
    """The verdict without its p-values, which leaves it inconclusive."""
    blank = [dataclasses.replace(finding, p_value=math.nan) for finding in verdict.findings]
    return dataclasses.replace(verdict, findings=blank, note=note)
