"""A file of comma-separated values per job: for a spreadsheet, or pandas, and no account."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from eif_lab.options import Options
from eif_lab.results.scalars import progress_point
from eif_lab.results.settings import flat
from eif_lab.results.trackers.careful import CarefulRun, first_line
from eif_lab.results.trackers.none import SilentRun
from eif_lab.results.trackers.tracker import Run

if TYPE_CHECKING:
    import xarray as xr

    from eif_lab.desiderata.verdict import Verdict

log = logging.getLogger(__name__)

FILE = "tracker.csv"
COLUMNS = ("job", "sweep", "kind", "stimuli_done", "key", "value")
CONFIG, PROGRESS, SUMMARY, END = "config", "progress", "summary", "end"


@dataclass
class Csv(Options):
    """``tracker.csv`` in the job's directory: tidy, one value a row, so that files of jobs can be concatenated."""

    group: ClassVar[str] = "tracker"
    leaves: ClassVar[tuple[str, ...]] = (FILE,)

    def start(
        self, *, name: str, group: str, tags: list[str], config: dict[str, Any], directory: Path, run_id: str
    ) -> Run:
        """Start the file with the job's config; where that fails, the job goes on untracked, with one line."""
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
            return CsvRun(Path(directory) / FILE, name, group, config)
        except OSError as error:
            log.warning("CSV cannot start (%s); %s goes on untracked", first_line(error), name)
            return SilentRun()


class CsvRun(CarefulRun):
    """Rows of `COLUMNS`; ``kind`` is ``config``, ``progress``, ``summary`` or ``end``."""

    tracker = "CSV"

    def __init__(self, path: Path, name: str, group: str, config: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.group = group
        self.done = 0
        # line-buffered: readers of the file see whole rows while the job runs
        self.file = path.open("w", newline="", encoding="utf-8", buffering=1)
        self.rows = csv.writer(self.file, lineterminator="\n")
        self.rows.writerow(COLUMNS)
        self._write(CONFIG, dict(flat(config)))

    def progress(
        self, stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
    ) -> None:
        """Write one row for each value of the point."""
        self.done = stimuli_done
        point = progress_point(stimuli_done, stimuli_total, stimuli_per_second, running)
        self.attempt(lambda: self._write(PROGRESS, point))

    def finish(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        """Write one row for each value of the summary; array and findings stand beside it in the job's directory."""
        self.attempt(lambda: self._write(SUMMARY, summary))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say how the job ended, and close the file."""
        ended = {"status": "finished"} if error is None else {"status": "failed", "reason": first_line(error)}
        self.attempt(lambda: self._write(END, ended))
        self.end(self.file.close)

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.rows.writerow((self.name, self.group, kind, self.done, key, value))
