"""Jobs that differ in nothing but their seeds, as one array, and the verdicts over them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from eif_lab.desiderata.evaluation import adjust
from eif_lab.desiderata.runs import of_every_run, over_runs
from eif_lab.desiderata.verdict import VERDICTS, Verdict
from eif_lab.errors import rule_error
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, HOW_RUN
from eif_lab.results.rows import NUMBER, TEXT, typed_frame, verdicts_of
from eif_lab.results.sweep import SweepResults, open_results
from eif_lab.results.tables import unique_names, write_frame

log = logging.getLogger(__name__)

SEEDS = ("seed", "data_seed", "update.seed")
"""Options that say what is drawn: the run of training by the first and the last, the samples by the second."""

LEVEL = 0.95
"""Of Student's intervals over seeds, two-sided."""

SEEDS_COLUMNS = {
    "job": TEXT,
    "data_seed": "Int64",
    "desideratum": TEXT,
    "finding": "Int64",
    "statistic": TEXT,
    "threshold": NUMBER,
    "seeds": "Int64",
    "mean": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "run_share": NUMBER,
    "verdict": TEXT,
    "p_value": NUMBER,
    "p_adjusted": NUMBER,
    "p_violated": NUMBER,
    "p_violated_adjusted": NUMBER,
    **dict.fromkeys(VERDICTS, "Int64"),
    "how": TEXT,
}


def same_but_for_seeds(jobs: Sequence[JobResults]) -> list[list[JobResults]]:
    """The jobs that are done, in groups that differ in nothing but their seeds, each by ``seed`` and ``data_seed``."""
    groups: dict[str, list[JobResults]] = {}
    for job in jobs:
        if job.manifest.status == DONE and job.manifest.config:
            groups.setdefault(json.dumps(but_for_seeds(job.manifest.config), sort_keys=True), []).append(job)
    return [sorted(group, key=lambda job: seeds_of(job.manifest.config)) for group in groups.values()]


def but_for_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say which job it is, without its seeds."""
    shared = {name: one for name, one in config.items() if name not in (*SEEDS, *HOW_RUN)}
    if shared.get("update"):
        shared["update"] = {name: one for name, one in shared["update"].items() if name != "seed"}
    return shared


def seeds_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """The seed of base training and method, and that of the draw of samples, from a job's config; they may be one."""
    seed = int(config.get("seed", 0))
    return seed, int(config.get("data_seed", seed))


def over_seeds(jobs: Sequence[JobResults]) -> xr.DataArray:
    """The influence arrays of jobs that differ in nothing but their seeds, as one, in memory.

    Args:
        jobs: For example ``open_results(sweep).jobs`` of ``-m seed=0,1,2``.

    Returns:
        Dims (seed, stimulus, step, probe, readout), with ``data_seed`` along ``seed``. What is the same for all seeds
        is a coordinate as ever; where they watch other samples, stimuli are matched by their place, and the coordinates
        that differ have the dimension ``seed`` too. A stimulus and probe of other words or pixels are then the same in
        no more than their place in the draw.

    Raises:
        ConfigError: The jobs are fewer than two, differ in more than seeds, or hold arrays of different sizes.
    """
    groups = same_but_for_seeds(jobs)
    if len(groups) != 1 or len(groups[0]) < 2:
        sizes = [len(group) for group in groups]
        rule = "be at least two that are done and differ in nothing but their seeds"
        raise rule_error("jobs", rule, f"groups of {sizes}", "Give one group of same_but_for_seeds().")
    arrays = [job.influence.load() for job in groups[0]]
    seeds = [seeds_of(job.manifest.config) for job in groups[0]]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(f"{array.shape} for seeds {pair}" for pair, array in zip(seeds, arrays))
        raise rule_error("jobs", "hold arrays of one size", shapes, "Leave out the seed that excluded worlds.")
    first = arrays[0]
    coords: dict[Any, Any] = {name: _along_seed(name, arrays) for name in first.coords if name != "seed"}
    coords["seed"] = [seed for seed, _ in seeds]
    coords["data_seed"] = ("seed", [drawn for _, drawn in seeds])
    values = np.concatenate([array.values for array in arrays], axis=first.dims.index("seed"))
    return xr.DataArray(values, dims=first.dims, coords=coords, name=first.name, attrs=first.attrs)


def _along_seed(name: Any, arrays: Sequence[xr.DataArray]) -> Any:
    """A coordinate as all have it, or with the dimension ``seed``; of a dimension, that of the first."""
    each = [array.coords[name] for array in arrays]
    same = all(np.array_equal(one.values, each[0].values, equal_nan=one.dtype.kind == "f") for one in each)
    if same or name in arrays[0].dims:
        return each[0].variable
    return xr.Variable(("seed", *each[0].dims), np.stack([one.values for one in each]))


def mean_over_seeds(array: xr.DataArray) -> xr.Dataset:
    """Mean of each cell over the seeds, with Student's interval: variables ``mean``, ``low``, ``high``."""
    mean, low, high = student_interval(array.values, array.dims.index("seed"))
    shared = array.drop_vars([name for name, coordinate in array.coords.items() if "seed" in coordinate.dims])
    plain = shared.isel(seed=0, drop=True)
    return xr.Dataset({"mean": plain.copy(data=mean), "low": plain.copy(data=low), "high": plain.copy(data=high)})


def student_interval(values: np.ndarray, axis: int = 0) -> tuple[Any, Any, Any]:
    """Mean and Student's 95 % interval along an axis of at least two independent draws."""
    count, mean = values.shape[axis], values.mean(axis)
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(axis, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def seeds_table(jobs: Sequence[JobResults], table: pd.DataFrame) -> pd.DataFrame:
    """Each finding of each group of at least two seeds, over all of them.

    Jobs on the same samples are runs, and their verdicts are put together as `eif_lab.judge` does with an array of
    several seeds (`eif_lab.desiderata.runs`); its p-values are corrected over the groups (Benjamini-Hochberg). Seeds
    that each draw their own samples are independent as a whole: there it is the mean effect with Student's interval,
    over those in which it was tested where at least two were, and no verdict.

    Args:
        jobs: Of a sweep.
        table: The sweep's, whose corrected verdicts are counted.

    Returns:
        ``job``, ``data_seed`` (missing where samples differ), ``desideratum``, ``finding``, ``statistic``,
        ``threshold``, ``seeds`` (how many are in the mean), ``mean``, ``low``, ``high``; of runs also ``run_share``
        (their share of the variance of the mean), and the desideratum's ``verdict`` with ``p_value``, ``p_adjusted``,
        ``p_violated``, ``p_violated_adjusted``; then how many seeds were ``satisfied``, ``violated``, ``inconclusive``
        by themselves, and ``how`` those fail that are violated; empty where no group has two.
    """
    rows, tested = [], []
    groups = same_but_for_seeds(jobs)
    for group, name in zip(groups, group_names(groups)):
        for data_seed, drawn in by_draw(group):
            findings = table[table["path"].isin([str(job.path) for job in drawn]) & (table["status"] == DONE)]
            shared = {"job": name, "data_seed": data_seed}
            if data_seed is None:
                rows += [{**shared, **row} for row in _over_draws(findings, tested_in(drawn))]
                continue
            for verdict in verdicts_over_runs(drawn):
                block = [{**shared, **row} for row in _over_runs(verdict, findings)]
                tested.append((block, verdict))
                rows += block
    satisfied, violated = (adjust([getattr(one, p) for _, one in tested]) for p in ("p_value", "p_violated"))
    for (block, verdict), p_adjusted, p_violated in zip(tested, satisfied, violated):
        corrected = {"p_adjusted": p_adjusted, "p_violated_adjusted": p_violated}
        for row in block:
            row |= {**corrected, "verdict": verdict.outcome(p_adjusted, p_violated)}
    return typed_frame(rows, SEEDS_COLUMNS) if rows else pd.DataFrame()


def by_draw(group: Sequence[JobResults]) -> list[tuple[int | None, list[JobResults]]]:
    """The jobs of a group that share their samples, by their data seed, and by None those that share them with none.

    Each time they are at least two. Of one data seed, those that left out the same worlds, which a base model had not
    learnt: the largest number of such jobs counts, and the log says of the others that they do not.
    """
    drawn: dict[int, list[JobResults]] = {}
    for job in group:
        drawn.setdefault(seeds_of(job.manifest.config)[1], []).append(job)
    alone = [jobs[0] for jobs in drawn.values() if len(jobs) == 1]
    runs = {seed: on_the_same_worlds(jobs) for seed, jobs in drawn.items()}
    several: list[tuple[int | None, list[JobResults]]] = [(seed, jobs) for seed, jobs in runs.items() if len(jobs) > 1]
    return several + ([(None, alone)] if len(alone) > 1 else [])


def on_the_same_worlds(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The most jobs of one data seed that left out the same worlds, and so have the same samples."""
    left_out: dict[str, list[JobResults]] = {}
    for job in jobs:
        left_out.setdefault(json.dumps(job.manifest.base_model.worlds_not_learnt or []), []).append(job)
    most = max(left_out.values(), key=len)
    if others := [str(seeds_of(job.manifest.config)[0]) for job in jobs if job not in most]:
        told = "%s: other worlds were left out with seed %s, which is no run beside the others"
        log.warning(told, jobs[0].manifest.name, ", ".join(others))
    return most


def verdicts_over_runs(jobs: Sequence[JobResults]) -> list[Verdict]:
    """The verdicts over jobs on the same samples, from those that each of them stored.

    Args:
        jobs: That differ in nothing but their seeds and have one data seed.
    """
    stored = [{verdict.desideratum: verdict for verdict in verdicts_of(job.verdict_rows)} for job in jobs]
    return [over_runs(each) for each in of_every_run(stored)]


def _over_runs(verdict: Verdict, findings: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each finding of a verdict over runs, beside the single jobs' own."""
    name = verdict.desideratum
    shared = {"desideratum": name, "p_value": verdict.p_value, "p_violated": verdict.p_violated}
    return [
        {
            **shared,
            **{name: getattr(one, name) for name in ("statistic", "threshold", "low", "high", "run_share")},
            **_counts(findings[(findings["desideratum"] == name) & (findings["finding"] == place)]),
            "finding": place,
            "seeds": one.runs,
            "mean": one.effect,
        }
        for place, one in enumerate(verdict.findings)
    ]


def tested_in(jobs: Sequence[JobResults]) -> set[tuple[str, str, int]]:
    """Path, desideratum and place of each finding that has a p-value: enough was taught there, of enough units."""
    return {
        (str(job.path), row["desideratum"], row["finding"])
        for job in jobs
        for row in job.verdict_rows
        if not (math.isnan(row["finding_p_value"]) and math.isnan(row["finding_p_violated"]))
    }


def _over_draws(findings: pd.DataFrame, tested: Collection[tuple[str, str, int]]) -> Iterator[dict[str, Any]]:
    """A row for each finding of jobs on samples of their own: the mean effect with Student's interval.

    It is over the jobs in which the finding was tested, where these are at least two; else over all.
    """
    for (desideratum, finding), each in findings.groupby(["desideratum", "finding"], sort=False):
        known = each[[(path, desideratum, finding) in tested for path in each["path"]]]
        meant = known if len(known) > 1 else each
        if len(meant) > 1:
            mean, low, high = student_interval(meant["effect"].to_numpy())
            row = {"desideratum": desideratum, "finding": finding, "seeds": len(meant), "mean": mean}
            row |= {column: each[column].iloc[0] for column in ("statistic", "threshold")}
            yield {**row, "low": low, "high": high, **_counts(each)}


def _counts(each: pd.DataFrame) -> dict[str, Any]:
    counts: dict[str, Any] = {one: int((each["verdict"] == one).sum()) for one in VERDICTS}
    return {**counts, "how": ", ".join(sorted(set(each["how"]) - {""}))}


def write_seeds(directory: Path) -> pd.DataFrame:
    """Write a sweep's `seeds_table` to ``<directory>/seeds.parquet``, where it has rows; the table."""
    sweep = open_results(directory)
    assert isinstance(sweep, SweepResults)
    table = seeds_table(sweep.jobs, sweep.table)
    if len(table):
        write_frame(directory / "seeds.parquet", table)
    return table


def group_names(groups: Sequence[Sequence[JobResults]]) -> list[str]:
    """The groups' names; where several share one, with the overrides that they do not all share."""
    first = [group[0].manifest for group in groups]
    overrides = [[one for one in map(str, job.overrides) if one.split("=")[0] not in SEEDS] for job in first]
    return unique_names([job.name for job in first], overrides)
