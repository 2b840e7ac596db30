"""The folders of a sweep's jobs: one rule for every reader of a sweep."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MANIFEST = "manifest.json"
"""The file that is written last: a folder that holds it is that of a job that has ended, well or not."""

SWEEP = "multirun.yaml"
"""The file that Hydra writes into a sweep's folder before the first job."""

ARRAYS = ".zarr"
"""How the folder of an array ends."""

OVERRIDES = ".hydra/overrides.yaml"
"""The file that Hydra writes as a job begins."""


def job_folders(sweep: Path) -> list[Path]:
    """The folders of a sweep's jobs, begun or ended, at any depth; ``hydra.sweep.subdir`` may hold slashes.

    Links are followed, and each folder is looked at once. What lies in a hidden folder, in an array or in a job that
    has ended is no job.

    Args:
        sweep: Its directory, which is no job of its own.

    Returns:
        Sorted by their place in the sweep, numbers by their value.
    """
    jobs: list[Path] = []
    seen: set[str] = set()
    for place, names, files in os.walk(sweep, followlinks=True):
        folder, real = Path(place), os.path.realpath(place)
        below = [name for name in names if not name.startswith(".") and not name.endswith(ARRAYS)]
        if real not in seen and folder != Path(sweep):
            ended = MANIFEST in files
            if ended or (".hydra" in names and (folder / OVERRIDES).is_file()):
                jobs.append(folder)
            below = [] if ended else below
        names[:] = [] if real in seen else below
        seen.add(real)
    return sorted(jobs, key=lambda job: sort_key(job.relative_to(sweep)))


def ended_jobs(sweep: Path) -> list[Path]:
    """The folders among `job_folders` whose jobs have ended."""
    return [folder for folder in job_folders(sweep) if (folder / MANIFEST).is_file()]


def begun_overrides(folder: Path) -> tuple[str, ...] | None:
    """The overrides of the job that began in a folder; None where they can't be read, as after a kill."""
    import yaml

    try:
        overrides = yaml.safe_load((folder / OVERRIDES).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return tuple(map(str, overrides)) if isinstance(overrides, list) else None


def sort_key(place: Path) -> list[tuple[int, str]]:
    """The sort key of jobs' places: part by part, numbers by their value and before names."""
    return [(int(part) if part.isdecimal() else sys.maxsize, part) for part in place.parts]
