"""Checks of jobs before the first one runs: their configs, their folders, their launcher's package."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from eif_lab.errors import rule_error
from eif_lab.results.folders import ARRAYS

LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("ray", "ray"),
}
"""The module that each launcher of ``conf/hydra/launcher`` imports, and the extra that installs it."""

FEW = 20
"""Jobs that are checked before a bar would be seen."""

PATIENCE = 2.0
"""Seconds of silence before the console says that jobs are being checked."""


def job_config(config: DictConfig, *place: str) -> dict[str, Any]:
    """A job's config in plain containers, as the job will read it.

    Args:
        config: With Hydra's part.
        place: The keys of Hydra's part that together name the job's directory.
    """
    hydra = HydraConfig.instance()
    before, hydra.cfg = hydra.cfg, cast(Any, config)  # what ${hydra:...} means
    try:
        config.hydra.runtime.output_dir = os.path.abspath(
            os.path.join(*(str(OmegaConf.select(config, key)) for key in place))
        )
        return to_plain_containers(OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"]))
    finally:
        hydra.cfg = before


def to_plain_containers(config: DictConfig) -> dict[str, Any]:
    """The config in plain containers, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


class JobFolders:
    """The folders of a sweep's jobs, as far as they are checked.

    Attributes:
        numbers: The number of the job that each folder is of.
        above: The number of a job that each folder between the sweep's and a job's holds.
    """

    def __init__(self) -> None:
        self.numbers: dict[Path, int] = {}
        self.above: dict[Path, int] = {}

    def add(self, config: DictConfig, number: int) -> None:
        """Add a job's folder.

        Args:
            config: The job's, with Hydra's part.
            number: The job's.

        Raises:
            ConfigError: It is another job's, lies in one or holds one, or is not below the sweep's.
        """
        field, name, hint = "hydra.sweep.subdir", str(config.hydra.sweep.subdir), "Try '${hydra.job.num}'."
        # seen from the sweep's, whose own name may be of the time
        folder = Path(os.path.relpath(config.hydra.runtime.output_dir, config.hydra.sweep.dir))
        if folder == Path() or any(part.startswith(".") or part.endswith(ARRAYS) for part in folder.parts):
            rule = f"name a folder below the sweep's, no part of it hidden or ending in {ARRAYS}"
            raise rule_error(field, rule, name, hint)
        within = [one for one in folder.parents if one != Path()]
        others = [self.numbers[one] for one in (folder, *within) if one in self.numbers]
        other = others[0] if others else self.above.get(folder)
        if other is not None:
            rule = f"give each job a folder of its own, jobs {other} and {number} would share one"
            raise rule_error(field, rule, name, hint)
        self.numbers[folder] = number
        self.above |= dict.fromkeys(within, number)


def show_progress(jobs: Sequence[list[str]]) -> Generator[list[str], None, None]:
    """The jobs, one after the other; the console says so where it takes longer than a moment."""
    if sys.stderr.isatty() and len(jobs) > FEW:
        from rich.console import Console
        from rich.progress import track

        yield from track(jobs, "checking jobs", console=Console(stderr=True), transient=True)
        return
    silent, began = True, math.inf
    for job in jobs:
        if silent and time.monotonic() - began > PATIENCE:
            print(f"checking {len(jobs)} jobs", file=sys.stderr)
            silent = False
        yield job
        began = min(began, time.monotonic())  # after the first, which loads what all of them need


def require_launcher(launcher: str) -> None:
    """Refuse a launcher whose package is not there.

    Raises:
        ConfigError: With what installs it.
    """
    module, extra = LAUNCHERS.get(launcher, ("hydra", ""))
    try:
        installed = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of the package that it would be in
        installed = None
    if installed is None:
        rule, hint = "be one whose package is installed", f"Try pip install 'eif-lab[{extra}]', or leave it out."
        raise rule_error("hydra/launcher", rule, launcher, hint)
