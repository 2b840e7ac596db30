"""The checkpoint of a measurement: the parts that are stored, and the decisions that the others depend on.

The layout, beside the arrays of the cache:

    <root>/<key>.lock                       locked by the process that measures, as long as it lives
    <root>/<key>.partial/run                the tracker's run, which a resumed job continues
    <root>/<key>.partial/settled            what was decided before the first part
    <root>/<key>.partial/<series>/<row>     a part, by its first row

Every file begins with its own checksum, by which one that a loss of power cut off is recognised: files are not flushed
to the disk one by one.
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
from eif_lab.files.checksums import clear_partial_writes, read_checked, write_checked
from eif_lab.files.locks import locked, locked_if_free
from eif_lab.results.cache import ArrayCache
from eif_lab.results.folders import MANIFEST
from eif_lab.results.job import JobResults

log = logging.getLogger(__name__)

RUN, SETTLED = "run", "settled"


class Checkpoint:
    """The stored parts of an array that is being measured.

    Args:
        folder: Where they stand until the job is done.
        ours: Whether this process holds the lock of the array; without it, nothing is read or written.
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
        earlier = (read_checked(self.folder / RUN) or b"").decode()
        if re.fullmatch("[0-9a-f]{8}", earlier):
            return earlier
        write_checked(self.folder / RUN, fresh.encode())
        return fresh

    def decide_once(self, conditions: Mapping[str, Any], decide: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The decision made before the first part was stored, or made now; parts under other conditions are removed.

        Args:
            conditions: All that decides the values and is not in the array's key, as plain containers.
            decide: Makes what all parts share, as plain containers.
        """
        settled = json.loads(read_checked(self.folder / SETTLED) or "{}")
        if settled.get("given") != conditions:
            if settled:
                log.warning(
                    "%s was measured under other conditions (%s); it begins anew", self.folder, settled["given"]
                )
            for series in (path for path in self.folder.glob("*") if path.is_dir()):
                shutil.rmtree(series)
            settled = {"given": conditions, "decided": decide()}
            write_checked(self.folder / SETTLED, json.dumps(settled).encode())
        return json.loads(json.dumps(settled["decided"]))

    def parts(self, series: str) -> Parts:
        """The parts of one series of rows, after `decide_once`."""
        if series not in self.series:
            self.series[series] = Parts(self.folder / series)
        return self.series[series]

    def missing(self, series: str, rows: int, size: int) -> list[slice]:
        """The ranges of rows that are not stored yet, cut at multiples of ``size``; after `decide_once`.

        Args:
            series: The name of the series.
            rows: How many rows the series has in all.
            size: Rows of a range, but for the first and the last.
        """
        self.series.pop(series, None)  # other processes write their parts there meanwhile
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
        """Seconds that all stored parts took to measure."""
        return sum(self.parts(path.name).seconds for path in self.folder.glob("*") if path.is_dir())

    def remove(self) -> None:
        """Remove the checkpoint of a job that is done."""
        if self.ours:
            shutil.rmtree(self.folder, ignore_errors=True)


class Parts:
    """The stored parts of an array in their order, to which more are appended as they are measured.

    Args:
        folder: The folder of the series.
        first: The row that the first part begins with.
        stop: The row before which the last one ends; None for all.

    Attributes:
        whole: The parts, (rows, ...) each.
        rows: How many they have together.
        seconds: How long they took to measure.
    """

    def __init__(self, folder: Path, first: int = 0, stop: int | None = None) -> None:
        self.folder, self.first = folder, first
        self.whole: list[np.ndarray] = []
        self.rows, self.seconds = 0, 0.0
        while (stop is None or first + self.rows < stop) and (part := self._read()) is not None:
            self._count(*part)
        self.started = time.perf_counter()

    def append(self, part: np.ndarray) -> None:
        """Store the next part.

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
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return stored["part"], float(stored["seconds"])

    def _count(self, part: np.ndarray, seconds: float) -> None:
        self.whole.append(part)
        self.rows += len(part)
        self.seconds += seconds


@contextmanager
def checkpoint(cache: ArrayCache, key: str, needed: bool = True) -> Iterator[Checkpoint]:
    """The checkpoint of ``key``, whose lock this process holds within the context; it waits for one that has it.

    Args:
        cache: Where the array is looked for.
        key: The array's.
        needed: Whether it is to be measured; otherwise the cache need not be writable, and there is no waiting.
    """
    lock, folder = cache.root / f"{key}.lock", cache.root / f"{key}.partial"
    if not needed:
        # an array that is stored needs no lock, but a job that was killed after storing it has left its run here
        with locked_if_free(lock) if folder.exists() or cache.unfinished_folders(key) else nullcontext(False) as ours:
            if ours:
                cache.clear_unfinished(key)
            yield Checkpoint(folder, ours)
        return
    cache.root.mkdir(parents=True, exist_ok=True)
    stored = Checkpoint(folder)
    with locked(lock, "measures the same array"):
        cache.clear_unfinished(key)
        try:
            yield stored
        except ConfigError:  # the same options would be refused again: nothing is worth resuming
            stored.remove()
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                cache.root.rmdir()
            raise


def clear_finished(cache: ArrayCache, job: JobResults) -> None:
    """Remove the checkpoint of a job that is done, if the job was killed before it could do so.

    Args:
        cache: Where its array is; the checkpoint of an array that is not there stays.
        job: The job, whose lock this process holds.
    """
    clear_partial_writes(job.path / MANIFEST)
    key = job.manifest.array
    if key and (cache.root / key).is_dir():
        with checkpoint(cache, key, needed=False) as stored:
            stored.remove()
