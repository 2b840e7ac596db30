"""A job's directory: what it holds, writing it, and opening it.

The layout:

    <job>/influence.zarr      the influence array (`arrays`)
    <job>/verdicts.parquet    one row per finding (`rows.verdict_frame`)
    <job>/checksums.txt       of both, in the format of sha256sum: what is read is compared with it
    <job>/manifest.json       written last: a directory without it is not done
    <job>/job.lock            held by the process that runs the job, as long as it lives
    <sweep>/<job>/...         a sweep is a directory of jobs, at any depth (`folders`)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from eif_lab.desiderata.verdict import Verdict
from eif_lab.errors import ConfigError, one_line, rule_error
from eif_lab.files.checksums import (
    SUMS,
    clear_partial_writes,
    damage,
    difference,
    read_sums,
    replace_file,
    sha256,
    write_sums,
)
from eif_lab.files.locks import is_locked, locked
from eif_lab.results.arrays import damage_error, open_array, write_array
from eif_lab.results.comparison import above_neutral, per_nat
from eif_lab.results.display import job_html, job_text
from eif_lab.results.folders import MANIFEST
from eif_lab.results.manifest import (
    DONE,
    FORMAT,
    UNREADABLE,
    Manifest,
    in_json,
    manifest_text,
    parse_manifest,
    require_name_and_status,
    with_all_fields,
)
from eif_lab.results.provenance import package_versions, provenance
from eif_lab.results.rows import VERDICT_COLUMNS, rows_of, typed_frame, verdict_frame
from eif_lab.results.summary import judged_unit

ARRAY, VERDICTS, LOCK = "influence.zarr", "verdicts.parquet", "job.lock"

CHECKED = (ARRAY, VERDICTS)
"""Files of a job that have checksums; the manifest has the checksum of the checksums."""


@dataclass(frozen=True)
class JobResults:
    """One job's results.

    Attributes:
        path: Its directory.
        manifest: What it is, how it ended and where it came from.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return job_text(self)

    def _repr_html_(self) -> str:
        return job_html(self)

    @property
    def has_array(self) -> bool:
        """Whether the job left an influence array that can be read."""
        return self.manifest.status != UNREADABLE and (self.path / ARRAY).is_dir()

    @cached_property
    def influence(self) -> xr.DataArray:
        """The influence array, dims (seed, stimulus, step, probe, readout); values are read when asked for.

        Raises:
            ConfigError: The job left no array, or what is read of it is damaged; also later, when values are read.
        """
        if not self.has_array:
            status = " ".join(filter(None, [self.manifest.status, self.manifest.reason]))
            raise rule_error("results path", f"hold {ARRAY}", str(self.path), f"The job's status: {status}")
        return open_array(self.path / ARRAY, self.sums)

    @cached_property
    def sums(self) -> Mapping[str, str] | None:
        """The checksum of each file of the results; None where they were written before there were checksums.

        Raises:
            ConfigError: The checksums themselves are damaged.
        """
        if self.manifest.checksum is None:
            return None
        file = self.path / SUMS
        content = file.read_bytes() if file.is_file() else None
        if change := difference(SUMS, content, {SUMS: self.manifest.checksum}):
            raise damage_error(self.path, change)
        assert content is not None
        return read_sums(content.decode())

    @cached_property
    def influence_per_nat(self) -> xr.DataArray:
        """The influence array divided by the strength of what was taught (``manifest.strength``), nat per nat.

        What methods do can be compared in it, also where they were not matched in strength.

        Raises:
            ConfigError: Strength is not clearly above zero, or the job's first readout is not in nats.
        """
        strength = self.manifest.strength
        if self.manifest.unit != "nat":
            raise rule_error("readout", "have one in nats first", self.manifest.unit, "Try readout=[log_prob].")
        if strength.effect is None or (strength.low or 0) <= 0:
            raise rule_error("strength", "be clearly above zero to be divided by", strength.effect)
        return per_nat(self.influence, strength.effect)

    @cached_property
    def above_neutral(self) -> xr.DataArray:
        """The influence array less what the neutral stimulus of the same world does, without the neutral stimuli.

        Raises:
            ConfigError: A stimulus has no neutral one.
        """
        return above_neutral(self.influence)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row per finding, and one per desideratum that does not apply (`rows.verdict_frame`).

        Raises:
            ConfigError: They are damaged.
        """
        return typed_frame([dict(row) for row in self.verdict_rows], VERDICT_COLUMNS)

    @cached_property
    def verdict_rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of `verdicts` as plain values, which thousands of jobs are read by.

        Raises:
            ConfigError: They are damaged.
        """
        if self.manifest.status == UNREADABLE:
            return []
        content = (self.path / VERDICTS).read_bytes()
        if self.sums is not None and (change := difference(VERDICTS, content, self.sums)):
            raise damage_error(self.path, change)
        try:
            return rows_of(content)
        except ValueError as error:
            raise damage_error(self.path, f"{VERDICTS} holds no verdicts: {one_line(error)}") from None


def write_job(
    directory: Path,
    manifest: Mapping[str, Any],
    influence: xr.DataArray | None,
    verdicts: Sequence[Verdict],
    not_applicable: Mapping[str, str],
) -> None:
    """Write one job's results; the manifest comes last and marks the job as done.

    Args:
        directory: The job's own; results that stand there are replaced.
        manifest: Fields of `Manifest`, ``name`` and ``status`` at least, and whatever else is to be known; the
            provenance, the format, the time and the checksum are added.
        influence: The array; None where the job has none.
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no meaning here.

    Raises:
        ValueError: No name, or no such status.
        OSError: The directory cannot be written.
    """
    require_name_and_status(manifest)
    write_results(directory, influence, verdicts, not_applicable)
    write_manifest(directory, manifest)


def write_results(
    directory: Path, influence: xr.DataArray | None, verdicts: Sequence[Verdict], not_applicable: Mapping[str, str]
) -> None:
    """Write a job's array and verdicts; without its manifest the job is not done yet.

    Args:
        directory: The job's own; results that stand there are replaced.
        influence: The array; None where the job has none.
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no meaning here.

    Raises:
        OSError: The directory cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(directory / ARRAY, ignore_errors=True)
    if influence is not None:
        write_array(directory / ARRAY, influence)
    verdict_frame(verdicts, not_applicable, judged_unit(influence)).to_parquet(directory / VERDICTS)
    write_sums(directory, CHECKED)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Mark a job as done, or as it ended.

    Args:
        directory: The job's own, after `write_results`.
        manifest: See `write_job`.

    Raises:
        ValueError: No name, or no such status.
        OSError: The directory cannot be written.
    """
    require_name_and_status(manifest)
    directory = Path(directory)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    checksum = sha256((directory / SUMS).read_bytes())
    whole = with_all_fields({**provenance(), "created": created, "checksum": checksum, **manifest})
    clear_partial_writes(directory / MANIFEST)
    replace_file(directory / MANIFEST, manifest_text(whole).encode())


def finished_job(directory: Path, config: Mapping[str, Any], key: str) -> JobResults | None:
    """The job in ``directory`` if it is done and whole, and the same would be measured again by the same packages.

    Args:
        directory: The job's own.
        config: The options of now, as plain containers.
        key: The key of the array that is wanted, which depends on data and checkpoints as they are now.
    """
    wanted = {"status": DONE, "config": in_json(config), "array": key, "versions": package_versions()}
    job = whole_job(directory)
    return job if job is not None and {name: job.manifest.get(name) for name in wanted} == wanted else None


def whole_job(directory: Path) -> JobResults | None:
    """The job in ``directory`` if it is done and nothing of it is damaged, whatever its options."""
    try:
        job = open_job(directory)
        done = job.manifest.status == DONE and job.manifest.format == FORMAT
        return job if done and job.sums is not None and not damage(directory, CHECKED) else None
    except (ConfigError, OSError):
        return None


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Within this, no other process runs the job of ``directory``; one that does is waited for."""
    with locked(directory / LOCK, "runs this job"):
        yield


def is_running(directory: Path) -> bool:
    """Whether a process that lives runs the job of ``directory``."""
    return is_locked(directory / LOCK)


def open_job(path: Path) -> JobResults:
    """Open a job's directory.

    Raises:
        ConfigError: Its manifest is damaged, a field is not what it should be, or it was written by a newer version.
    """
    file = path / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} must be a job's manifest, got {error!r}. Run the job again.") from error
    return JobResults(path, parse_manifest(text, file))


def open_in_sweep(path: Path, sweep: Path) -> JobResults:
    """Open a job of a sweep; one that cannot be read has the status `UNREADABLE` and says why, under its place's name.

    Args:
        path: The job's directory.
        sweep: The directory above it.
    """
    try:
        job = open_job(path)
        _ = job.verdict_rows
    except (ConfigError, OSError) as error:
        return JobResults(path, Manifest(name=str(path.relative_to(sweep)), status=UNREADABLE, reason=str(error)))
    return job
