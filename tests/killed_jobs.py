"""Jobs that are killed at drawn moments and given again: ``python killed_jobs.py FOLDER SEED KILLS``, JSON on stdout.

Every attempt is a fork of this process, which has imported everything and computed nothing. An attempt is killed by
itself at the n-th time that it is about to change a file (of a file that it opens to write, half of the time with
rubbish in it, as a write that was cut off leaves it), or from outside after some time.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytorch_lightning  # noqa: F401 - once, before all forks
import sklearn.datasets  # noqa: F401
import torch
import torchvision  # noqa: F401
from omegaconf import OmegaConf

import eif_lab.jobs.run  # noqa: F401
from eif_lab.commands import job as jobs
from eif_lab.configs import CONF
from eif_lab.options import Options
from eif_lab.results.checkpoint import Checkpoint
from eif_lab.results.trackers.none import SilentRun

SMALL = [
    "deterministic=true",
    "dataset.stimuli=6",
    "dataset.probes=6",
    "update.steps=1",
    "model.channels=[4]",
    "model.hidden=8",
    "model.training.steps=6",
    "model.training.checkpoint_every=2",
    "engine=stacked",
    "engine.memory_budget=1e-6",
    "desideratum=[symmetry]",
]
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
BY_TIME = 0.25
"""The share of kills from outside."""

notes = -1
"""Descriptor that attempts note to what they tell their tracker; written without opening a file."""


def note(**told: Any) -> None:
    """Write a line that the one who kills reads."""
    os.write(notes, f"{json.dumps(told)}\n".encode())


@dataclass
class Noting(Options):
    """A tracker that notes what is logged."""

    group: ClassVar[str] = "tracker"
    leaves: ClassVar[tuple[str, ...]] = ()

    def start(self, *, run_id: str, **_: Any) -> SilentRun:
        """Note the run."""
        note(run=run_id)
        return NotingRun()


class NotingRun(SilentRun):
    """Notes how far the measurement is, and that it ended."""

    def progress(self, stimuli_done: int, *_: Any) -> None:
        """Note the stimuli."""
        note(done=stimuli_done)

    def finish(self, *_: Any) -> None:
        """Note the end."""
        note(finished=True)


def composed(folder: Path) -> Any:
    """The job's config."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [*SMALL, f"cache={folder / 'cache'}", "tracker=none"])
    config.tracker._target_ = "killed_jobs.Noting"
    return config


def run(config: Any, directory: Path) -> int:
    """What the command line does once its config is composed."""
    context = SimpleNamespace(
        runtime=SimpleNamespace(output_dir=str(directory)),
        overrides=SimpleNamespace(task=OmegaConf.create([])),
    )
    jobs.HydraConfig.get = lambda: context
    directory.mkdir(parents=True, exist_ok=True)
    return jobs.run_unless_done(jobs.ComposedJob.of(config, swept=False))


def opens_to_write(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audited event opens a file for writing; that of a lock changes nothing."""
    if event != "open" or str(arguments[0]).endswith(".lock"):
        return False
    return bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))


def die_at(moment: int, half_written: bool) -> SimpleNamespace:
    """End this process when it is about to change a file for the ``moment``-th time.

    Returns:
        ``count``, of changes so far.
    """
    seen = SimpleNamespace(count=0)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = opens_to_write(event, arguments)
        if not (writes or event in CHANGES):
            return
        seen.count += 1
        if seen.count == moment:
            if writes and half_written:
                with open(arguments[0], "wb") as file:
                    file.write(b"rubbish")
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return seen


@dataclass
class Attempt:
    """How one attempt ended: whether it was killed, what it noted, how many changes of files and seconds it took."""

    killed: bool
    noted: list[dict[str, Any]]
    changes: int
    seconds: float


def die_clearing() -> SimpleNamespace:
    """End this process when it is about to remove what is unfinished."""

    def die(_: Checkpoint) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.remove = die  # type: ignore[method-assign]
    return SimpleNamespace(count=0)


def attempt(
    config: Any, directory: Path, moment: int = 0, half_written: bool = False, after: float = 0, clearing: bool = False
) -> Attempt:
    """Fork a process that runs the job, and wait for its end.

    Args:
        config: The job's.
        directory: The job's.
        moment: The change of a file at which it is killed; 0 for none.
        half_written: Whether that file is left half-written.
        after: Seconds after which it is killed; 0 for never.
        clearing: Whether it is killed when it begins to clear up.
    """
    global notes
    reading, notes = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            seen = die_clearing() if clearing else die_at(moment, half_written)
            code = run(config, directory)
            note(changes=seen.count, code=code)
        except BaseException:  # told, since the process ends without a word
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(notes)
    if after:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with open(reading, "rb") as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    noted = [json.loads(line) for line in lines]
    changes = next((one["changes"] for one in noted if "changes" in one), 0)
    return Attempt(os.WIFSIGNALED(status), noted, changes, time.perf_counter() - started)


def fingerprint(directory: Path) -> dict[str, Any]:
    """What must be equal to the last bit."""
    from eif_lab import open_results

    job = open_results(directory)
    manifest, values = job.manifest, job.influence.values
    told = ("update", "base_model", "direct_influence", "array", "stimuli", "probes")
    return {
        "values": values.tobytes().hex(),
        "verdicts": job.verdicts.to_json(),
        "manifest": {name: manifest[name] for name in told},
    }


def main(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    """Kill attempts until there were as many kills; whatever is finished is compared, removed, and begun again."""
    draw = random.Random(seed)
    logging.disable(logging.CRITICAL)
    whole = folder / "whole"
    plain = attempt(composed(whole), whole / "job")
    wanted = fingerprint(whole / "job")
    config, directory = composed(folder / "killed"), folder / "killed" / "job"
    attempts, jobs = list[Attempt](), list[dict[str, Any]]()
    current = list[Attempt]()
    while sum(one.killed for one in attempts) < kills or current:
        enough = sum(one.killed for one in attempts) >= kills
        by_time = draw.random() < BY_TIME
        moment, half, after = draw.randint(1, plain.changes), draw.random() < 0.5, draw.uniform(0.01, plain.seconds)
        chosen = {} if enough else {"after": after} if by_time else {"moment": moment, "half_written": half}
        current.append(attempt(config, directory, **chosen))
        attempts.append(current[-1])
        if not current[-1].killed:
            jobs.append(
                {
                    "equal": (directory / "manifest.json").exists() and fingerprint(directory) == wanted,
                    "noted": [one for each in current for one in each.noted],
                    "attempts": len(current),
                }
            )
            jobs[-1]["left"] = left_below(folder / "killed")
            shutil.rmtree(folder / "killed")
            current = []
    killed = sum(one.killed for one in attempts)
    fields = {"killed": killed, "attempts": len(attempts), "changes": plain.changes, "jobs": jobs}
    return fields | {"cleared": killed_while_clearing(folder / "cleared")}


def left_below(folder: Path) -> list[str]:
    """Names of what is left half made."""
    return sorted(path.name for pattern in ("*.partial", ".*") for path in folder.rglob(pattern))


def killed_while_clearing(folder: Path) -> dict[str, Any]:
    """What is left by an attempt that is killed when it is done and begins to clear up, and by the next one.

    Where there is one, with temporary files on another file system.
    """
    tempfile.tempdir = "/dev/shm" if Path("/dev/shm").is_dir() else None
    config, directory = composed(folder), folder / "job"
    first = attempt(config, directory, clearing=True)
    done, left = (directory / "manifest.json").exists(), left_below(folder)
    second = attempt(config, directory)
    return {"killed": first.killed, "done": done, "left": [left, left_below(folder)], "noted": second.noted}


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.modules["killed_jobs"] = sys.modules["__main__"]
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
