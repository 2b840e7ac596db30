"""The command line: compose, validate, run."""

from __future__ import annotations

if __name__ == "__main__":
    # before the imports below, in which Ctrl-C may come, too; and under the module's own name, so that Hydra's callback
    # and this module share one state
    from eif_lab.commands.interruption import run

    run("eif_lab.__main__")

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from eif_lab.commands.answer import print_anywhere
from eif_lab.commands.compose import (
    CONF,
    PRIMARY,
    Command,
    Jobs,
    Loader,
    job_config,
    knows_its_jobs,
    override_of,
    plainly,
    split_jobs,
    task_overrides,
)
from eif_lab.commands.interruption import begin_to_end, noticed, tell
from eif_lab.errors import ConfigError, NotApplicable, memory_line, printable, rule_error, short_of_memory
from eif_lab.jobs.job import Job

if TYPE_CHECKING:
    from eif_lab.commands.output import Output
    from eif_lab.results.job import JobResults

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


class Refusal(BaseException):
    """A user's mistake that a callback finds, in one line: of every `Exception`, Hydra would make a warning."""


class OutputFolder(Callback):
    """Claims the folder that a command writes to before Hydra writes to it.

    Attributes:
        output: The folder; None in a process that runs one job of a sweep for another process.
        launcher: What runs the jobs of a sweep, where that is not this process.
        sweep: The folder of the sweep that this command runs; None for a single job.
    """

    output: Output | None = None
    launcher: str = ""
    sweep: Path | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Claim the folder of a single job.

        Raises:
            Refusal: It can't be had, or it holds another config's job.
        """
        from eif_lab.commands.output import must_be_free, must_hold
        from eif_lab.results.job import LOCK

        with refusing("hydra.run.dir", config.hydra.run.dir):
            output = claimed(config, "run", LOCK, "runs this job")
            must_hold(output, "job", "hydra.run.dir")
            must_be_free(output.path, job_config(config, "hydra.run.dir"), "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Claim the folder of a sweep.

        Raises:
            Refusal: It can't be had, or one of its folders holds another config's job.
        """
        from eif_lab.commands.output import SWEEP_LOCK, must_hold

        chosen = str(config.hydra.runtime.choices["hydra/launcher"])
        OutputFolder.launcher = "" if chosen == "basic" else chosen
        with refusing("hydra.sweep.dir", config.hydra.sweep.dir):
            output = claimed(config, "sweep", SWEEP_LOCK, "runs this sweep")
            must_hold(output, "sweep", "hydra.sweep.dir")
            OutputFolder.sweep = output.path
            # what each job is composed from
            config.hydra.overrides.hydra.append(override_of("hydra.sweep.dir", str(output.path)))
            if output.before:
                must_be_free_for_all(config, output.path)


@contextmanager
def refusing(option: str, given: str) -> Iterator[None]:
    """Let a user's mistake through Hydra, and leave the folder as it was.

    Args:
        option: What names the folder.
        given: Its name.
    """
    try:
        if not given:
            raise rule_error(option, "name a folder", given, "Leave it out for a new one.")
        yield
    except (ConfigError, OSError, HydraException, OmegaConfBaseException) as error:
        if isinstance(error, OSError):
            rule = f"be a folder that can be made and written ({error.strerror})"
            error = rule_error(option, rule, given, "Give another folder.")
        if (output := OutputFolder.output) is not None and output.lock:
            output.forget({output.lock})
        raise Refusal(one_line(error)) from error


def claimed(config: DictConfig, mode: str, lock: str, does: str) -> Output:
    """The folder of a command, held until the command ends; the config names it from now on.

    Args:
        config: Hydra's whole config, which is changed.
        mode: ``run`` or ``sweep``.
        lock: The name of the lock in the folder.
        does: What another holder of the lock does.
    """
    from eif_lab.commands.output import Output

    node = config.hydra[mode]
    # a name that is made of the time is a name that nobody gave
    unique = "${now:" in written(node, "dir")
    OutputFolder.output = output = Output.claim(Path(node.dir), unique)
    with read_write(config.hydra), open_dict(config.hydra):
        node.dir = str(output.path)
    output.hold(lock, does)
    return output


def must_be_free_for_all(config: DictConfig, sweep: Path) -> None:
    """Refuse a sweep's folder in which another config's job stands where a job of this sweep would.

    Args:
        config: Hydra's whole config.
        sweep: The folder.

    Raises:
        ConfigError: With the folder of the job.
    """
    from eif_lab.commands.output import must_be_free
    from eif_lab.results.folders import begun_overrides

    sweeper = config.hydra.sweeper
    if not knows_its_jobs(sweeper):
        return  # it alone knows its jobs, and each of them looks for itself
    loader = cast(Loader, GlobalHydra.instance().config_loader())
    numbered = written(config.hydra.sweep, "subdir") == "${hydra.job.num}"
    for number, overrides in enumerate(split_jobs(sweeper, task_overrides(config), loader)):
        if numbered and begun_overrides(sweep / str(number)) in (None, tuple(overrides)):
            continue  # as far as can be seen at once; the job itself looks at all of its config
        composed = loader.load_job(config, number, overrides)
        asked = job_config(composed, "hydra.sweep.dir", "hydra.sweep.subdir")
        must_be_free(sweep / str(composed.hydra.sweep.subdir), asked, "hydra.sweep.dir")


def written(node: DictConfig, name: str) -> str:
    """A value as it is written, its interpolations not resolved."""
    return str(cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))[name])


exit_code = 0
"""Of a single job; what a job raises, Hydra would print."""


def job(config: DictConfig) -> None:
    """One job, in a sweep or alone, unless its directory holds it; in a sweep a failure is recorded, the others run.

    Raises:
        ConfigError: In a sweep, the directory holds another config's job.
    """
    from eif_lab.commands.output import must_be_free
    from eif_lab.results.cache import ArrayCache
    from eif_lab.results.checkpoint import clear_left
    from eif_lab.results.job import finished, sole

    directory = Path(HydraConfig.get().runtime.output_dir)
    alone = HydraConfig.get().mode != RunMode.MULTIRUN
    plain = plainly(config)
    with nullcontext() if alone and OutputFolder.output is not None else sole(directory):
        if not alone:
            must_be_free(directory, plain, "hydra.sweep.dir")
        key = asked_key(plain)
        done = None if key is None else finished(directory, plain, key)
        if done is None:
            run_here(config, directory)
        else:
            log.info("%s is done: remove it to run it again", directory)
            clear_left(ArrayCache(Path(config.cache) / "influence"), done)
            show(done)


def asked_key(plain: Mapping[str, Any]) -> str | None:
    """The key of the array that a job asks for; None where the job itself will say why there is none."""
    from eif_lab.jobs.determinants import key_of
    from eif_lab.jobs.read import read_job

    try:
        return key_of(read_job(plain))
    except Exception:  # of any kind, such as from a dataset of the user's own
        return None


def show(done: JobResults) -> None:
    """Print a job that has ended: in a sweep one line, alone its verdicts."""
    from eif_lab.console.tables import print_finished, print_job

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        print_finished(done)
    else:
        print_job(done)
        print(f"results: {done.path}")


def run_here(config: DictConfig, directory: Path) -> None:
    """Run a job in its directory."""
    global exit_code  # noqa: PLW0603 - Hydra passes no result of a job on to the caller
    from eif_lab.jobs.read import read_job
    from eif_lab.results.job import LOCK, open_job

    context = HydraConfig.get()
    made = {".hydra", "job.log", LOCK}
    sweep = context.mode == RunMode.MULTIRUN
    plain = plainly(config)
    overrides = cast(list[str], OmegaConf.to_container(context.overrides.task, resolve=False))
    record: dict[str, Any] = {"name": " ".join(overrides) or "default", "config": plain, "overrides": overrides}
    trace = ""
    quiet_libraries()
    try:
        options = read_job(plain)
        if options.plan:
            rule = "be false where another sweeper than Hydra's own alone knows the jobs"
            raise rule_error("plan", rule, True, "Leave hydra/sweeper out.")
        made |= set(options.tracker.leaves)
        from eif_lab.jobs.job import job_name
        from eif_lab.jobs.run import run_job

        record["name"] = job_name(options)
        group = Path(context.sweep.dir).name if sweep else directory.name
        with noticed():
            run_job(options, plain, directory, group, overrides)
    except ConfigError as error:
        if not sweep:
            print(one_line(error), file=sys.stderr)
            logging.shutdown()
            if OutputFolder.output is not None:
                OutputFolder.output.forget(made)
            exit_code = USER_ERROR
            return
        record |= {"status": "not applicable" if isinstance(error, NotApplicable) else "failed", "reason": str(error)}
    except Exception as error:
        trace = traceback.format_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if short_of_memory(error):
            trace, reason = "", memory_line(error)
        record |= {"status": "failed", "reason": reason}
    failed = "status" in record
    if failed and not recorded(directory, record, trace):
        exit_code = JOB_FAILED
        return
    show(open_job(directory))
    if not sweep:
        exit_code = JOB_FAILED if failed else 0


def recorded(directory: Path, record: Mapping[str, Any], trace: str) -> bool:
    """Write down that a job failed; False where that can't be done, or would cost results, and is printed instead.

    Args:
        directory: The job's own.
        record: Its manifest.
        trace: Its traceback; empty where that tells a user nothing.
    """
    from eif_lab.results.job import whole_job, write_job

    told = printable(f"{record['name']}: {record['reason']}")
    if (kept := whole_job(directory)) is not None:
        print(f"{told} (the results of {kept.manifest['created']} in {directory} are kept)", file=sys.stderr)
        return False
    try:
        write_job(directory, record, None, [], {})
        if trace:
            (directory / "traceback.txt").write_text(trace, encoding="utf-8")
    except (OSError, MemoryError, ImportError) as error:  # where not even that is possible, other jobs still may be
        print(told if short_of_memory(error) else f"{told} ({error})", file=sys.stderr)
        return False
    return True


def quiet_libraries() -> None:
    """Keep what libraries say about themselves off the console; warnings stay."""
    for name in ("pytorch_lightning", "lightning", "httpx", "fsspec", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write, and does without
    logging.raiseExceptions = False  # each line that a full disk keeps from job.log would print a traceback


def must_be_utf8(*given: str) -> None:
    """Refuse arguments and folders that no file of the results could hold.

    Raises:
        ConfigError: One is not in UTF-8; Python then has halves of surrogate pairs in it.
    """
    for text in given:
        if re.search("[\ud800-\udfff]", text):
            raise rule_error("overrides and the working folder", "be in UTF-8", text, "Rename what is named.")


def print_plan(jobs: Jobs) -> int:
    """Say what the jobs would take; 1 where one of them cannot be run or does not fit."""
    from eif_lab.console.plans import print_plans
    from eif_lab.jobs.planning.plan import plan_jobs

    plans = list(plan_jobs(jobs))
    if len(plans) == 1 and plans[0].reason:
        raise ConfigError(plans[0].reason)
    print_plans(plans)
    return JOB_FAILED if any(plan.lacks or (plan.reason and plan.applies) for plan in plans) else 0


def one_line(error: Exception) -> str:
    """An error in one line."""
    told = printable(" ".join(str(error).split()))
    return told if isinstance(error, ConfigError) else f"{told}. Try python -m eif_lab --help"


def sweep_table() -> int:
    """Write and print the table of the sweep that ran, if one did; 1 where a job failed."""
    from eif_lab.results.folders import ended_jobs

    sweep = OutputFolder.sweep
    if sweep is None or not ended_jobs(sweep):
        return 0
    from eif_lab.console.tables import print_seeds, print_sweep
    from eif_lab.results.seeds import write_seeds
    from eif_lab.results.sweep import SweepResults, open_results, write_sweep

    results, trouble = cast(SweepResults, open_results(sweep)), False
    print_sweep(results.table)
    try:
        write_sweep(sweep)
        print_seeds(write_seeds(sweep))
    except OSError as error:  # such as a full disk: what is printed is not lost
        trouble = True
        print(f"the table is not stored: {one_line(error)}", file=sys.stderr)
    print(f"results: {sweep}")
    return JOB_FAILED if trouble or (results.table["status"] == "failed").any() else 0


def run_launched(run: Callable[[], None]) -> None:
    """Run, and say in one line what became of jobs in other processes that ended without a word.

    Args:
        run: Hydra's main; what it raises of this process's own jobs is not touched.
    """
    global exit_code  # noqa: PLW0603
    try:
        run()
    except (ConfigError, HydraException):
        raise
    except Exception as error:
        if not OutputFolder.launcher:
            raise
        told = f"hydra/launcher={OutputFolder.launcher}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        hint = f"Give the same command again with hydra.sweep.dir={OutputFolder.sweep}: what is done is kept."
        print(f"{told}. {hint}", file=sys.stderr)
        exit_code = JOB_FAILED


def main() -> int:
    """Run the command line.

    Returns:
        0; 1 where a job failed; 2 for a mistake in what was asked, told in one line, with nothing written; 130 where
        it was interrupted.
    """
    try:
        return all_jobs()
    except KeyboardInterrupt:
        begin_to_end()
        try:
            sweep_table()
        except Exception as error:  # a library that was interrupted while it was imported may be of no use
            print(f"no table: {one_line(error)}", file=sys.stderr)
        return tell()
    finally:
        if OutputFolder.output is not None:
            OutputFolder.output.release()
            OutputFolder.output = None


def all_jobs() -> int:
    """Run what the command line asks for; the exit code as of `main`."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would otherwise print and exit with
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.devnull  # of a user whom the system does not know: libraries break where there is none
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    # cuBLAS looks once, so that a deterministic job of a sweep may come too late to set it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    arguments = sys.argv[1:]
    print_anywhere()
    try:
        with noticed():
            if any(argument.split("=")[0] in ASKS_ONLY for argument in arguments):
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)(job)()
                return 0
            must_be_utf8(*arguments, os.getcwd())
            command = Command(arguments)
            jobs = command.jobs()
            if any(isinstance(job, Job) and job.plan for _, job in jobs):
                return print_plan(jobs)
            run_launched(lambda: command.run(job))
            return max(exit_code, sweep_table())
    except Refusal as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except Exception as error:
        if short_of_memory(error):
            print(memory_line(error), file=sys.stderr)
            return JOB_FAILED
        if not isinstance(error, ConfigError | HydraException | OmegaConfBaseException | OSError | ValueError):
            raise
        print(one_line(error), file=sys.stderr)
        return USER_ERROR
