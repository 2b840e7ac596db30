"""The jobs of a command line, composed as Hydra will run them, and checked before any is run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, chdir, closing
from typing import Any, cast

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import detect_task_name
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from eif_lab.commands.answer import replace_unencodable
from eif_lab.commands.checking import JobFolders, job_config, require_launcher, show_progress
from eif_lab.commands.choices import PRIMARY
from eif_lab.commands.flags import MODULE, flags, search_path
from eif_lab.commands.loader import Loader
from eif_lab.commands.refusals import explain_refusals, search_paths
from eif_lab.commands.splitting import can_split, split_jobs
from eif_lab.configs import CONF
from eif_lab.errors import NotApplicable, rule_error
from eif_lab.jobs.job import Job

Jobs = list[tuple[list[str], Job | NotApplicable]]
"""The overrides of each job of a command, with its options, or the reason why they do not go together."""


class ComposedHydra(Hydra):
    """Hydra, which runs a config that is composed already.

    Attributes:
        composed: The config, once `Command` has it.
    """

    composed: DictConfig

    def compose_config(self, *given: Any, with_log_configuration: bool = False, **options: Any) -> DictConfig:
        """The composed config where a run begins, which is when Hydra sets up its log; else what Hydra composes."""
        if not with_log_configuration:
            return super().compose_config(*given, **options)
        configure_log(self.composed.hydra.hydra_logging, self.composed.hydra.verbose)
        return self.composed


class Command:
    """A command line, and Hydra as it will run it.

    Attributes:
        loader: Of configs, from the search path that the flags make.
        name: Of the primary config.
        overrides: As Hydra will see them.
        swept: Whether it is a sweep, which ``-m``, an override or a config makes it.
    """

    def __init__(self, arguments: list[str]) -> None:
        args = flags(arguments)
        version.setbase("1.3")
        self.loader = Loader(search_path(args.config_path or str(CONF), args.config_dir))
        self.hydra = ComposedHydra(task_name=detect_task_name(None, MODULE), config_loader=self.loader)
        self.name = args.config_name or PRIMARY
        self.overrides = list(args.overrides)
        with self.explain_refusals(self.overrides):
            mode = self.hydra.get_mode(self.name, self.overrides)
        self.swept = args.multirun or mode == RunMode.MULTIRUN
        self.mode = RunMode.MULTIRUN if self.swept else RunMode.RUN
        if mode != self.mode:
            self.overrides.append(f"hydra.mode={self.mode.name}")

    @functools.cached_property
    def config(self) -> DictConfig:
        """The job's config, or that of the whole sweep, with Hydra's part: the one that Hydra runs.

        Raises:
            ConfigError: It cannot be composed.
        """
        with self.explain_refusals(self.overrides):
            self.must_find_search_path()
            return self.loader.load_configuration(self.name, self.overrides, self.mode)

    def jobs(self) -> Jobs:
        """Check every job as Hydra will compose it.

        Returns:
            The overrides of each with its options, or the reason why they do not go together; none where a sweeper
            alone knows its jobs, and each checks itself.

        Raises:
            ConfigError: A mistake in any job, or no job that applies.
        """
        config = self.config
        with self.explain_refusals(self.overrides):
            if not self.swept:
                from eif_lab.jobs.read import read_job  # brings torch, which a mistake in the grammar does without

                return [(task_overrides(config), read_job(job_config(config, "hydra.run.dir")))]
            require_launcher(config.hydra.runtime.choices["hydra/launcher"])
            if not can_split(config.hydra.sweeper):
                return []
            jobs = split_jobs(config.hydra.sweeper, task_overrides(config), self.loader)
        if not jobs:
            raise rule_error("the sweep", "have at least one job", " ".join(self.overrides), "Try a longer range.")
        must_differ(jobs)
        folders = JobFolders()
        with closing(show_progress(jobs)) as each:
            checked = [(job, self.check_job(number, job, folders)) for number, job in enumerate(each)]
        unfit = [error for _, error in checked if isinstance(error, NotApplicable)]
        if len(unfit) == len(checked):
            raise unfit[0]
        return checked

    def check_job(self, number: int, overrides: list[str], folders: JobFolders) -> Job | NotApplicable:
        """The options of one job of a sweep, or the reason why they do not go together.

        Args:
            number: The job's.
            overrides: The job's.
            folders: Of the jobs before; this one's is added.
        """
        with self.explain_refusals(overrides):
            config = self.loader.load_job(self.config, number, overrides)
            try:
                composed = job_config(config, "hydra.sweep.dir", "hydra.sweep.subdir")
                folders.add(config, number)
                from eif_lab.jobs.read import read_job

                return read_job(composed)
            except NotApplicable as error:
                return error

    def must_find_search_path(self) -> None:
        """Refuse a search path that leads nowhere, of which Hydra warns.

        Raises:
            ConfigError: With the part that is not there.
        """
        _, files = self.loader._parse_overrides_and_create_caching_repo(self.name, search_paths(self.overrides))
        for source in files.get_sources():
            if source.provider.startswith("hydra.searchpath") and not source.available():
                hint = "Give file:// and a folder, or pkg:// and a package."
                raise rule_error("hydra.searchpath", "name folders or packages that exist", source.full_path(), hint)

    def run(self, task: TaskFunction) -> object:
        """Let Hydra run every job.

        Args:
            task: One job.

        Returns:
            What Hydra returns: a ``JobReturn``, or the lists of them that a sweeper makes.
        """
        GlobalHydra.instance().initialize(self.hydra)
        self.hydra.composed = self.config
        try:
            run = self.hydra.multirun if self.swept else self.hydra.run
            with self.explain_refusals(self.overrides):
                return run(self.name, functools.partial(run_in_starting_directory, task), self.overrides)
        finally:
            GlobalHydra.instance().clear()

    def explain_refusals(self, overrides: Sequence[str]) -> AbstractContextManager[None]:
        """Turn what Hydra refuses of these overrides into one line (`refusals.explain_refusals`)."""
        return explain_refusals(self.loader, self.name, list(dict.fromkeys([*self.overrides, *overrides])))


def must_differ(jobs: Sequence[Sequence[str]]) -> None:
    """Refuse a sweep with the same job twice, which would count as two seeds or two findings.

    Raises:
        ConfigError: With the overrides of the job.
    """
    seen = set[tuple[str, ...]]()
    for job in jobs:
        if tuple(job) in seen:
            raise rule_error("the sweep", "have each job once", " ".join(job), "Leave the second out.")
        seen.add(tuple(job))


def run_in_starting_directory(task: TaskFunction, config: DictConfig) -> object:
    """Run one job where its command was given, also with ``hydra.job.chdir``, so that paths mean what they meant there.

    Args:
        task: One job.
        config: Of the job.
    """
    replace_unencodable()  # which may be in another process
    with chdir(HydraConfig.get().runtime.cwd):
        return task(config)


def task_overrides(config: DictConfig) -> list[str]:
    """The overrides of a composed config as they were given, without Hydra's own."""
    return [str(one) for one in cast(list[Any], OmegaConf.to_container(config.hydra.overrides.task, resolve=False))]
