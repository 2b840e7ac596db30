"""The command line: compose, validate, run."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from eif_lab.compose import CONF, PRIMARY, Command, Jobs, plainly
from eif_lab.schema import ConfigError, Job, NotApplicable, print_anywhere, read_job, rule_error

if TYPE_CHECKING:
    from eif_lab.results.store import JobResults

log = logging.getLogger(__name__)

ASKS_ONLY = (
    "-h",
    "--help",
    "--hydra-help",
    "--version",
    "-c",
    "--cfg",
    "-i",
    "--info",
    "-p",
    "--package",
    "-sc",
    "--shell-completion",
    "--resolve",
)

USER_ERROR, JOB_FAILED = 2, 1


class SweepDirectory(Callback):
    """Remembers where a sweep writes, so that its table can be made after the last job, however the jobs ended.

    Attributes:
        path: The sweep's directory.
        launcher: What runs its jobs, where that is not this process.
    """

    path: Path | None = None
    launcher: str = ""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keep both."""
        SweepDirectory.path = Path(config.hydra.sweep.dir).absolute()
        chosen = str(config.hydra.runtime.choices["hydra/launcher"])
        SweepDirectory.launcher = "" if chosen == "basic" else chosen


exit_code = 0
"""Of a single job; what a job raises, Hydra would print."""


def job(config: DictConfig) -> None:
    """One job, in a sweep or alone, unless its directory holds it; in a sweep a failure is recorded, the others run."""
    from eif_lab.results.store import finished, sole

    directory = Path(HydraConfig.get().runtime.output_dir)
    with sole(directory):
        done = finished(directory, plainly(config))
        if done is None:
            run_here(config, directory)
        else:
            log.info("%s is done: remove it to run it again", directory)
            show(done)


def show(done: JobResults) -> None:
    """Print a job that has ended: in a sweep one line, alone its verdicts."""
    from eif_lab.results.console import print_finished
    from eif_lab.results.table import print_job

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        print_finished(done)
    else:
        print_job(done)
        print(f"results: {done.path}")


def run_here(config: DictConfig, directory: Path) -> None:
    """Run a job in its directory."""
    global exit_code  # noqa: PLW0603 - Hydra passes no result of a job on to the caller
    from eif_lab.results.store import LOCK, open_job, write_job

    context = HydraConfig.get()
    made = {".hydra", "job.log", LOCK}
    sweep = context.mode == RunMode.MULTIRUN
    plain = plainly(config)
    overrides = list(context.overrides.task)
    record: dict[str, Any] = {"name": " ".join(overrides) or "default", "config": plain, "overrides": overrides}
    trace = ""
    quiet_libraries()
    try:
        options = read_job(plain)
        if options.plan:
            rule = "be false where Hydra alone knows the jobs, with another sweeper or another folder of configs"
            raise rule_error("plan", rule, True, "Leave those out.")
        made |= {name for name in options.tracker.leaves if not (directory / name).exists()}
        from eif_lab.pipeline import job_name, run_job

        record["name"] = job_name(options)
        group = Path(context.sweep.dir).name if sweep else directory.name
        run_job(options, plain, directory, group, overrides)
    except ConfigError as error:
        if not sweep:
            print(error, file=sys.stderr)
            forget(directory, made)
            exit_code = USER_ERROR
            return
        record |= {"status": "not applicable" if isinstance(error, NotApplicable) else "failed", "reason": str(error)}
    except Exception as error:
        trace = traceback.format_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        record |= {"status": "failed", "reason": reason}
    if "status" in record:
        try:
            write_job(directory, record, None, [], {})
            if trace:
                (directory / "traceback.txt").write_text(trace, encoding="utf-8")
        except OSError as error:  # where not even that can be written, the other jobs still may
            print(f"{record['name']}: {record['reason']} ({error})", file=sys.stderr)
            exit_code = JOB_FAILED
            return
    show(open_job(directory))
    if not sweep:
        exit_code = JOB_FAILED if "status" in record else 0


def forget(directory: Path, made: set[str]) -> None:
    """Remove what Hydra wrote before the job began, and what the job's tracker did; nothing else, whatever it is.

    Args:
        directory: The job's own.
        made: Names of what they wrote in it.
    """
    logging.shutdown()
    for path in (directory / name for name in made):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in (directory, *directory.parents):
        if folder == Path.cwd() or any(folder.iterdir()):
            return
        folder.rmdir()


def quiet_libraries() -> None:
    """Keep what libraries say about themselves off the console; warnings stay."""
    for name in ("pytorch_lightning", "lightning", "httpx", "matplotlib", "fsspec", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def print_plan(jobs: Jobs) -> int:
    """Say what the jobs would take; 1 where one of them cannot be run or does not fit."""
    from eif_lab.plan import plan_jobs
    from eif_lab.results.plans import print_plans

    plans = list(plan_jobs(jobs))
    if len(plans) == 1 and plans[0].reason:
        raise ConfigError(plans[0].reason)
    print_plans(plans)
    return JOB_FAILED if any(plan.lacks or (plan.reason and plan.applies) for plan in plans) else 0


def one_line(error: Exception) -> str:
    """An error in one line."""
    told = " ".join(str(error).split())
    return told if isinstance(error, ConfigError) else f"{told}. Try python -m eif_lab --help"


def sweep_table() -> int:
    """Write and print the table of the sweep that ran, if one did; 1 where a job failed."""
    from eif_lab.results.folders import ended_jobs

    if SweepDirectory.path is None or not ended_jobs(SweepDirectory.path):
        return 0
    from eif_lab.results.seeds import print_seeds, write_seeds
    from eif_lab.results.table import print_sweep, write_sweep

    table = write_sweep(SweepDirectory.path)
    print_sweep(table)
    print_seeds(write_seeds(SweepDirectory.path))
    print(f"results: {SweepDirectory.path}")
    return JOB_FAILED if (table["status"] == "failed").any() else 0


def run_launched(run: Callable[[], None]) -> None:
    """Run, and say in one line what became of jobs in other processes that ended without a word.

    Args:
        run: Hydra's main; what it raises of this process's own jobs is not touched.
    """
    global exit_code  # noqa: PLW0603
    from hydra.errors import HydraException

    try:
        run()
    except (ConfigError, HydraException):
        raise
    except Exception as error:
        if not SweepDirectory.launcher:
            raise
        told = f"hydra/launcher={SweepDirectory.launcher}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        hint = f"Give the same command again with hydra.sweep.dir={SweepDirectory.path}: what is done is kept."
        print(f"{told}. {hint}", file=sys.stderr)
        exit_code = JOB_FAILED


def main() -> int:
    """Run the command line.

    Returns:
        0; 1 where a job failed; 2 for a mistake in what was asked, told in one line, with nothing written.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would otherwise print and exit with
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    # cuBLAS looks once, so that a deterministic job of a sweep may come too late to set it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    arguments = sys.argv[1:]
    print_anywhere()
    try:
        if any(argument.split("=")[0] in ASKS_ONLY for argument in arguments):
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)(job)()
            return 0
        command = Command(arguments)
        jobs = command.jobs()
        if any(isinstance(job, Job) and job.plan for _, job in jobs):
            return print_plan(jobs)
        run_launched(lambda: command.run(job))
        return max(exit_code, sweep_table())
    except (ConfigError, HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        print(one_line(error), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        sweep_table()
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # under its own name, so that Hydra's callback and this module share one state
    from eif_lab.__main__ import main as entry

    sys.exit(entry())
