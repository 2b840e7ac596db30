"""The protocols of experiment trackers; a tracker is a file beside this one and a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import xarray as xr

    from eif_lab.desiderata.verdict import Verdict
    from eif_lab.results.sweep import SweepResults


@runtime_checkable
class Run(AbstractContextManager["Run"], Protocol):
    """One job as its tracker sees it; leaving the context ends it, as failed if an exception passes through."""

    def progress(
        self, stimuli_done: int, stimuli_total: int, stimuli_per_second: float, running: Mapping[str, float]
    ) -> None:
        """Log how far the measurement is, while it works.

        Args:
            stimuli_done, stimuli_total: Stimuli measured so far, and all of them.
            stimuli_per_second: The rate.
            running: Running means by name, such as the direct influence.
        """

    def finish(self, influence: xr.DataArray, verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> None:
        """Hand over the results, after the job's directory has been written.

        Args:
            influence: The array.
            verdicts: What the desiderata returned.
            summary: Numbers and verdicts of the whole job by key (`eif_lab.results.scalars.summarise`).
        """


@runtime_checkable
class Tracker(Protocol):
    """An option group's choice that starts runs.

    Attributes:
        leaves: Names of what a run writes in the job's directory; removed where the job turns out to be a mistake.
    """

    leaves: ClassVar[tuple[str, ...]]

    def start(
        self, *, name: str, group: str, tags: list[str], config: dict[str, Any], directory: Path, run_id: str
    ) -> Run:
        """Start a job's run. It never fails and never blocks for long: a tracker that breaks is logged in one line.

        Args:
            name: The job's name.
            group: The sweep's name.
            tags: Words to find the job by.
            config: The resolved config, in plain containers, and the names of what was chosen
                (`eif_lab.results.scalars.config_key`).
            directory: The job's directory.
            run_id: Eight hexadecimal digits; the same as before where an interrupted job goes on.
        """


@runtime_checkable
class SweepTracker(Protocol):
    """A tracker that also records a sweep as a whole."""

    def record_sweep(self, sweep: SweepResults) -> None:
        """Record a sweep whose jobs have ended, with verdicts that are corrected over it; like `start`, it never fails.

        Args:
            sweep: Whose ``path`` the record goes to.
        """
