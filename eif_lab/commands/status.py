"""``eif-lab status SWEEP``: where each job of a sweep is."""

from __future__ import annotations

import io
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eif_lab.commands.answer import make_parser, print_result
from eif_lab.errors import ConfigError, one_line, rule_error
from eif_lab.results.folders import MANIFEST, SWEEP, begun_overrides, job_folders

if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath

RUNNING, LEFT = "running", "left"
LONGEST_NAME = 40


class JobStatus(NamedTuple):
    """Where one job of a sweep is.

    Attributes:
        folder: Its place in the sweep; empty where the job has not begun.
        status: ``done``, ``running``, ``failed``, ``not applicable`` or ``left``.
        overrides: What tells it from the defaults.
        reason: Why it is not done, where that is known.
    """

    folder: str
    status: str
    overrides: tuple[str, ...]
    reason: str = ""


def main(arguments: list[str]) -> int:
    """Print where each job of a sweep is.

    Returns:
        0; 2 for a mistake in the command line, reported in one line.
    """
    parser = make_parser("status")
    parser.add_argument("sweep", type=Path, help="the folder that a sweep writes to")
    sweep = parser.parse_args(arguments).sweep
    return print_result(lambda: status_table(sweep))


def status_table(sweep: Path) -> str:
    """The table of a sweep's jobs, their counts, and the command that goes on with it.

    Raises:
        ConfigError: There is no sweep, or what describes it is damaged.
    """
    from rich.table import Table
    from rich.text import Text

    from eif_lab.console.tables import page
    from eif_lab.results.manifest import STATUSES

    jobs, command = read_sweep(sweep)
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("job", "status", "overrides", "reason"):
        table.add_column(column, overflow="fold", max_width=LONGEST_NAME if column == "overrides" else None)
    for job in jobs:
        differing = " ".join(one for one in job.overrides if one not in shared)
        table.add_row(*(Text(cell) for cell in (job.folder, job.status, differing, job.reason)))
    counts = Counter(job.status for job in jobs)
    text = io.StringIO()
    console = page(text)
    console.print(table)
    console.print("   ".join(f"{counts[status]} {status}" for status in (*STATUSES, RUNNING, LEFT)))
    unfinished = counts["failed"] + counts[LEFT]
    onward = f"\ngo on: {command}" if command and unfinished else ""
    return text.getvalue().rstrip() + onward


def read_sweep(sweep: Path) -> tuple[list[JobStatus], str]:
    """Where each job of a sweep is, begun or not, and the command that goes on with it, if that is known.

    Raises:
        ConfigError: There is no sweep, or what describes it is damaged.
    """
    begun = [job_status(folder, sweep) for folder in job_folders(sweep)]
    requested, command = requested_jobs(sweep) if (sweep / SWEEP).is_file() else ([], "")
    if not begun and not requested:
        rule = f"be a sweep (a folder with {SWEEP}, or of jobs)"
        raise rule_error("sweep", rule, str(sweep), "Give the folder that the sweep printed.")
    seen = Counter(job.overrides for job in begun)
    absent = Counter(requested) - seen
    return [*begun, *(JobStatus("", LEFT, overrides, "not begun") for overrides in absent.elements())], command


def job_status(folder: Path, sweep: Path) -> JobStatus:
    """Where the job of a folder of the sweep is."""
    from eif_lab.results.job import is_running, open_job

    manifest, reason = None, "interrupted"
    try:
        if (folder / MANIFEST).is_file():
            manifest = open_job(folder).manifest
    except ConfigError as error:
        reason = str(error)
    overrides = begun_overrides(folder)
    if overrides is None:
        overrides = tuple(map(str, manifest.overrides)) if manifest else ()
    name = folder.relative_to(sweep).as_posix()
    if is_running(folder):
        return JobStatus(name, RUNNING, overrides)
    if manifest is None:
        return JobStatus(name, LEFT, overrides, reason)
    return JobStatus(name, manifest.status, overrides, one_line(manifest.reason))


def requested_jobs(sweep: Path) -> tuple[list[tuple[str, ...]], str]:
    """The overrides of each job that a sweep is to run, and the command that runs it again in the same folder.

    Raises:
        ConfigError: What Hydra wrote about it is damaged.
    """
    from hydra.errors import HydraException

    from eif_lab.commands.loader import Loader, format_override
    from eif_lab.commands.splitting import can_split, split_jobs

    hydra = read_yaml(sweep / SWEEP)
    try:
        hydra = hydra["hydra"]
        task, others = ([str(one) for one in hydra["overrides"][part]] for part in ("task", "hydra"))
        sources = hydra.get("runtime", {}).get("config_sources") or []
        known = can_split(hydra["sweeper"])
        jobs = split_jobs(hydra["sweeper"], task, Loader(search_path_of(sources))) if known else []
        flags = flags_of(sources, hydra.get("job", {}).get("config_name"))
        began = hydra.get("runtime", {}).get("cwd")
    except (HydraException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise rule_error(str(sweep / SWEEP), "be what Hydra wrote", f"{type(error).__name__}: {error}") from None
    repeated = [one for one in others if not one.startswith(("hydra.sweep.dir=", "hydra.mode="))]
    here = began is None or Path(began) == Path.cwd()
    place = sweep if here else sweep.absolute()
    words = ["eif-lab", *flags, "-m", *task, *repeated, format_override("hydra.sweep.dir", str(place))]
    command = shlex.join(words)
    return [tuple(job) for job in jobs], command if here else f"{shlex.join(['cd', str(began)])} && {command}"


def search_path_of(sources: Sequence[Mapping[str, str]]) -> ConfigSearchPath:
    """The search path of a sweep's command line, without what an override or a config added to it.

    A package is imported to look into it, so that only those are taken that are installed for this purpose, whatever
    the folder says.

    Args:
        sources: As Hydra recorded them.
    """
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

    path = ConfigSearchPathImpl()
    for one in sources:
        safe = one["schema"] == "file" or one["path"].partition(".")[0] in ("hydra", "eif_lab", "hydra_plugins")
        if safe and not one["provider"].startswith("hydra.searchpath"):
            path.append(one["provider"], f"{one['schema']}://{one['path']}")
    return path


def flags_of(sources: Sequence[Mapping[str, str]], name: str | None) -> list[str]:
    """The flags that name a sweep's configs, where they are not this package's own.

    Args:
        sources: As Hydra recorded them.
        name: Of the primary config.
    """
    from eif_lab.commands.choices import PRIMARY
    from eif_lab.configs import CONF

    places = {one["provider"]: one for one in sources}
    flags = []
    main = places.get("main", {"schema": "file", "path": str(CONF)})
    if main["path"] != str(CONF):
        flags += ["--config-path", main["path"] if main["schema"] == "file" else f"{main['schema']}://{main['path']}"]
    if "command-line" in places:
        flags += ["--config-dir", places["command-line"]["path"]]
    return [*flags, "--config-name", name] if name not in (None, PRIMARY) else flags


def read_yaml(file: Path) -> Any:
    """The contents of a file of Hydra's, in plain containers; interpolations stay.

    Raises:
        ConfigError: It is damaged.
        OSError: It is not there.
    """
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise rule_error(str(file), "be what Hydra wrote", f"{type(error).__name__}: {error}") from None
