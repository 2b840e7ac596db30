"""The jobs of a sweep, run by Hydra's launcher, and the table that they end in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from eif_lab.commands.answer import JOB_FAILED, error_line, results_line
from eif_lab.commands.claim import claim_folder
from eif_lab.commands.compose import Command
from eif_lab.commands.interruption import ignore_further_signals, interruptible
from eif_lab.commands.job import SweepPace, run_in_sweep
from eif_lab.errors import ConfigError, one_line
from eif_lab.files.disk_errors import disk_errors
from eif_lab.results.folders import ended_jobs


def run_sweep(command: Command, count: int) -> int:
    """Run the jobs of a sweep, and write and print its table, also where it is interrupted.

    Args:
        command: What asks for them.
        count: How many there are; 0 where a sweeper alone knows them.

    Returns:
        0; 1 where a job failed.
    """
    chosen = str(command.config.hydra.runtime.choices["hydra/launcher"])
    launcher = "" if chosen == "basic" else chosen
    task = partial(run_in_sweep, SweepPace(count, alone=not launcher))
    with claim_folder(command) as output:
        try:
            with interruptible(), disk_errors(output.path):
                code = run_launched(lambda: command.run(task), output.path, launcher)
                return max(code, sweep_table(output.path))
        except KeyboardInterrupt:
            ignore_further_signals()
            try:
                sweep_table(output.path, whole=False)
            except Exception as error:  # a library that was interrupted while it was imported may be of no use
                print(f"no table: {error_line(error)}", file=sys.stderr)
            raise


def run_launched(run: Callable[[], object], sweep: Path, launcher: str) -> int:
    """Run, and say in one line what became of jobs in other processes that ended without a word.

    Args:
        run: Hydra's run of all jobs; what it raises of this process's own jobs is not touched.
        sweep: The folder of the sweep.
        launcher: What runs the jobs; empty for this process.

    Returns:
        The largest exit code of the jobs.
    """
    try:
        return largest_code(run())
    except (ConfigError, HydraException):
        raise
    except Exception as error:
        if not launcher:
            raise
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        hint = f"Give the same command again with hydra.sweep.dir={sweep}: what is done is kept."
        print(f"hydra/launcher={launcher}: {reason}. {hint}", file=sys.stderr)
        return JOB_FAILED


def largest_code(returned: object) -> int:
    """The largest exit code of the jobs that Hydra ran; 0 where its sweeper returns something else than its jobs.

    Args:
        returned: A ``JobReturn``, or lists of them.
    """
    if isinstance(returned, JobReturn):
        return cast(int, returned.return_value)
    return max(map(largest_code, returned), default=0) if isinstance(returned, list | tuple) else 0


def sweep_table(sweep: Path, whole: bool = True) -> int:
    """Write and print the table of the jobs of a sweep that have ended, if there are any, and the next command to give.

    Args:
        sweep: Its folder.
        whole: Whether all of its jobs have ended.

    Returns:
        0; 1 where a job failed or cannot be read, or the table cannot be written.
    """
    if not ended_jobs(sweep):
        return 0
    from eif_lab.console.seeds import print_seeds
    from eif_lab.console.tables import print_sweep
    from eif_lab.results.manifest import FAILED, UNREADABLE
    from eif_lab.results.seeds import write_seeds
    from eif_lab.results.sweep import SweepResults, open_results, write_sweep

    results, written = cast(SweepResults, open_results(sweep)), True
    print_sweep(results.table)
    try:
        write_sweep(sweep)
        print_seeds(write_seeds(sweep))
    except OSError as error:  # such as a full disk: what is printed is not lost
        written = False
        print(f"the table is not stored: {error_line(error)}", file=sys.stderr)
    well = not results.table["status"].isin([FAILED, UNREADABLE]).any()
    print(results_line(sweep, "look at them" if well and whole else "go on"))
    return 0 if written and well else JOB_FAILED
