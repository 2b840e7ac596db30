"""A job's run at Weights & Biases."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import wandb
import xarray as xr

from eif_lab.desiderata.verdict import Verdict
from eif_lab.results.rows import verdict_frame
from eif_lab.results.scalars import (
    BESIDE_LEARNERS,
    BY_CLASS,
    BY_RELATION,
    FINDINGS,
    HEAT_MAP,
    SCORECARD,
    SHOWN,
    VERDICTS,
    desideratum_key,
    progress_point,
)
from eif_lab.results.summary import class_means, judged_unit, relation_means
from eif_lab.results.sweep import SweepResults
from eif_lab.results.trackers.careful import CarefulRun, first_line
from eif_lab.results.trackers.heat_map import heat_map
from eif_lab.results.trackers.sweep_tables import beside_learners, findings, scorecard, with_learners


class WandbRun(CarefulRun):
    """A job's run: live charts, pictures, tables, summary, and the stored array as an artifact."""

    tracker = "W&B"

    def __init__(self, run: wandb.Run, name: str, config: Mapping[str, Any], directory: Path) -> None:
        super().__init__(name)
        self.run = run
        self.config = config
        self.directory = directory

    def progress(
        self, stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
    ) -> None:
        """Log one point of the live charts; its step is the number of stimuli, so that a run that goes on fits on."""
        point = progress_point(stimuli_done, stimuli_total, stimuli_per_second, running)
        self.attempt(lambda: self.run.log(point, step=stimuli_done, commit=True))

    def finish(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        """Log heat map, means by relation and class, verdicts and summary, and the stored array as an artifact."""
        self.attempt(lambda: self.run.summary.update(dict(summary)))
        with staged_in(self.directory):
            self.attempt(lambda: self._log_pictures(influence, verdicts))
            self.attempt(self._log_array)

    def log_sweep(self, sweep: SweepResults) -> None:
        """Log the tables of a sweep, and for each desideratum bars of its jobs beside the reference learners."""
        with staged_in(self.directory):
            self.attempt(lambda: self._log_sweep(with_learners(sweep)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run; W&B's own context would print the exception a second time."""
        if error is not None:
            self.attempt(lambda: self.run.summary.update({"reason": first_line(error)}))
        self.end(lambda: self.run.finish(exit_code=0 if error is None else 1))

    def _log_pictures(self, influence: xr.DataArray, verdicts: Sequence[Verdict]) -> None:
        picture, caption = heat_map(influence)
        findings = verdict_frame(verdicts, {}, judged_unit(influence))
        shown = {HEAT_MAP: wandb.Image(picture, caption=caption), VERDICTS: _table(findings[SHOWN])}
        if "relation" in influence.coords:
            shown[BY_RELATION] = _table(relation_means(influence))
        if "stimulus_class" in influence.coords and "probe_class" in influence.coords:
            shown[BY_CLASS] = _table(class_means(influence))
        self.run.log(shown)

    def _log_sweep(self, table: pd.DataFrame) -> None:
        shown: dict[str, Any] = {SCORECARD: _table(scorecard(table)), FINDINGS: _table(findings(table))}
        for name, title, effects in beside_learners(table):
            key = desideratum_key(BESIDE_LEARNERS, name)
            shown[key] = wandb.plot.bar(_table(effects), "job", "effect", title=title)
        self.run.log(shown)

    def _log_array(self) -> None:
        array = self.directory / "influence.zarr"
        if not array.is_dir():
            raise FileNotFoundError(f"{array} is not there to be logged")
        artifact = wandb.Artifact(artifact_name(self.name, self.config), type="influence")
        # Immutable: W&B reads the job's own files and makes no copy of them in the user's home.
        artifact.add_dir(str(array), name=array.name, policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact)


@contextmanager
def staged_in(directory: Path) -> Iterator[None]:
    """Within this, W&B keeps pending uploads with the run, and not in a home that may not exist.

    Args:
        directory: The job's own; left aside where ``WANDB_DATA_DIR`` names another place.
    """
    before = os.environ.get(wandb.env.DATA_DIR)
    os.environ.setdefault(wandb.env.DATA_DIR, str(directory.absolute() / "wandb" / "data"))
    try:
        yield
    finally:
        if before is None:
            del os.environ[wandb.env.DATA_DIR]


def artifact_name(name: str, config: Mapping[str, Any]) -> str:
    """A valid artifact name, the same for the same job and different for different configs."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return f"influence-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:80]}-{digest}"


def _table(frame: pd.DataFrame) -> wandb.Table:
    cells = frame.astype(object)
    return wandb.Table(columns=list(frame.columns), data=cells.where(cells.notna(), None).to_numpy().tolist())
