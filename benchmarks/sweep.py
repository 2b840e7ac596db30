"""What a sweep of many tiny jobs takes beside the jobs themselves, by the times at which its lines are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import Row, attempt

ROOT = Path(__file__).parents[1]
TINY = "tracker=none dataset.stimuli=10 dataset.probes=10 model.training.steps=5 hydra.sweep.dir=sweep"
CHECK, FIRST = "<= 0.05", "<= 10"
"""Seconds of checking one of many jobs, and until the first of them begins."""


def sweeps(jobs: int, run: int) -> Iterator[Row]:
    """Three rows: checking a job, until the first begins, and one after the other.

    Args:
        jobs: Of the sweep.
        run: How many of them are waited for.
    """
    yield from attempt(f"{jobs} tiny jobs", measured(jobs, run))


def measured(jobs: int, run: int) -> Iterator[Row]:
    """The rows of `sweeps`."""
    alone, *_ = start_times(1, 1)
    first, *others = start_times(jobs, run + 1)
    seconds = {"first of one": alone, "first of all": first}
    yield Row(f"{jobs} tiny jobs: check of one", (first - alone) / (jobs - 1), "s", CHECK, seconds=seconds)
    yield Row(f"{jobs} tiny jobs: until the first begins, after a start", first - alone, "s", FIRST)
    # the first one of a process pays for what all use
    yield Row(f"{jobs} tiny jobs: one after the other", (others[-1] - others[0]) / (len(others) - 1), "s")


def start_times(jobs: int, wanted: int) -> list[float]:
    """When each of the first jobs of a sweep begins, in seconds after its command.

    Args:
        jobs: Of the sweep.
        wanted: How many are waited for; the process then ends.
    """
    times: list[float] = []
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "eif_lab", "-m", *TINY.split(), f"seed=range({jobs})"]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        began = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if re.match(r"\s+#\d+ :", line):
                    times.append(time.perf_counter() - began)
                if len(times) == wanted:
                    break
            process.kill()
    if len(times) < wanted:
        raise RuntimeError(f"{len(times)} of {wanted} jobs began")
    return times
