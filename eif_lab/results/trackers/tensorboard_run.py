"""A job's run in TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import xarray as xr
from torch.utils.tensorboard import SummaryWriter

from eif_lab.desiderata.verdict import Verdict
from eif_lab.results.rows import verdict_frame
from eif_lab.results.scalars import HEAT_MAP, NAMED, SHOWN, VERDICTS, config_key, progress_point
from eif_lab.results.summary import judged_unit
from eif_lab.results.trackers.careful import CarefulRun, first_line
from eif_lab.results.trackers.heat_map import heat_map


class TensorBoardRun(CarefulRun):
    """Charts over stimuli done, the heat map, verdicts and config as text, and the scorecard under HParams."""

    tracker = "TensorBoard"

    def __init__(self, folder: Path, name: str, tags: Sequence[str], config: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.config = config
        self.done = 0
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("tags", ", ".join(tags))
        self.writer.add_text("config", f"```\n{json.dumps(config, indent=2, default=str)}\n```")

    def progress(
        self, stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
    ) -> None:
        """Log one point of the live charts."""
        self.done = stimuli_done
        point = progress_point(stimuli_done, stimuli_total, stimuli_per_second, running)
        self.attempt(lambda: self._log_scalars(point))

    def finish(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        """Log the summary's numbers, the heat map and the verdicts."""
        self.attempt(lambda: self._log_results(influence, verdicts, summary))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write buffered events, and how the job failed if it did."""
        if error is not None:
            self.attempt(lambda: self.writer.add_text("reason", first_line(error)))
        self.end(self.writer.close)

    def _log_results(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        scores = {key: value for key, value in summary.items() if isinstance(value, Real)}
        named = {part: str(self.config[config_key(part)]) for part in NAMED if config_key(part) in self.config}
        # "." keeps the scorecard in the run's own folder; it logs the numbers as scalars, too
        self.writer.add_hparams(named, scores, run_name=".", global_step=self.done)
        picture, caption = heat_map(influence)
        self.writer.add_image(HEAT_MAP, picture, self.done, dataformats="HWC")
        self.writer.add_text(f"{HEAT_MAP}/caption", caption, self.done)
        findings = verdict_frame(verdicts, {}, judged_unit(influence))
        self.writer.add_text(VERDICTS, _markdown(findings[SHOWN]), self.done)

    def _log_scalars(self, point: Mapping[str, float]) -> None:
        for key, value in point.items():
            self.writer.add_scalar(key, value, self.done)


def _markdown(frame: pd.DataFrame) -> str:
    """The frame as the kind of table that TensorBoard renders."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(object).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")
