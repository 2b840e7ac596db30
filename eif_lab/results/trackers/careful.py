"""Runs that survive a tracker that breaks: it must not cost a measurement."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any, ClassVar

from eif_lab.results.trackers.tracker import Run

log = logging.getLogger(__name__)


class CarefulRun(Run):
    """A run of a tracker that may break: it is then logged in one line, and the job goes on without it.

    Attributes:
        tracker: Its name in that line.
        name: The job's name.
        broken: Whether it broke.
    """

    tracker: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = False

    def attempt(self, action: Callable[[], Any]) -> None:
        """Run an action, unless the tracker broke before."""
        if not self.broken:
            self.end(action)

    def end(self, action: Callable[[], Any]) -> None:
        """Run an action, even if the tracker broke before; a failure is logged once."""
        try:
            action()
        except Exception as error:
            if not self.broken:
                log.warning("%s failed (%s); %s goes on untracked", self.tracker, first_line(error), self.name)
            self.broken = True


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]


def shortened(text: str, longest: int, size: Callable[[str], int] = len) -> str:
    """A text as it is, or its beginning and a digest of the whole, so that two long ones stay two.

    Args:
        text: What a tracker takes only up to a length.
        longest: That length; at least 10.
        size: How long a text is; by default its number of characters.
    """
    if size(text) <= longest:
        return text
    digest, head = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8], text
    while size(head) > longest - 1 - len(digest):
        head = head[:-1]
    return f"{head}-{digest}"
