"""What the console shows of jobs at work: a bar that moves on a terminal, and a line for each finished job."""

from __future__ import annotations

import logging
import math
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.results.rows import DONE
from eif_lab.results.store import JobResults
from eif_lab.results.table import ASCII_MARKS, MARKS, STYLES, page

log = logging.getLogger(__name__)


class Bar:
    """How far a measurement is: one line at the start and, on a terminal, a bar that is gone when it ends.

    A context: the terminal is as it was afterwards, however the measurement ends.

    Args:
        total: The number of stimuli.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        terminal = sys.stderr.isatty()
        # no thread that redraws: it would take its share of a machine that measures
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            console=Console(stderr=True, force_terminal=terminal),
            auto_refresh=False,
            transient=True,
            disable=not terminal,
        )
        self.task = self.bar.add_task(f"0/{total} stimuli", total=total)

    def __enter__(self) -> Bar:
        log.info("measuring: %d stimuli", self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def move(self, done: int, rate: float) -> None:
        """Draw anew.

        Args:
            done: Stimuli measured so far.
            rate: Stimuli per second.
        """
        told = f"{done}/{self.total} stimuli, {rate:.3g} per second, {duration((self.total - done) / rate)} left"
        self.bar.start()  # not before: what the engine says about itself would be written into the bar
        self.bar.update(self.task, completed=done, description=told, refresh=True)


def duration(seconds: float) -> str:
    """A time for the eye: ``7 s``, ``2 min 05 s``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def print_finished(job: JobResults, console: Console | None = None) -> None:
    """Print a job of a sweep in one line: name, time, direct influence, desiderata under their verdicts' marks."""
    console = console or page()
    manifest = job.manifest
    told = Text(str(manifest["name"]), style="bold")
    if manifest["status"] == DONE:
        direct = (manifest["direct_influence"] or {}).get("effect")  # none where no stimulus has a probe of its own
        told.append(
            f"  {duration(manifest['seconds'])}  direct {math.nan if direct is None else direct:.2g}", "not bold"
        )
        told.append_text(_marked(job, console))
    else:
        told.append(f"  {manifest['status']}: {' '.join(str(manifest['reason']).split())}", style="not bold red")
    console.print(told, no_wrap=True, overflow="ellipsis")


def _marked(job: JobResults, console: Console) -> Text:
    """``  ✓ symmetry, sparsity  ✗ logic``."""
    marks = ASCII_MARKS if console.options.ascii_only else MARKS
    tested = job.verdicts[(job.verdicts["status"] == DONE) & (job.verdicts["finding"] == 0)]
    told = Text()
    for verdict in (SATISFIED, VIOLATED, INCONCLUSIVE):
        names = tested.loc[tested["verdict"] == verdict, "desideratum"].str.replace("_", " ")
        if len(names):
            told.append(f"  {marks[verdict]} {', '.join(names)}", style=f"not bold {STYLES[verdict]}")
    return told
