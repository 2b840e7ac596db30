"""A bar that moves on a terminal while a job measures."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

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
        """Draw the bar anew.

        Args:
            done: Stimuli measured so far.
            rate: Stimuli per second.
        """
        line = f"{done}/{self.total} stimuli, {rate:.3g} per second, {duration((self.total - done) / rate)} left"
        self.bar.start()  # not before: what the engine says about itself would be written into the bar
        self.bar.update(self.task, completed=done, description=line, refresh=True)


def duration(seconds: float) -> str:
    """A time as text: ``7 s``, ``2 min 05 s``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
