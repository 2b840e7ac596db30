"""The results of a sweep, and opening what a folder holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from eif_lab.errors import ConfigError, must_be, rule_error
from eif_lab.results.folders import MANIFEST, ended_jobs
from eif_lab.results.job import JobResults, open_in_sweep, open_job
from eif_lab.results.manifest import UNREADABLE
from eif_lab.results.tables import sweep_table, write_frame


@dataclass(frozen=True)
class SweepResults:
    """A sweep's results.

    Attributes:
        path: Its directory.
        jobs: Its jobs, by name; those that cannot be read among them, with the status ``unreadable``.
    """

    path: Path
    jobs: Sequence[JobResults]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Jobs by desiderata in long form, p-values corrected over the sweep."""
        return sweep_table(self.jobs)


def open_results(path: str | Path) -> JobResults | SweepResults:
    """Open a job's directory, or a directory of jobs as a sweep.

    A job of a sweep that is damaged, or was written by a newer version, does not hide the others: it has the status
    ``unreadable`` and says why.

    Raises:
        ConfigError: It is neither, or no job in it can be read.

    Examples:
        >>> sweep = open_results("outputs/sweeps/2026-11-23_15-36-46")
        >>> sweep.jobs[0].manifest.status
        'done'
    """
    must_be("results path", path, str | os.PathLike, "the path of a folder")
    if "\0" in os.fspath(path):
        raise rule_error("results path", "be a path without a null character", os.fspath(path))
    path = Path(path)
    if (path / MANIFEST).is_file():
        return open_job(path)
    folders = ended_jobs(path)
    if not folders:
        rule = f"be a job (a folder with {MANIFEST}) or a sweep (a folder of jobs)"
        raise rule_error("results path", rule, str(path), "Give the output folder that a finished run printed.")
    jobs = [open_in_sweep(folder, path) for folder in folders]
    if all(job.manifest.status == UNREADABLE for job in jobs):
        raise ConfigError(jobs[0].manifest.reason)
    return SweepResults(path, sorted(jobs, key=lambda job: (job.manifest.name, job.path)))


def write_sweep(directory: str | Path) -> pd.DataFrame:
    """Write a sweep's table to ``<directory>/sweep.parquet``.

    Returns:
        The table (`eif_lab.results.tables.sweep_table`).

    Raises:
        ConfigError: The directory holds no jobs.
        OSError: The file cannot be written.
    """
    sweep = open_results(directory)
    if not isinstance(sweep, SweepResults):
        raise rule_error("results path", "be a sweep (a folder of jobs)", str(directory), "Give the folder above it.")
    write_frame(sweep.path / "sweep.parquet", sweep.table)
    return sweep.table
