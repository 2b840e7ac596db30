"""The folder that a command writes to: it holds one config's job, or one sweep, and is held while the command runs.

A name that is made of the time is made unique; a name that was given is refused where it holds another job.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from eif_lab.errors import ConfigError, rule_error
from eif_lab.files.checksums import SUMS
from eif_lab.files.locks import locked
from eif_lab.results.folders import MANIFEST, SWEEP
from eif_lab.results.job import ARRAY, VERDICTS, open_job
from eif_lab.results.manifest import HOW_RUN, in_json

SWEEP_LOCK = "sweep.lock"
"""In a sweep's folder; held by the process that runs the sweep, as long as it lives."""

RESULTS = (MANIFEST, ARRAY, VERDICTS, SUMS)
"""Files that a job writes to its folder."""

COMPOSED = ".hydra/config.yaml"
"""Where Hydra writes a job's config before the job begins."""


@dataclass
class Output:
    """A folder that this process writes to.

    Attributes:
        path: The folder.
        made: The folders that were not there before, outermost first.
        before: The names that stood in it before.
        lock: The name of its lock, once that is held.
        held: What `release` lets go.
    """

    path: Path
    made: list[Path]
    before: frozenset[str]
    lock: str = ""
    held: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def claim(cls, path: Path, unique: bool) -> Output:
        """Make a folder, or take one that is there.

        Args:
            path: The folder's name.
            unique: Whether it must be a new folder; a name that is taken then gets a number.

        Raises:
            OSError: It cannot be made.
        """
        path = path.absolute()
        made = [folder for folder in reversed(path.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            name = path if number == 1 else path.with_name(f"{path.name}_{number}")
            try:
                name.mkdir()
            except FileExistsError:
                if not unique:
                    return cls(path, made, frozenset(one.name for one in path.iterdir()))
            else:
                return cls(name, [*made, name], frozenset())
        raise AssertionError("numbers do not end")

    def hold(self, lock: str, does: str) -> None:
        """Keep other processes out until `release`; one that is in is waited for.

        Args:
            lock: The name of the lock in the folder.
            does: What another holder of the lock does.
        """
        while not self.lock:
            try:
                self.held.enter_context(locked(self.path / lock, does))
                self.lock = lock
            except FileNotFoundError:  # its last holder has removed the folder, after a mistake
                self.path.mkdir(parents=True, exist_ok=True)
        # with what another process wrote while this one waited
        self.before |= {one.name for one in self.path.iterdir()} - {lock}

    def release(self) -> None:
        """Let other processes have the folder, or remove it again if nothing has been written to it."""
        if self.lock and self.path.is_dir() and {one.name for one in self.path.iterdir()} <= {self.lock}:
            self.remove_written()
        self.held.close()

    def remove_written(self, names: Iterable[str] = ()) -> None:
        """Remove what this process wrote; what stood there before stays, and so does a folder that isn't empty.

        Args:
            names: What it may have written into the folder beside the lock.
        """
        for path in (self.path / name for name in {*names, self.lock} - {"", *self.before}):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for folder in reversed(self.made):
            if not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()


def must_hold(output: Output, kind: str, option: str) -> None:
    """Refuse the folder of a sweep for a job, and that of a job for a sweep: only one of both could be opened.

    Args:
        output: The folder.
        kind: What it is to hold, ``job`` or ``sweep``.
        option: What named the folder.

    Raises:
        ConfigError: It holds the other one.
    """
    other, signs = ("sweep", {SWEEP}) if kind == "job" else ("job", {MANIFEST, ".hydra"})
    if output.before & signs:
        raise rule_error(
            option, f"be a folder for a {kind}, it holds a {other}", str(output.path), "Give another folder."
        )


def must_be_free(directory: Path, config: Mapping[str, Any], option: str) -> None:
    """Refuse a folder that holds another config's job, whether that is done or not.

    Args:
        directory: The folder.
        config: What is asked for now, as plain containers.
        option: What named the folder.

    Raises:
        ConfigError: With the first option that differs.
    """
    held = read_config(directory)
    if held is None:
        if own := next((name for name in RESULTS if (directory / name).exists()), None):
            rule = f"be a folder without {own}, which this job would write over"
            raise rule_error(option, rule, str(directory), "Give another folder.")
        return
    there, here = ({name: part for name, part in in_json(one).items() if name not in HOW_RUN} for one in (held, config))
    if differing := next(differences(there, here), None):
        name, there, here = differing
        rule = f"be a folder of this job alone, it holds one with {name}={there!r} where {here!r} is asked for"
        raise rule_error(option, rule, str(directory), "Give another folder, or remove that one.")


def read_config(directory: Path) -> Mapping[str, Any] | None:
    """The config of the job that a folder holds, as plain containers; None where it holds none that can be read."""
    try:
        config: Any = open_job(directory).manifest.config or None
    except (ConfigError, OSError):
        try:
            config = OmegaConf.to_container(OmegaConf.load(directory / COMPOSED), resolve=True)
        except Exception:  # of any kind: a process may have died while it was written
            config = None
    return config if isinstance(config, Mapping) else None


def differences(there: Any, here: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The differences of two JSON values: (name with dots, one value, the other); None stands for a missing one."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in sorted(there.keys() | here.keys()):
            yield from differences(there.get(name), here.get(name), f"{place}.{name}".lstrip("."))
    elif there != here or type(there) is not type(here):
        yield place, there, here
