"""No tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from eif_lab.options import Options
from eif_lab.results.trackers.tracker import Run

if TYPE_CHECKING:
    import xarray as xr

    from eif_lab.desiderata.verdict import Verdict


@dataclass
class NoTracker(Options):
    """Results stay in the job's directory; nothing is logged elsewhere."""

    group: ClassVar[str] = "tracker"
    leaves: ClassVar[tuple[str, ...]] = ()

    def start(
        self, *, name: str, group: str, tags: list[str], config: dict[str, Any], directory: Path, run_id: str
    ) -> Run:
        """A run that logs nothing."""
        return SilentRun()


class SilentRun(Run):
    """A run that logs nothing."""

    def progress(
        self, stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
    ) -> None:
        """Do nothing."""

    def finish(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let an exception pass."""
