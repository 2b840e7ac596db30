"""Run the jobs that a command line asks for: compose and check them, claim their folder, let Hydra run them."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from eif_lab.commands.answer import JOB_FAILED, SUBCOMMANDS, run_command
from eif_lab.commands.choices import PRIMARY
from eif_lab.commands.completion import subcommands_typed
from eif_lab.commands.compose import Command, Jobs
from eif_lab.commands.flags import MODULE
from eif_lab.commands.interruption import ignore_further_signals, interruptible, report_interruption
from eif_lab.configs import CONF
from eif_lab.errors import ConfigError, rule_error, unwritable
from eif_lab.files.disk_errors import disk_errors
from eif_lab.jobs.job import Job

SHOWN_BY_HYDRA = (
    "--hydra-help",
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
"""Flags that print something and run no job."""

PATIENCE = 2.0
"""Seconds of silence while jobs are planned, before the console says how far it is."""

MISTAKES = (ConfigError, HydraException, OmegaConfBaseException, OSError, ValueError)


def main(arguments: list[str]) -> int:
    """Run the jobs of a command line.

    Returns:
        The exit code (`dispatch.main`).
    """
    set_environment()
    try:
        return run_command(lambda: run_jobs(arguments), MISTAKES)
    except KeyboardInterrupt:
        ignore_further_signals()
        return report_interruption()


def set_environment() -> None:
    """Set variables of the environment that libraries read and the user has not set."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would otherwise print and exit with
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.devnull  # of a user whom the system does not know: libraries break where there is none
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait ruin a shared machine
    # cuBLAS looks once, so that a deterministic job of a sweep may come too late to set it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def run_jobs(arguments: list[str]) -> int:
    """Compose, check, and run or plan the jobs; or let Hydra print what is asked for.

    Returns:
        The exit code.
    """
    with interruptible():
        if any(argument.split("=")[0] in SHOWN_BY_HYDRA for argument in arguments):
            if names := subcommands_typed(arguments, SUBCOMMANDS):
                print(*names, end=" ")
            sys.argv[1:] = arguments
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)(do_nothing)()
            return 0
        must_be_utf8(*arguments, os.getcwd())
        command = Command(arguments)
        jobs = command.jobs()
        if any(isinstance(job, Job) and job.plan for _, job in jobs):
            return print_plan(jobs)
        from eif_lab.commands.claim import claim_folder  # these bring pandas, which a mistake does without
        from eif_lab.commands.job import run_alone
        from eif_lab.commands.sweep import largest_code, run_sweep

        if command.swept:
            return run_sweep(command, len(jobs))
        for cache in dict.fromkeys(job.cache for _, job in jobs if isinstance(job, Job)):
            must_be_makeable(Path(cache))
        with claim_folder(command) as output, disk_errors(output.path):
            return largest_code(command.run(functools.partial(run_alone, output)))


def must_be_makeable(cache: Path) -> None:
    """Refuse a cache that is no folder and cannot become one, before anything is written.

    Raises:
        ConfigError: With the system's own reason.
    """
    if cache.is_dir():
        return
    there = next(folder for folder in (cache, *cache.absolute().parents) if os.path.lexists(folder))
    try:
        with tempfile.TemporaryDirectory(dir=there):  # some folders, such as /proc, say only then that none can be made
            pass
    except OSError as error:
        rule = f"be a folder that can be made and written ({error.strerror})"
        raise rule_error("cache", rule, str(cache), "Give another folder.") from None


def do_nothing(_: DictConfig) -> None:
    """Do nothing: the task of Hydra where it only prints."""


do_nothing.__module__ = MODULE  # which Hydra asks what a relative --config-path is relative to


def must_be_utf8(*given: str) -> None:
    """Refuse arguments and folders that no file of the results could hold.

    Raises:
        ConfigError: One is not in UTF-8; Python then has halves of surrogate pairs in it.
    """
    for text in given:
        if unwritable(text):
            raise rule_error("overrides and the working folder", "be in UTF-8", text, "Rename what is named.")


def print_plan(jobs: Jobs) -> int:
    """Say what the jobs would take; 1 where one of them cannot be run or does not fit."""
    from eif_lab.console.plans import print_plans
    from eif_lab.jobs.planning.plan import plan_jobs

    plans, told = [], time.monotonic()
    for plan in plan_jobs(jobs):
        plans.append(plan)
        if len(plans) < len(jobs) and time.monotonic() - told > PATIENCE:
            print(f"planned {len(plans)} of {len(jobs)} jobs", file=sys.stderr)
            told = time.monotonic()
    if len(plans) == 1 and plans[0].reason:
        raise ConfigError(plans[0].reason)
    print_plans(plans)
    return JOB_FAILED if any(plan.lacks or (plan.reason and plan.applies) for plan in plans) else 0
