"""The results of a sweep, and opening what a folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from eif_lab.errors import rule_error
from eif_lab.results.folders import MANIFEST, ended_jobs
from eif_lab.results.job import (
    JobResults,
    open_job,
)
from eif_lab.results.rows import sweep_table


@dataclass(frozen=True)
class SweepResults:
    """A sweep's results.

    Attributes:
        path: Its directory.
        jobs: Its jobs, by name.
    """

    path: Path
    jobs: Sequence[JobResults]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Jobs by desiderata in long form, p-values corrected over the sweep."""
        return sweep_table(self.jobs)


def open_results(path: str | Path) -> JobResults | SweepResults:
    """Open a job's directory, or a directory of jobs as a sweep.

    Raises:
        ConfigError: It is neither, or was written by a newer version.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        return open_job(path)
    folders = ended_jobs(path)
    if not folders:
        rule = f"be a job (a folder with {MANIFEST}) or a sweep (a folder of jobs)"
        raise rule_error("results path", rule, str(path), "Give the output folder that a finished run printed.")
    jobs = [open_job(folder) for folder in folders]
    return SweepResults(path, sorted(jobs, key=lambda job: (job.manifest["name"], job.path)))
