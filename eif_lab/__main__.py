"""The command line: compose, validate, run."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import sys
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from eif_lab.schema import ConfigError, Job, NotApplicable, read_job, rule_error, unknown_name, unknown_option
from eif_lab.shortage import memory_line, short_of_memory

if TYPE_CHECKING:
    from eif_lab.results.store import JobResults

log = logging.getLogger(__name__)

# that a launcher's preset is held to its plugin's schema is what it should be; here, because workers import this too
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)

HERE = Path(__file__).resolve().parent
CONF = next(folder for folder in (HERE / "conf", HERE.parent / "conf") if folder.is_dir())
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
FREE = "method.options."
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("ray", "ray"),
}
"""What each launcher of ``conf/hydra/launcher`` imports, and the extra that installs it."""
Jobs = list[tuple[list[str], Job | NotApplicable]]
"""The overrides of each job of a command, with its options, or the reason why they do not go together."""

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
    from eif_lab.results.store import ArrayCache, finished, sole
    from eif_lab.results.unfinished import clear_left

    directory = Path(HydraConfig.get().runtime.output_dir)
    with sole(directory):
        done = finished(directory, plainly(config))
        if done is None:
            run_here(config, directory)
        else:
            log.info("%s is done: remove it to run it again", directory)
            clear_left(ArrayCache(Path(config.cache) / "influence"), done)
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
        if short_of_memory(error):
            trace, reason = "", memory_line(error)
        record |= {"status": "failed", "reason": reason}
    if "status" in record:
        try:
            write_job(directory, record, None, [], {})
            if trace:
                (directory / "traceback.txt").write_text(trace)
        except (OSError, MemoryError, ImportError) as error:  # where not even that is possible, other jobs still may be
            why = "" if short_of_memory(error) else f" ({error})"
            print(f"{record['name']}: {record['reason']}{why}", file=sys.stderr)
            exit_code = JOB_FAILED
            return
    show(open_job(directory))
    if not sweep:
        exit_code = JOB_FAILED if "status" in record else 0


def plainly(config: DictConfig) -> dict[str, Any]:
    """The config in plain containers, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


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
    for name in ("pytorch_lightning", "lightning", "httpx", "fsspec", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write, and does without
    logging.raiseExceptions = False  # each line that a full disk keeps from job.log would print a traceback


def validate(arguments: list[str]) -> Jobs:
    """Compose and check every job before anything is written.

    Returns:
        The overrides of each with its options, or the reason why they do not go together; none where only Hydra knows
        the jobs, and each checks itself.

    Raises:
        ConfigError: A mistake in any job, or no job that applies.
        HydraException, OmegaConfBaseException: What Hydra refuses.
    """
    from hydra import compose, initialize_config_dir
    from hydra._internal.utils import get_args_parser
    from hydra.core.override_parser.overrides_parser import OverridesParser

    reader = get_args_parser()
    reader.exit_on_error = False  # which would print several lines
    try:
        asked, unknown = reader.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error}. Try python -m eif_lab --hydra-help") from None
    if unknown and not unknown[0].startswith("-"):
        raise rule_error("overrides", "stand together, before or behind the flags", unknown[0], "Move it.")
    if unknown:
        flags = [flag for action in reader._actions for flag in action.option_strings if flag.startswith("--")]
        raise unknown_name("flag", unknown[0], flags)
    name = asked.config_name or "config"
    folder = str(Path(asked.config_dir or asked.config_path or CONF).absolute())
    if asked.experimental_rerun:
        told, hint = "be left out, since it loads a pickle", "Give the job's overrides again."
        raise rule_error("--experimental-rerun", told, asked.experimental_rerun, hint)
    if folder != str(CONF):
        return []  # another config tree
    parser = OverridesParser.create()
    with initialize_config_dir(folder, version_base="1.3"):
        given = parser.parse_overrides(asked.overrides)
        jobs = [asked.overrides]
        if asked.multirun:
            fixed = [str(one.input_line) for one in given if not one.is_sweep_override()]
            whole = compose(name, [*fixed, "hydra.mode=MULTIRUN"], return_hydra_config=True)
            must_be_installed(whole.hydra.runtime.choices["hydra/launcher"])
            sweeper = whole.hydra.sweeper
            if not str(sweeper._target_).endswith(".BasicSweeper"):
                return []  # the sweeper alone knows its jobs
            jobs = split_jobs(sweeper, asked.overrides)
            if not jobs:
                raise rule_error("the sweep", "have at least one job", " ".join(asked.overrides), "Try a longer range.")
        checked: Jobs = []
        for overrides in jobs:
            try:
                checked.append((overrides, read_job(plainly(compose(name, list(overrides))))))
            except NotApplicable as error:
                checked.append((overrides, error))
    unfit = [error for _, error in checked if isinstance(error, NotApplicable)]
    if len(unfit) == len(checked):
        raise unfit[0]
    return checked


def must_be_installed(launcher: str) -> None:
    """Refuse a launcher whose package is not there.

    Raises:
        ConfigError: With what installs it.
    """
    module, extra = LAUNCHERS.get(launcher, ("hydra", ""))
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of the package that it would be in
        found = None
    if found is None:
        rule, hint = "be one whose package is installed", f"Try pip install 'eif-lab[{extra}]', or leave it out."
        raise rule_error("hydra/launcher", rule, launcher, hint)


def print_plan(jobs: Jobs) -> int:
    """Say what the jobs would take; 1 where one of them cannot be run or does not fit."""
    from eif_lab.plan import plan_jobs
    from eif_lab.results.plans import print_plans

    plans = list(plan_jobs(jobs))
    if len(plans) == 1 and plans[0].reason:
        raise ConfigError(plans[0].reason)
    print_plans(plans)
    return JOB_FAILED if any(plan.lacks or (plan.reason and plan.applies) for plan in plans) else 0


def split_jobs(sweeper: Mapping[str, Any], overrides: list[str]) -> list[list[str]]:
    """The overrides of each job of a sweep.

    Args:
        sweeper: The config of Hydra's own sweeper.
        overrides: Of the whole sweep, such as ``method=lora,full``.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params = [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*params, *overrides])
    return [list(job) for job in BasicSweeper.split_arguments(parsed, None)[0]]


def one_line(error: Exception) -> str:
    """Any error in one line: which field, what rule, what was received, what to try."""
    if isinstance(error, ConfigError):
        return " ".join(str(error).split())
    causes = [error]
    while isinstance(causes[-1].__cause__, Exception):
        causes.append(causes[-1].__cause__)
    told = ". ".join(dict.fromkeys(" ".join(str(cause).split()).rstrip(".") for cause in causes if str(cause)))
    choice = re.search(
        r"Could not find '([\w/]+)/([^'/]*)' Available options in '[\w/]+': (.*?) Config search path", told
    )
    if choice:
        group, name, known = choice.groups()
        return str(unknown_name(group, name, known.split()))
    nested = re.search(r"Could not load '(\w+)/([^']*)'", told)
    if nested:
        return str(unknown_name(nested[1], nested[2], [path.stem for path in (CONF / nested[1]).glob("*.yaml")]))
    field = re.search(r"Could not override '([^']*)'.*Key '([^']*)' is not in struct", told)
    if field:
        value = next((a.split("=", 1)[1] for a in sys.argv if a.startswith(f"{field[1]}=")), None)
        if field[1].startswith(FREE):
            return str(rule_error(field[1], "be given with a plus in front", value, f"Try +{field[1]}={value}"))
        return str(unknown_option(field[1], value, names_below(field[1].rpartition(".")[0])))
    return f"{told}. Try python -m eif_lab --help"


def names_below(parent: str) -> list[str]:
    """The option names below a field, under the choices of groups on the command line."""
    from hydra import compose, initialize_config_dir

    choices = [a for a in sys.argv[1:] if re.fullmatch(r"\w+=\w+", a) and (CONF / a.split("=")[0]).is_dir()]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", choices)
    below = OmegaConf.select(config, parent) if parent else config
    return [str(name) for name in (below if isinstance(below, DictConfig) else config) if name != "_target_"]


def sweep_table() -> int:
    """Write and print the table of the sweep that ran, if one did; 1 where a job failed."""
    if SweepDirectory.path is None or not any(SweepDirectory.path.glob("*/manifest.json")):
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
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.devnull  # of a user whom the system does not know: libraries break where there is none
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    # cuBLAS looks once, so that a deterministic job of a sweep may come too late to set it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    arguments = sys.argv[1:]
    run = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    try:
        asks_only = any(argument.split("=")[0] in ASKS_ONLY for argument in arguments)
        jobs = [] if asks_only else validate(arguments)
        if any(isinstance(job, Job) and job.plan for _, job in jobs):
            return print_plan(jobs)
        run_launched(run)
        return max(exit_code, sweep_table())
    except (ConfigError, HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        print(one_line(error), file=sys.stderr)
        return USER_ERROR
    except (MemoryError, ImportError, RuntimeError) as error:
        if not short_of_memory(error):
            raise
        print(memory_line(error), file=sys.stderr)
        return JOB_FAILED
    except KeyboardInterrupt:
        sweep_table()
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # under its own name, so that Hydra's callback and this module share one state
    from eif_lab.__main__ import main as entry

    sys.exit(entry())
