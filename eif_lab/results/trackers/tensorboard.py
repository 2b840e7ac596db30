"""TensorBoard: one run per job, on one's own machine."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eif_lab.errors import rule_error
from eif_lab.options import Options
from eif_lab.results.trackers.careful import first_line, shortened
from eif_lab.results.trackers.none import SilentRun
from eif_lab.results.trackers.tracker import Run

log = logging.getLogger(__name__)

FOLDER = "tensorboard"

LONGEST = 255
"""Bytes of a folder's name that file systems take."""


@dataclass
class TensorBoard(Options):
    """Event files in the job's directory; ``tensorboard --logdir SWEEP`` shows all jobs of a sweep."""

    group: ClassVar[str] = "tracker"
    leaves: ClassVar[tuple[str, ...]] = (FOLDER,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if importlib.util.find_spec("tensorboard") is None:
            hint = "Try pip install 'eif-lab[tensorboard]'."
            raise rule_error("tracker", "be one whose package is installed", "tensorboard", hint)

    def start(
        self, *, name: str, group: str, tags: list[str], config: dict[str, Any], directory: Path, run_id: str
    ) -> Run:
        """Start a run; where that fails, the job goes on untracked, with one line."""
        # Whatever breaks inside the tracker must not cost a measurement: the job goes on without it.
        try:
            from eif_lab.results.trackers.tensorboard_run import TensorBoardRun

            folder = shortened(name.replace("/", "-"), LONGEST, size=lambda part: len(os.fsencode(part)))
            return TensorBoardRun(Path(directory) / FOLDER / folder, name, tags, config)
        except Exception as error:
            log.warning("TensorBoard cannot start (%s); %s goes on untracked", first_line(error), name)
            return SilentRun()
