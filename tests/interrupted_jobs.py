"""A sweep that gets Ctrl-C at many moments, and is given again: ``python interrupted_jobs.py FOLDER``, JSON on stdout.

Every attempt is a fork of this process, which has imported everything and computed nothing.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning  # noqa: F401 - once, before all forks
import sklearn.datasets  # noqa: F401
import torch
import torchvision  # noqa: F401
from killed_jobs import SMALL, fingerprint

import eif_lab.console.tables
import eif_lab.results.sweep  # noqa: F401
from eif_lab.commands import dispatch, interruption

JOBS = ["engine=reference", "engine=stacked"]
SWEEP = ["-m", *(one for one in SMALL if not one.startswith("engine=")), "engine=reference,stacked", "tracker=csv"]

PHASES = {
    "the command line is checked": "eif_lab.commands.compose:Command.jobs",
    "a job begins": "eif_lab.commands.job:run_here",
    "the base model is trained": "eif_lab.models.training:Progress.on_train_batch_end",
    "a checkpoint is written": "eif_lab.models.training:CheckedFiles.save_checkpoint",
    "Lightning clears up": "pytorch_lightning:Trainer._teardown",
    "the tracker starts": "eif_lab.results.trackers.csv:Csv.start",
    "the reference engine fits": "eif_lab.influence.reading.passes:Passes.read_plainly",
    "a part is kept": "eif_lab.results.checkpoint:Parts.append",
    "the array is stored": "eif_lab.results.cache:ArrayCache._install",
    "verdicts are found": "eif_lab.jobs.judge:evaluate_all",
    "results are written": "eif_lab.jobs.run:write_results",
    "the tracker ends": "eif_lab.results.trackers.csv:CsvRun.finish",
    "a job is marked as done": "eif_lab.jobs.run:write_manifest",
    "the second job measures": "eif_lab.influence.engines.stacked:Stacked.start",
    "the table is made": "eif_lab.results.sweep:write_sweep",
    "the table is printed": "eif_lab.console.tables:print_sweep",
}

DRAWN = 4
"""Moments."""


class Attempt(NamedTuple):
    """What came of one attempt: when it was interrupted, its exit code, what it printed, and how its jobs ended."""

    when: str
    code: int
    out: str
    err: str
    statuses: list[str]


def press(times: int, gap: float, number: int) -> None:
    """Ctrl-C, from a thread, so that the later ones come while the first is dealt with."""

    def press_all() -> None:
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(gap)

    threading.Thread(target=press_all, daemon=True).start()
    time.sleep(0.01)  # in which the first one comes


def pressing(place: str, times: int, gap: float, number: int = signal.SIGINT) -> None:
    """Have Ctrl-C pressed, or another signal sent, so many ``times`` as a function is called for the first time."""
    module, _, name = place.partition(":")
    *path, name = name.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    inner: Callable = getattr(owner, name)
    calls = itertools.count()

    def outer(*given: Any, **options: Any) -> Any:
        if next(calls) == 0:
            press(times, gap, number)
        return inner(*given, **options)

    setattr(owner, name, outer)


def attempt(folder: Path, prepare: Callable[[], None] = lambda: None, after: float = 0, times: int = 1) -> Attempt:
    """Fork a process that runs the sweep, and wait for its end.

    Args:
        folder: Where the process works.
        prepare: Done in the process.
        after: Seconds after which Ctrl-C is pressed; 0 for never.
        times: How often.
    """
    folder.mkdir(exist_ok=True)
    begun, begins = os.pipe()
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["eif_lab", *SWEEP, "hydra.sweep.dir=sweep"]
        whole = dispatch.main

        def main() -> int:
            os.write(begins, b"x")
            return whole()

        dispatch.main = main
        prepare()
        interruption.run("eif_lab.commands.dispatch")
    os.close(begins)  # so that a child that dies before it begins is not waited for
    os.read(begun, 1)
    if after:
        time.sleep(after)
        for _ in range(times):
            os.kill(child, signal.SIGINT)
            time.sleep(0.03)
    _, status = os.waitpid(child, 0)
    os.close(begun)
    manifests = [json.loads(path.read_text()) for path in folder.glob("sweep/*/manifest.json")]
    statuses = [one["status"] for one in manifests]
    out, err = ((folder / name).read_text() for name in ("out", "err"))
    return Attempt("", os.waitstatus_to_exitcode(status), out, err, statuses)


def main(folder: Path) -> dict[str, Any]:
    """Interrupt attempts in every phase, and at drawn moments; what comes of them, and of the last, which is not."""
    draw = random.Random(0)
    started = time.perf_counter()
    whole = attempt(folder / "whole")
    seconds = time.perf_counter() - started
    assert whole.code == 0, whole
    wanted = [fingerprint(folder / "whole" / "sweep" / str(number)) for number in range(len(JOBS))]
    attempts, equal = [], []

    def end() -> None:
        """Give the command again, undisturbed, and begin anew."""
        last = attempt(folder / "sweep")
        found = [fingerprint(folder / "sweep" / "sweep" / str(number)) for number in range(len(JOBS))]
        equal.append(last.code == 0 and found == wanted)
        shutil.rmtree(folder / "sweep")

    for number, (when, place) in enumerate(PHASES.items()):
        times = 1 + number % 3

        def prepare(place: str = place, times: int = times) -> None:
            pressing(place, times, draw.uniform(0, 0.05))

        attempts.append(attempt(folder / "sweep", prepare)._replace(when=f"{when}, {times} times"))
    end()
    terminated = attempt(folder / "sweep", lambda: pressing(PHASES["the base model is trained"], 1, 0, signal.SIGTERM))
    for _ in range(DRAWN):
        after, times = draw.uniform(0, seconds / 2), draw.randint(1, 3)
        attempts.append(attempt(folder / "sweep", after=after, times=times)._replace(when=f"after {after:.2f} s"))
    end()
    return {"attempts": [one._asdict() for one in attempts], "terminated": terminated._asdict(), "equal": equal}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]))))
