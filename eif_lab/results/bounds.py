"""Bounds of verdicts: those on two reference learners on a job's own stimuli and probes.

`perfect` does what the relations say and bounds a finding from above; `bag_of_words` only counts shared words, and a
test that it satisfies shows no understanding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from eif_lab.desiderata.desideratum import Desideratum
from eif_lab.desiderata.evaluation import evaluate_all, withhold_if_untaught
from eif_lab.desiderata.selection import select_readout
from eif_lab.desiderata.strength import strength_of
from eif_lab.desiderata.verdict import Verdict
from eif_lab.errors import ConfigError, NotApplicable
from eif_lab.options import choice
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE
from eif_lab.results.rows import by_desideratum, typed_frame, verdict_frame
from eif_lab.results.seeds import seeds_of
from eif_lab.results.summary import judged_unit
from eif_lab.results.tables import SWEEP_COLUMNS

LEARNERS = {"perfect": "perfect", "bag_of_words": "bag of words"}
"""Rules of `eif_lab.learners`, and what they are called beside a job's findings."""

NOISE = 0.1
"""Noise of their cells, in shares of the strength."""

IN_NATS = ("gain", "fall")
"""Statistics that grow with what was taught; no other does."""

MOST_CELLS = 4_000_000
"""Larger arrays are not imitated: the page of a job should take seconds."""


def bounds(
    influence: xr.DataArray, desiderata: Mapping[str, Desideratum], readout: str, seed: int = 0
) -> dict[str, list[Verdict]]:
    """The verdicts of the bounding learners, which are taught one nat.

    Args:
        influence: Whose stimuli, probes and relations are imitated; its values do not matter.
        desiderata: By name.
        readout: The one judged.
        seed: Of the learners' noise.

    Returns:
        By the names of `LEARNERS`; one that the samples are not for, as words are not for images, is left out. One
        that is taught nothing by our measure, as a bag of words is, has effects, and verdicts that are inconclusive.
    """
    from eif_lab.learners import imitate

    array, verdicts = select_readout(influence, readout), {}
    for rule in LEARNERS:
        try:
            learner = imitate(array, rule, NOISE, seed)
        except NotApplicable:
            continue
        judged, _ = evaluate_all(learner, desiderata, seed, readout)
        verdicts[rule] = withhold_if_untaught(judged, strength_of(learner, readout))
    return verdicts


class Bounds:
    """The bounding learners of jobs, made once for all jobs on the same samples and desiderata.

    Results may be somebody else's: a desideratum whose class is not to be trusted has no bounds.

    Args:
        trusted: Modules and packages whose desiderata may be imported.
    """

    def __init__(self, trusted: Sequence[str] = ("eif_lab",)) -> None:
        self.trusted = tuple(trusted)
        self._made: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def of(self, job: JobResults) -> dict[str, list[dict[str, Any]]]:
        """Each learner's rows of findings (`eif_lab.results.rows`), as if it was taught as much as the job.

        Empty where the job has no array, or one that cannot be imitated, such as one of an earlier format.
        """
        if job.manifest.status != DONE or not job.has_array:
            return {}
        key = _samples(job)
        if key not in self._made:
            self._made[key] = self._rows(job)
        strength = job.manifest.strength.effect
        taught = strength if strength is not None and strength > 0 else 1.0
        return {rule: [_rescaled(row, taught) for row in rows] for rule, rows in self._made[key].items()}

    def table(self, jobs: Sequence[JobResults]) -> pd.DataFrame:
        """Rows like those of the sweep's table, for each learner on each dataset; no p-value is corrected."""
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        for job in jobs:
            of_job = self.of(job)
            if not of_job or (dataset := dataset_name(job)) in seen:
                continue
            seen.add(dataset)
            rows += [_sweep_row(row, f"{LEARNERS[rule]} ({dataset})") for rule in of_job for row in of_job[rule]]
        return typed_frame(rows, SWEEP_COLUMNS)

    def _rows(self, job: JobResults) -> dict[str, list[dict[str, Any]]]:
        desiderata = {}
        for name, options in (job.manifest.config.get("desideratum") or {}).items():
            try:
                desiderata[name] = choice(f"desideratum.{name}", options, self.trusted)
            except ConfigError:  # of the user's own, or with the options of an earlier version
                continue
        array = job.influence
        if not desiderata or array.sizes["stimulus"] * array.sizes["probe"] > MOST_CELLS:
            return {}
        readout = str(array["readout"].values[0])
        try:
            verdicts = bounds(array, desiderata, readout, seeds_of(job.manifest.config)[0])
        except (ConfigError, KeyError, ValueError, TypeError, IndexError):  # coordinates that are not as they should be
            return {}
        return {rule: verdict_frame(each, {}, judged_unit(array)).to_dict("records") for rule, each in verdicts.items()}


def beside(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The learners' findings by desideratum and statistic, each with what the learner is called.

    Args:
        rows: As `Bounds.of` returns them.
    """
    findings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for rule, each in rows.items():
        for group in by_desideratum(each):
            for row in group:
                findings.setdefault((row["desideratum"], row["statistic"]), []).append(
                    {**row, "rule": rule, "learner": LEARNERS[rule]}
                )
    return findings


def dataset_name(job: JobResults) -> str:
    """The dataset of a job, with its view where it has one."""
    dataset = job.manifest.config.get("dataset") or {}
    name = str(job.influence.attrs.get("dataset") or dataset.get("name") or "its samples")
    return f"{name} ({dataset['view']})" if dataset.get("view") else name


def _samples(job: JobResults) -> str:
    """The key of everything that the learners' verdicts depend on."""
    manifest, config = job.manifest, job.manifest.config
    chosen = [config.get(name) for name in ("dataset", "perturbation", "desideratum")]
    size = [manifest.stimuli, manifest.probes, manifest.base_model.worlds_not_learnt]
    named = bool(config.get("dataset"))
    return json.dumps([chosen, seeds_of(config), size, "" if named else str(job.path)], sort_keys=True, default=str)


def _rescaled(row: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """A finding of a learner that was taught one nat, as if it was taught more."""
    scale = strength if row["statistic"] in IN_NATS else 1.0
    return {**row, **{name: row[name] * scale for name in ("effect", "low", "high", "chance")}}


def _sweep_row(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    known = {column: row[column] for column in SWEEP_COLUMNS if column in row}
    corrected = {"p_adjusted": row["p_value"], "p_violated_adjusted": row["p_violated"]}
    return {**known, **corrected, "job": name, "path": "", "verdict_alone": row["verdict"], "strength": math.nan}
