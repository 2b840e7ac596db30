"""What runs share whose tracker may break: a measurement must not be lost to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from eif_lab.results.tracking import Run

log = logging.getLogger(__name__)


class CarefulRun(Run):
    """A run of a tracker that may break: one line then says so, and the job goes on without it.

    Attributes:
        tracker: What the line calls it.
        name: The job's name.
        broken: Whether it broke.
    """

    tracker: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = False

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do it, unless the tracker broke before."""
        if self.broken:
            return
        try:
            action()
        except Exception as error:
            self.broken = True
            log.warning("%s failed (%s); %s goes on untracked", self.tracker, first_line(error), self.name)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
