"""A file of comma-separated values per job: for a spreadsheet, or pandas, and no account."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eif_lab.options import Options
from eif_lab.results.trackers.careful import first_line
from eif_lab.results.trackers.none import SilentRun
from eif_lab.results.trackers.tracker import Run

log = logging.getLogger(__name__)

FILE = "tracker.csv"


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
            from eif_lab.results.trackers.csv_run import CsvRun

            Path(directory).mkdir(parents=True, exist_ok=True)
            return CsvRun(Path(directory) / FILE, name, group, config)
        except OSError as error:
            log.warning("CSV cannot start (%s); %s goes on untracked", first_line(error), name)
            return SilentRun()
