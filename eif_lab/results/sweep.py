"""The results of a sweep, and opening what a folder holds."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eif_lab.errors import ConfigError, must_be, rule_error
from eif_lab.results.display import matrix, sweep_html, sweep_text
from eif_lab.results.folders import MANIFEST, ended_jobs
from eif_lab.results.job import JobResults, open_in_sweep, open_job
from eif_lab.results.manifest import UNREADABLE
from eif_lab.results.settings import fitting
from eif_lab.results.tables import distinct_names, sweep_table, write_frame


@dataclass(frozen=True)
class SweepResults:
    """A sweep's results: ``sweep["phi3-tiny ontology lora"]`` is a job, ``len(sweep)`` their number.

    Attributes:
        path: Its directory.
        jobs: Its jobs, by name; those that cannot be read among them, with the status ``unreadable``.
        family: The jobs over which p-values are corrected: all of the sweep, also where ``jobs`` are some of them.
    """

    path: Path
    jobs: Sequence[JobResults]
    family: Sequence[JobResults] = ()

    def __repr__(self) -> str:
        return sweep_text(self)

    def _repr_html_(self) -> str:
        return sweep_html(self)

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[JobResults]:
        return iter(self.jobs)

    @cached_property
    def names(self) -> list[str]:
        """The names of the jobs; where several share one, with the overrides that they do not all share."""
        whole = self.family or self.jobs
        paths = {job.path: name for job, name in zip(whole, distinct_names(whole))}
        return [paths[job.path] for job in self.jobs]

    def __getitem__(self, name: str) -> JobResults:
        """A job by its name, one of ``names``.

        Raises:
            ConfigError: There is no such job, or several have the name.
        """
        must_be("job", name, str, "the name of a job", "Try sweep.jobs[0] for a job by its place.")
        places = [place for place, one in enumerate(self.names) if one == name]
        if len(places) == 1:
            return self.jobs[places[0]]
        if places:
            folders = ", ".join(str(self.jobs[place].path) for place in places)
            raise rule_error("job", "be the name of one job", name, f"Try open_results of one of {folders}.")
        near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.4) or self.names[:3]
        names = " or ".join(map(repr, near))
        raise rule_error("job", f"be the name of one of the {len(self)} jobs", name, f"Did you mean {names}?")

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def sel(self, settings: Mapping[str, Any] | None = None, /, **more: Any) -> SweepResults:
        """The jobs with these settings, as a smaller sweep whose p-values stay corrected over the whole one.

        Args:
            settings: Values by name, for names with dots: ``{"update.steps": 5}``.
            more: Values by name: ``method="lora"``; a list fits any of its values. ``model``, ``dataset``, ``method``,
                ``perturbation`` and ``engine`` are called what the results call them, other names are options of the
                job's config.

        Raises:
            ConfigError: No job has such a setting, none has such a value, or none has all of them.

        Examples:
            >>> sweep = open_results("outputs/sweeps/2026-11-23_15-36-46")
            >>> sweep.sel(method="full", seed=0).names
            ['cnn digits full']
        """
        return replace(self, jobs=fitting(self.jobs, {**(settings or {}), **more}), family=self.family or self.jobs)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Jobs by desiderata in long form, a row per finding, p-values corrected over the sweep."""
        whole = sweep_table(self.family or self.jobs)
        return whole[whole["path"].isin({str(job.path) for job in self.jobs})].reset_index(drop=True)

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """Jobs (rows, by ``names``) by desiderata (columns), to look at; `table` has the numbers.

        A cell is text: the mark of the verdict, corrected over the sweep (✓ satisfied, ✗ violated, ? inconclusive), and
        the effect of the finding that it hangs on: the headline where all hold, the one that fails or is undecided
        where not, which has its name beside it unless it is the headline: ``✗ reach 0.03 short``. A dash stands where a
        desideratum was not tested, and how a job ended where it is not done.
        """
        return matrix(self.jobs, self.names, self.table)


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
    """Write a sweep's table to ``<directory>/sweep.parquet``; paths in it are relative, since a folder may be moved.

    Returns:
        The table (`eif_lab.results.tables.sweep_table`).

    Raises:
        ConfigError: The directory holds no jobs.
        OSError: The file cannot be written.
    """
    sweep = open_results(directory)
    if not isinstance(sweep, SweepResults):
        raise rule_error("results path", "be a sweep (a folder of jobs)", str(directory), "Give the folder above it.")
    relative = {str(job.path): job.path.relative_to(sweep.path).as_posix() for job in sweep.jobs}
    write_frame(sweep.path / "sweep.parquet", sweep.table.assign(path=sweep.table["path"].replace(relative)))
    return sweep.table
