"""What runs leave on disk: one directory per job, arrays found again by what determines them, and opening both.

The layout:

    <job>/influence.zarr      the influence array (`arrays`)
    <job>/verdicts.parquet    one row per finding (`rows.verdict_frame`)
    <job>/checksums.txt       of both, in the format of sha256sum: what is read is held to it
    <job>/manifest.json       written last: a directory without it is not done
    <job>/job.lock            held by the process that runs the job, as long as it lives
    <sweep>/<job>/...         a sweep is a directory of jobs, at any depth (`folders`)
"""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eif_lab.desiderata.verdict import Verdict
from eif_lab.errors import ConfigError, one_line, rule_error
from eif_lab.files.checksums import SUMS, clear_cut_off, damage, difference, read_sums, replace_file, sha256, write_sums
from eif_lab.files.locks import is_locked, locked
from eif_lab.results.arrays import damaged, open_array, write_array
from eif_lab.results.comparison import above_neutral, per_nat
from eif_lab.results.folders import MANIFEST
from eif_lab.results.manifest import checked_manifest
from eif_lab.results.provenance import package_versions, provenance
from eif_lab.results.rows import DONE, FAILED, NOT_APPLICABLE, rows_of, verdict_frame

FORMAT = 2
"""Raised when a reader of the previous format would misread what is written; from 2 on a manifest has a digest."""


ARRAY, VERDICTS, LOCK = "influence.zarr", "verdicts.parquet", "job.lock"


DIGEST = "digest"


STATUSES = (DONE, FAILED, NOT_APPLICABLE)


CHECKED = (ARRAY, VERDICTS)
"""What the checksums of a job are of; the manifest has the checksums' own."""


MANIFEST_DEFAULTS: Mapping[str, Any] = {
    "reason": "",
    "config": None,
    "overrides": [],
    "seeds": None,
    "base_model": None,
    "trained_parameters": None,
    "direct_influence": None,
    "measured": None,
    "seconds": None,
}


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobResults:
    """One job's results.

    Attributes:
        path: Its directory.
        manifest: What it is, how it ended and where it came from.
    """

    path: Path
    manifest: Mapping[str, Any]

    @cached_property
    def influence(self) -> xr.DataArray:
        """The influence array, dims (seed, stimulus, step, probe, readout); values are read when asked for.

        Raises:
            ConfigError: The job left no array, or what is read of it is damaged; also later, when values are read.
        """
        if not (self.path / ARRAY).is_dir():
            told = " ".join(filter(None, [self.manifest["status"], self.manifest["reason"]]))
            raise rule_error("results path", f"hold {ARRAY}", str(self.path), f"The job's status: {told}")
        return open_array(self.path / ARRAY, self.sums)

    @cached_property
    def sums(self) -> Mapping[str, str] | None:
        """The checksum of each file of the results; None where they were written before there were checksums.

        Raises:
            ConfigError: The checksums themselves are damaged.
        """
        if "checksum" not in self.manifest:
            return None
        file = self.path / SUMS
        content = file.read_bytes() if file.is_file() else None
        if told := difference(SUMS, content, {SUMS: self.manifest["checksum"]}):
            raise damaged(self.path, told)
        assert content is not None
        return read_sums(content.decode())

    @cached_property
    def influence_per_nat(self) -> xr.DataArray:
        """The influence array divided by the mean direct influence (``manifest["direct_influence"]``), nat per nat.

        What methods do can be compared in it, also where they were not matched in strength.

        Raises:
            ConfigError: Direct influence is not clearly above zero, or the job's first readout is not in nats.
        """
        direct, unit = self.manifest["direct_influence"] or {}, self.manifest.get("unit")
        if unit != "nat":
            raise rule_error("readout", "have one in nats first", unit, "Try readout=[log_prob].")
        if (direct.get("low") or 0) <= 0:
            raise rule_error("direct_influence", "be clearly above zero to be divided by", direct.get("effect"))
        return per_nat(self.influence, direct["effect"])

    @cached_property
    def above_neutral(self) -> xr.DataArray:
        """The influence array less what the neutral stimulus of the same world does, without the neutral stimuli.

        Raises:
            ConfigError: A stimulus has no neutral one.
        """
        return above_neutral(self.influence)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row per finding, and one per desideratum that does not apply.

        Raises:
            ConfigError: They are damaged.
        """
        _ = self.verdict_rows  # tells what is wrong with them in one line
        return pd.read_parquet(io.BytesIO(self._stored_verdicts()))

    @cached_property
    def verdict_rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of `verdicts` as plain values, which thousands of jobs are read by.

        Raises:
            ConfigError: They are damaged.
        """
        try:
            return rows_of(self._stored_verdicts())
        except ValueError as error:
            raise damaged(self.path, f"{VERDICTS} holds no verdicts: {one_line(error)}") from None

    def _stored_verdicts(self) -> bytes:
        content = (self.path / VERDICTS).read_bytes()
        if self.sums is not None and (told := difference(VERDICTS, content, self.sums)):
            raise damaged(self.path, told)
        return content


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
        manifest: ``name`` and ``status`` (``done``, ``failed`` or ``not applicable``), and ``reason``, ``config``,
            ``overrides``, ``seeds``, ``base_model``, ``trained_parameters``, ``direct_influence``, ``seconds``; what
            `provenance` tells, the format and the time are added.
        influence: The array; None where the job has none.
        verdicts: What the desiderata returned.
        not_applicable: Desideratum -> why it has no meaning here.

    Raises:
        ValueError: No name, or no such status.
        OSError: The directory cannot be written.
    """
    must_be_told(manifest)
    write_results(directory, influence, verdicts, not_applicable)
    write_manifest(directory, manifest)


def must_be_told(manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that does not say what it is of.

    Raises:
        ValueError: No name, or no such status.
    """
    if not manifest.get("name") or manifest.get("status") not in STATUSES:
        raise ValueError(f"a manifest needs a name and a status ({', '.join(STATUSES)}), got {dict(manifest)}")


def write_results(
    directory: Path, influence: xr.DataArray | None, verdicts: Sequence[Verdict], not_applicable: Mapping[str, str]
) -> None:
    """Write what a job found; without its manifest it is not done yet. Arguments and errors as of `write_job`."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(directory / ARRAY, ignore_errors=True)
    if influence is not None:
        write_array(directory / ARRAY, influence)
    verdict_frame(verdicts, not_applicable).to_parquet(directory / VERDICTS)
    write_sums(directory, CHECKED)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Mark a job as done, or as it ended. Arguments and errors as of `write_job`."""
    must_be_told(manifest)
    directory = Path(directory)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    held_to = {"checksum": sha256((directory / SUMS).read_bytes())}
    whole = {"format": FORMAT, **MANIFEST_DEFAULTS, **provenance(), "created": created, **held_to, **manifest}
    clear_cut_off(directory / MANIFEST)
    replace_file(directory / MANIFEST, manifest_text(whole).encode())


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it stands in its file, with its digest."""
    return sealed(json.dumps({**_strict(manifest), DIGEST: ""}, indent=2, allow_nan=False))


def sealed(text: str) -> str:
    """A manifest's text with its digest, which is that of the same bytes with the digest left empty.

    Args:
        text: It ends with the digest, so that no other text in it is taken for that.
    """
    before, empty, end = text.rpartition(f'"{DIGEST}": ""')
    return f'{before}"{DIGEST}": "{sha256(text.encode())}"{end}' if empty else text


def finished(directory: Path, config: Mapping[str, Any], key: str) -> JobResults | None:
    """The job in ``directory`` if it is done and whole, and the same would be measured again by the same packages.

    Args:
        directory: The job's own.
        config: What is asked for now, as plain containers.
        key: Of the array that is asked for, which tells its data and checkpoints as they are now.
    """
    asked = {"status": DONE, "config": in_json(config), "array": key, "versions": package_versions()}
    job = whole_job(directory)
    return job if job is not None and {name: job.manifest.get(name) for name in asked} == asked else None


def whole_job(directory: Path) -> JobResults | None:
    """The job in ``directory`` if it is done and nothing of it is damaged, whatever it was asked for."""
    try:
        job = open_job(directory)
        done = job.manifest["status"] == DONE and job.manifest["format"] == FORMAT
        return job if done and job.sums is not None and not damage(directory, CHECKED) else None
    except (ConfigError, OSError):
        return None


def in_json(value: Any) -> Any:
    """``value`` as it comes back from JSON."""
    return json.loads(json.dumps(_strict(value)))


@contextmanager
def sole(directory: Path) -> Iterator[None]:
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
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        version = int(manifest["format"])
        json.dumps(manifest, ensure_ascii=False).encode()  # half a character cannot be shown or stored
        if version <= FORMAT:
            must_be_told(manifest)
            must_be_sealed(text, manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path / MANIFEST} must be a job's manifest, got {error!r}. Run the job again.") from error
    if version > FORMAT:
        raise rule_error(f"{path / MANIFEST} format", f"be at most {FORMAT}", version, "Upgrade eif_lab.")
    return JobResults(path, checked_manifest(manifest, str(path / MANIFEST)))


def must_be_sealed(text: str, manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that is not as it was written; before format 2 it had no digest.

    Raises:
        ValueError: It differs from its digest, or has none.
    """
    digest = manifest.get(DIGEST)
    if digest is None and manifest["format"] < FORMAT:
        return
    before, there, end = text.rpartition(f'"{DIGEST}": "{digest}"')
    if not there or sealed(f'{before}"{DIGEST}": ""{end}') != text:
        raise ValueError("other contents than were written")


def _strict(value: Any) -> Any:
    """``value`` as strict JSON: numbers of numpy as Python's, paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        return _strict(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
