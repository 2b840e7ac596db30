"""One job that Hydra has composed: run in its folder, unless that holds it, and its failure recorded."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from eif_lab.commands.answer import JOB_FAILED, USER_ERROR, error_line, results_line
from eif_lab.commands.checking import to_plain_containers
from eif_lab.commands.interruption import interruptible
from eif_lab.commands.output import Output, must_be_free
from eif_lab.errors import (
    ConfigError,
    NotApplicable,
    class_and_reason,
    memory_line,
    printable,
    rule_error,
    short_of_memory,
)
from eif_lab.jobs.job import job_name, names_of_choices
from eif_lab.jobs.read import read_job
from eif_lab.results.folders import MANIFEST

if TYPE_CHECKING:
    from eif_lab.results.job import JobResults

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComposedJob:
    """One job, and where it writes.

    Attributes:
        config: As plain containers.
        directory: The job's own.
        overrides: What the job differs in from the defaults.
        group: The name of its sweep, or of its folder.
        swept: Whether it is one of a sweep.
    """

    config: dict[str, Any]
    directory: Path
    overrides: list[str]
    group: str
    swept: bool

    @classmethod
    def of(cls, config: DictConfig, swept: bool) -> ComposedJob:
        """The job that Hydra runs now."""
        context = HydraConfig.get()
        directory = Path(context.runtime.output_dir)
        overrides = cast(list[str], OmegaConf.to_container(context.overrides.task, resolve=False))
        group = Path(context.sweep.dir).name if swept else directory.name
        return cls(to_plain_containers(config), directory, overrides, group, swept)


def run_alone(output: Output, config: DictConfig) -> int:
    """Run the only job of a command; what a user's mistake has left in its folder is removed.

    Args:
        output: The folder, which is held.
        config: The job's, as Hydra composed it.

    Returns:
        The exit code.
    """
    job = ComposedJob.of(config, swept=False)
    try:
        return run_unless_done(job)
    except ConfigError as error:
        print(error_line(error), file=sys.stderr)
        logging.shutdown()
        output.remove_written({".hydra", "job.log", *tracker_files(job)})
        return USER_ERROR


@dataclass
class SweepPace:
    """How far a sweep is, and how long the rest of it may take.

    Attributes:
        total: The number of its jobs; 0 where a sweeper alone knows them.
        alone: Whether this process runs all of them, one after the other: only then is the time left known.
        seconds: That each job took which was run, in their order.
    """

    total: int
    alone: bool
    seconds: list[float] = field(default_factory=list)

    def line(self, number: int) -> str:
        """Which job begins now: ``job 3 of 12, about 4 min 10 s left``; the rest takes as long a job as those before.

        Args:
            number: The job's, from 0 on.
        """
        from eif_lab.console.progress import duration

        place = f"job {number + 1}" + (f" of {self.total}" if self.total else "")
        if not (self.alone and self.seconds and self.total):
            return place
        left = (self.total - number) * sum(self.seconds) / len(self.seconds)
        return f"{place}, about {duration(left)} left"


def run_in_sweep(pace: SweepPace, config: DictConfig) -> int:
    """Run one job of a sweep, in this process or a launcher's; a failure is recorded, and the other jobs run.

    Args:
        pace: Of the sweep; the job's own time is added to it.
        config: The job's, as Hydra composed it.

    Returns:
        The job's exit code.

    Raises:
        ConfigError: The directory holds another config's job.
    """
    from eif_lab.results.job import exclusive

    job = ComposedJob.of(config, swept=True)
    log.info(pace.line(HydraConfig.get().job.num))
    with exclusive(job.directory):
        must_be_free(job.directory, job.config, "hydra.sweep.dir")
        ended, started = (job.directory / MANIFEST).is_file(), time.perf_counter()
        try:
            return run_unless_done(job)
        except ConfigError as error:
            status = "not applicable" if isinstance(error, NotApplicable) else "failed"
            return record(job, status, str(error))
        finally:
            if not ended:  # one that is only found again says nothing of the time that the others take
                pace.seconds.append(time.perf_counter() - started)


def run_unless_done(job: ComposedJob) -> int:
    """Run a job, or show the results of the same job in its directory.

    Returns:
        The job's exit code.

    Raises:
        ConfigError: It cannot be run as it is asked for.
    """
    from eif_lab.results.cache import ArrayCache
    from eif_lab.results.checkpoint import clear_finished
    from eif_lab.results.job import finished_job

    key = requested_key(job.config)
    done = None if key is None else finished_job(job.directory, job.config, key)
    if done is None:
        return run_here(job)
    log.info("%s is done: remove it to run it again", job.directory)
    clear_finished(ArrayCache(Path(job.config["cache"]) / "influence"), done)
    print_results(done, job.swept)
    return 0


def requested_key(config: Mapping[str, Any]) -> str | None:
    """The key of the array that a job asks for; None where the job itself will say why there is none."""
    from eif_lab.jobs.determinants import key_of

    try:
        return key_of(read_job(config))
    except Exception:  # of any kind, such as from a dataset of the user's own
        return None


def run_here(job: ComposedJob) -> int:
    """Run a job in its directory, and record what makes it fail.

    Returns:
        The job's exit code.

    Raises:
        ConfigError: It cannot be run as it is asked for.
    """
    quiet_libraries()
    try:
        options = read_job(job.config)
        if options.plan:
            rule = "be false where another sweeper than Hydra's own alone knows the jobs"
            raise rule_error("plan", rule, True, "Leave hydra/sweeper out.")
        from eif_lab.jobs.run import run_job

        with interruptible():
            run_job(options, job.config, job.directory, job.group, job.overrides)
    except ConfigError:
        raise
    except Exception as error:
        if short_of_memory(error):
            return record(job, "failed", memory_line(error))
        return record(job, "failed", class_and_reason(error), traceback.format_exc())
    print_results(read_results(job), job.swept)
    return 0


def record(job: ComposedJob, status: str, reason: str, trace: str = "") -> int:
    """Write down that a job failed or does not apply; print it where that can't be done, or would cost results.

    Args:
        job: The job.
        status: ``failed`` or ``not applicable``.
        reason: What became of it, in one line.
        trace: Its traceback; empty where that tells a user nothing.

    Returns:
        The job's exit code.
    """
    from eif_lab.results.job import whole_job, write_job

    name = display_name(job)
    line = printable(f"{name}: {reason}")
    if (kept := whole_job(job.directory)) is not None:
        print(f"{line} (the results of {kept.manifest.created} in {job.directory} are kept)", file=sys.stderr)
        return JOB_FAILED
    manifest = {
        "name": name,
        "config": job.config,
        "choices": choice_names(job),
        "overrides": job.overrides,
        "status": status,
        "reason": reason,
    }
    try:
        write_job(job.directory, manifest, None, [], {})
        if trace:
            (job.directory / "traceback.txt").write_text(trace, encoding="utf-8")
    except (OSError, MemoryError, ImportError) as error:  # where not even that is possible, other jobs still may be
        print(line if short_of_memory(error) else f"{line} ({error})", file=sys.stderr)
        return JOB_FAILED
    print_results(read_results(job), job.swept)
    return JOB_FAILED if status == "failed" else 0


def display_name(job: ComposedJob) -> str:
    """The name of a job: by its options, or by its overrides where the options make no job."""
    try:
        return job_name(read_job(job.config))
    except ConfigError:
        return " ".join(job.overrides) or "default"


def choice_names(job: ComposedJob) -> dict[str, str]:
    """What a job's choices are called; empty where the options make no job."""
    try:
        return names_of_choices(read_job(job.config))
    except ConfigError:
        return {}


def tracker_files(job: ComposedJob) -> tuple[str, ...]:
    """The names of what a job's tracker leaves in its folder; none where the options make no job."""
    try:
        return tuple(read_job(job.config).tracker.leaves)
    except ConfigError:
        return ()


def read_results(job: ComposedJob) -> JobResults:
    """The results of a job that has ended."""
    from eif_lab.results.job import open_job

    return open_job(job.directory)


def print_results(done: JobResults, swept: bool) -> None:
    """Print a job that has ended: in a sweep one line, alone its verdicts."""
    from eif_lab.console.tables import print_finished, print_job
    from eif_lab.results.manifest import DONE

    if swept:
        print_finished(done)
    else:
        print_job(done)
        print(results_line(done.path, "look at them" if done.manifest.status == DONE else ""))


def quiet_libraries() -> None:
    """Keep what libraries say about themselves off the console; warnings stay."""
    for name in ("pytorch_lightning", "lightning", "httpx", "fsspec", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write, and does without
    logging.raiseExceptions = False  # each line that a full disk keeps from job.log would print a traceback
