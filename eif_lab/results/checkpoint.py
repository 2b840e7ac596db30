"""What an interrupted measurement leaves: the parts that are whole, and what the others must find as it was.

The layout, beside the arrays that are whole:

    <root>/<key>.lock                       held by the process that measures, as long as it lives
    <root>/<key>.partial/run                the tracker's run, which is continued
    <root>/<key>.partial/settled            what was decided before the first part
    <root>/<key>.partial/<series>/<row>     a part, by its first row

Every file begins with its own checksum. None is flushed to the disk at once: what a loss of power takes shows by that.
"""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from eif_lab.errors import ConfigError
from eif_lab.files.checksums import clear_cut_off, read_checked, write_checked
from eif_lab.files.locks import locked, locked_if_free
from eif_lab.results.cache import ArrayCache
from eif_lab.results.folders import MANIFEST
from eif_lab.results.job import JobResults

log = logging.getLogger(__name__)

RUN, SETTLED = "run", "settled"


class Checkpoint:
    """What there is of an array that is being measured.

    Args:
        folder: Where it is kept until the job is done.
        ours: Whether this process holds the lock of the array; without it, nothing is looked for or kept.
    """

    def __init__(self, folder: Path, ours: bool = True) -> None:
        self.folder, self.ours = folder, ours
        self.series: dict[str, Parts] = {}

    @property
    def run_id(self) -> str:
        """The name of the tracker's run: that of the interrupted one, or a new one."""
        fresh = uuid.uuid4().hex[:8]
        if not self.ours:
            return fresh
        found = (read_checked(self.folder / RUN) or b"").decode()
        if not re.fullmatch("[0-9a-f]{8}", found):
            write_checked(self.folder / RUN, fresh.encode())
            return fresh
        return found

    def settle(self, given: Mapping[str, Any], decide: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What was decided before the first part, or is decided now; parts under other conditions are thrown away.

        Args:
            given: The conditions, in what JSON holds: all that the array's key does not say.
            decide: Makes what all parts share, in what JSON holds.
        """
        found = json.loads(read_checked(self.folder / SETTLED) or "{}")
        if found.get("given") != given:
            if found:
                log.warning("%s was measured under other conditions (%s); it begins anew", self.folder, found["given"])
            for series in (path for path in self.folder.glob("*") if path.is_dir()):
                shutil.rmtree(series)
            found = {"given": given, "decided": decide()}
            write_checked(self.folder / SETTLED, json.dumps(found).encode())
        return json.loads(json.dumps(found["decided"]))

    def parts(self, series: str) -> Parts:
        """The parts of one series of rows, after `settle`."""
        if series not in self.series:
            self.series[series] = Parts(self.folder / series)
        return self.series[series]

    def missing(self, series: str, rows: int, size: int) -> list[slice]:
        """The places, none of them over a multiple of ``size``, whose parts are not whole; after `settle`.

        Args:
            series: Of which parts.
            rows: Of all.
            size: Rows of a place, but for the first and the last.
        """
        self.series.pop(series, None)  # who measures them writes there meanwhile
        folder, places = self.folder / series, list[slice]()
        start = Parts(folder).rows
        while start < rows:
            stop = min((start // size + 1) * size, rows)
            if Parts(folder, start, stop).rows < stop - start:
                places.append(slice(start, stop))
            start = stop
        return places

    @property
    def seconds(self) -> float:
        """What all parts took."""
        return sum(self.parts(path.name).seconds for path in self.folder.glob("*") if path.is_dir())

    def remove(self) -> None:
        """Nothing is left to do."""
        if self.ours:
            shutil.rmtree(self.folder, ignore_errors=True)


class Parts:
    """Parts of an array in their order, as far as they are whole; more are kept as they are measured.

    Args:
        folder: Of the series.
        first: The row that the first part begins with.
        stop: The row before which the last one ends; None where all are wanted.

    Attributes:
        whole: (rows, ...) each.
        rows: Of all.
        seconds: That they took.
    """

    def __init__(self, folder: Path, first: int = 0, stop: int | None = None) -> None:
        self.folder, self.first = folder, first
        self.whole: list[np.ndarray] = []
        self.rows, self.seconds = 0, 0.0
        while (stop is None or first + self.rows < stop) and (part := self._read()) is not None:
            self._count(*part)
        self.started = time.perf_counter()

    def append(self, part: np.ndarray) -> None:
        """Keep the next part.

        Raises:
            OSError: It cannot be written, for instance because the disk is full.
        """
        now = time.perf_counter()
        buffer = io.BytesIO()
        np.savez(buffer, part=part, seconds=now - self.started)
        write_checked(self._next, buffer.getvalue())
        self._count(part, now - self.started)
        self.started = now

    @property
    def _next(self) -> Path:
        return self.folder / f"{self.first + self.rows:09d}"

    def _read(self) -> tuple[np.ndarray, float] | None:
        content = read_checked(self._next)
        if content is None:
            if self._next.exists():
                log.warning("%s is damaged; from there on it is measured again", self._next)
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return found["part"], float(found["seconds"])

    def _count(self, part: np.ndarray, seconds: float) -> None:
        self.whole.append(part)
        self.rows += len(part)
        self.seconds += seconds


@contextmanager
def checkpoint(cache: ArrayCache, key: str, needed: bool = True) -> Iterator[Checkpoint]:
    """Within this, no other process measures the array ``key``; one that does is waited for.

    Args:
        cache: Where the array is looked for.
        key: The array's.
        needed: Whether it is to be measured; otherwise a cache that cannot be written is good enough, and nobody is
            waited for.
    """
    lock, folder = cache.root / f"{key}.lock", cache.root / f"{key}.partial"
    if not needed:
        # an array that is there asks for no lock, but a job that was killed after it was stored has left its run here
        with locked_if_free(lock) if folder.exists() or cache.aside(key) else nullcontext(False) as ours:
            if ours:
                cache.clear_aside(key)
            yield Checkpoint(folder, ours)
        return
    cache.root.mkdir(parents=True, exist_ok=True)
    left = Checkpoint(folder)
    with locked(lock, "measures the same array"):
        cache.clear_aside(key)
        try:
            yield left
        except ConfigError:  # what is refused is refused to all who ask for it
            left.remove()
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                cache.root.rmdir()
            raise


def clear_left(cache: ArrayCache, job: JobResults) -> None:
    """Remove what is left of a job that is done, if it was killed before it had cleared up.

    Args:
        cache: Where its array is; what is unfinished of an array that is not there is kept.
        job: Whose lock this process holds.
    """
    clear_cut_off(job.path / MANIFEST)
    key = job.manifest.get("array")
    if key and (cache.root / key).is_dir():
        with checkpoint(cache, key, needed=False) as left:
            left.remove()
