"""What a command line asks for: its jobs, composed as Hydra will compose them, and checked before any is run."""

from __future__ import annotations

import copy
import functools
import importlib.util
import math
import os
import re
import sys
import time
import warnings
from argparse import ArgumentError, Namespace
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path, detect_task_name, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, RangeSweep
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eif_lab.commands.answer import print_anywhere
from eif_lab.configs import CONF
from eif_lab.errors import ConfigError, NotApplicable, rule_error, unknown_name, unknown_option
from eif_lab.jobs.job import Job
from eif_lab.results.folders import ARRAYS

# that a launcher's preset is held to its plugin's schema is what it should be; here, because workers import this too
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
warnings.filterwarnings("ignore", r"provider=.* is not available", UserWarning)  # `Command` says so itself, once

PRIMARY = "config"
"""The config of ``CONF`` that a command line overrides."""

MODULE = "eif_lab.__main__"
"""What a relative ``--config-path`` is relative to, by Hydra's rule."""

FREE = "method.options."
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("ray", "ray"),
}
"""What each launcher of ``conf/hydra/launcher`` imports, and the extra that installs it."""

SWEEPERS = (".BasicSweeper", ".CheckedSweeper")
"""Whose jobs are known before the first one runs."""

CALLBACK = "output_folder"
"""What claims the folder that a command writes to."""

MOST_KEPT = 64
"""Configs that are kept for further jobs, each of about a megabyte."""

MOST_JOBS = 100_000
"""Of a sweep; a range is easily longer than was meant, or than fits the memory."""

FEW = 20
"""Jobs that are checked before a bar would be seen."""

PATIENCE = 2.0
"""Seconds of silence before the console says that jobs are being checked."""

Jobs = list[tuple[list[str], Job | NotApplicable]]
"""The overrides of each job of a command, with its options, or the reason why they do not go together."""


@functools.lru_cache(4096)
def parsed(override: str) -> Override:
    """One override by Hydra's grammar, read once."""
    return OverridesParser.create().parse_overrides([override])[0]


def override_of(key: str, text: str) -> str:
    """The override that gives an option a text, in quotes only where Hydra's grammar needs them."""
    plain = f"{key}={text}"
    try:
        if parsed(plain).value() == text:
            return plain
    except HydraException:
        pass
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"


class Loader(ConfigLoaderImpl):
    """Hydra's loader, for many jobs: what does not differ between them is composed once.

    The jobs of a sweep differ in choices of groups, which Hydra puts together from files, and in values that it sets
    afterwards. A config is put together once for the same choices, and values are set in a copy of it, by Hydra's own
    rules. Files are read when first needed: a change to one during a sweep changes no job of it.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        Plugins.instance()  # knows where configs can lie, which a fresh process does not
        super().__init__(config_search_path)
        self.made: dict[tuple[Any, ...], DictConfig] = {}
        self.groups: dict[tuple[Any, ...], bool] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the search path, and reads the files itself."""
        return Loader, (self.config_search_path,)

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        given = [parsed(one) for one in overrides]
        values = [one for one in given if self.sets_a_value(one, config_name, overrides)]
        made_of = [one for one in given if one not in values]
        # a mapping given to a group is a value, too, whose turn among the values counts
        mapping = any(isinstance(one.value(), dict) and not one.is_hydra_override() for one in made_of)
        if mapping or not values or any(one.is_sweep_override() for one in made_of):
            return super()._load_configuration_impl(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        lines = [str(one.input_line) for one in made_of]
        key = (config_name, run_mode, *lines)
        if key not in self.made:
            if len(self.made) >= MOST_KEPT:
                self.made.clear()
            self.made[key] = super()._load_configuration_impl(config_name, lines, run_mode, from_shell)
        config = copy.deepcopy(self.made[key])
        self._apply_overrides_to_config(values, config)
        own = [one for one in given if not one.is_hydra_override()]
        config.hydra.overrides.task = [one.input_line for one in own]
        dirname = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            own, list(dirname.exclude_keys), dirname.item_sep, dirname.kv_sep
        )
        return config

    def load_job(self, master: DictConfig, number: int, overrides: Sequence[str]) -> DictConfig:
        """The config of one job of a sweep, with Hydra's part, as its launcher composes it.

        Args:
            master: The sweep's config.
            number: The job's.
            overrides: The job's.
        """
        config = self.load_sweep_config(master, list(overrides))
        with read_write(config), open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def sets_a_value(self, one: Override, config_name: str | None, overrides: list[str]) -> bool:
        """Whether an override sets, adds or removes a value of a job, whatever files the config is made of.

        Args:
            one: The override.
            config_name: The primary config.
            overrides: All of them, since a search path among them decides which groups there are.
        """
        name = one.key_or_group
        if one.is_sweep_override() or one.package is not None or name == "hydra" or one.is_hydra_override():
            return False
        paths = [line for line in overrides if "hydra.searchpath" in line]
        key = (config_name, name, *paths)
        if key not in self.groups:
            _, files = self._parse_overrides_and_create_caching_repo(config_name, paths)
            self.groups[key] = files.group_exists(name)
        return not self.groups[key]


class Command:
    """A command line, and Hydra as it will run it.

    Attributes:
        hydra: With a `Loader` of the search path that the flags make.
        name: Of the primary config.
        overrides: As Hydra will see them.
        swept: Whether it is a sweep, which ``-m``, an override or a config makes it.
        folders: The number of the job that each folder is of, as far as jobs are checked.
        above: The number of a job that each folder between the sweep's and a job's holds.
    """

    def __init__(self, arguments: list[str]) -> None:
        asked = flags(arguments)
        version.setbase("1.3")
        loader = Loader(search_path(asked.config_path or str(CONF), asked.config_dir))
        self.hydra = Hydra(task_name=detect_task_name(None, MODULE), config_loader=loader)
        self.loader = loader
        self.name = asked.config_name or PRIMARY
        self.overrides = list(asked.overrides)
        self.folders: dict[Path, int] = {}
        self.above: dict[Path, int] = {}
        mode = self.hydra.get_mode(self.name, self.overrides)
        self.swept = asked.multirun or mode == RunMode.MULTIRUN
        wanted = RunMode.MULTIRUN if self.swept else RunMode.RUN
        if mode != wanted:
            self.overrides.append(f"hydra.mode={wanted.name}")

    def jobs(self) -> Jobs:
        """Compose and check every job as Hydra will compose it.

        Returns:
            The overrides of each with its options, or the reason why they do not go together; none where a sweeper
            alone knows its jobs, and each checks itself.

        Raises:
            ConfigError: A mistake in any job, or no job that applies.
        """
        from eif_lab.jobs.read import read_job  # it loads torch, which the help does without

        self.folders.clear()
        self.above.clear()
        with self.in_words(self.overrides):
            self.must_find_search_path()
            if not self.swept:
                config = self.loader.load_configuration(self.name, self.overrides, RunMode.RUN)
                self.must_claim_its_folder(config)
                return [(task_overrides(config), read_job(job_config(config, "hydra.run.dir")))]
            master = self.loader.load_configuration(self.name, self.overrides, RunMode.MULTIRUN)
            must_be_installed(master.hydra.runtime.choices["hydra/launcher"])
            self.must_claim_its_folder(master)
            if not knows_its_jobs(master.hydra.sweeper):
                return []
            jobs = split_jobs(master.hydra.sweeper, task_overrides(master), self.loader)
        if not jobs:
            raise rule_error("the sweep", "have at least one job", " ".join(self.overrides), "Try a longer range.")
        with closing(watched(jobs)) as each:
            checked = [(job, self.checked(master, number, job)) for number, job in enumerate(each)]
        unfit = [error for _, error in checked if isinstance(error, NotApplicable)]
        if len(unfit) == len(checked):
            raise unfit[0]
        return checked

    def checked(self, master: DictConfig, number: int, overrides: list[str]) -> Job | NotApplicable:
        """The options of one job of a sweep, or the reason why they do not go together.

        Args:
            master: The sweep's config.
            number: The job's.
            overrides: The job's.
        """
        from eif_lab.jobs.read import read_job

        with self.in_words(overrides):
            config = self.loader.load_job(master, number, overrides)
            try:
                asked = job_config(config, "hydra.sweep.dir", "hydra.sweep.subdir")
                self.must_be_its_own(config, number)
                return read_job(asked)
            except NotApplicable as error:
                return error

    def must_be_its_own(self, config: DictConfig, number: int) -> None:
        """Refuse a folder that is another job's of the sweep, lies in one or holds one, or is not below the sweep's.

        Args:
            config: The job's, with Hydra's part.
            number: The job's.

        Raises:
            ConfigError: It is one of these.
        """
        field, given, hint = "hydra.sweep.subdir", str(config.hydra.sweep.subdir), "Try '${hydra.job.num}'."
        # seen from the sweep's, whose own name may be of the time
        folder = Path(os.path.relpath(config.hydra.runtime.output_dir, config.hydra.sweep.dir))
        if folder == Path() or any(part.startswith(".") or part.endswith(ARRAYS) for part in folder.parts):
            rule = f"name a folder below the sweep's, no part of it hidden or ending in {ARRAYS}"
            raise rule_error(field, rule, given, hint)
        within = [one for one in folder.parents if one != Path()]
        taken = [self.folders[one] for one in (folder, *within) if one in self.folders]
        other = taken[0] if taken else self.above.get(folder)
        if other is not None:
            rule = f"give each job a folder of its own, jobs {other} and {number} would share one"
            raise rule_error(field, rule, given, hint)
        self.folders[folder] = number
        self.above |= dict.fromkeys(within, number)

    def must_claim_its_folder(self, config: DictConfig) -> None:
        """Have the folder of the command claimed, also where another tree of configs says nothing about that."""
        if CALLBACK not in config.hydra.callbacks:
            self.overrides.append(f"++hydra.callbacks.{CALLBACK}._target_={MODULE}.OutputFolder")

    def must_find_search_path(self) -> None:
        """Refuse a search path that leads nowhere, of which Hydra warns.

        Raises:
            ConfigError: With the part that is not there.
        """
        _, files = self.loader._parse_overrides_and_create_caching_repo(self.name, self.paths)
        for source in files.get_sources():
            if source.provider.startswith("hydra.searchpath") and not source.available():
                hint = "Give file:// and a folder, or pkg:// and a package."
                raise rule_error("hydra.searchpath", "name folders or packages that exist", source.full_path(), hint)

    @property
    def paths(self) -> list[str]:
        """The overrides of the search path."""
        return [one for one in self.overrides if "hydra.searchpath" in one]

    def run(self, task: TaskFunction) -> None:
        """Let Hydra run every job.

        Args:
            task: One job.
        """
        GlobalHydra.instance().initialize(self.hydra)
        try:
            run = self.hydra.multirun if self.swept else self.hydra.run
            with self.in_words(self.overrides):
                run(config_name=self.name, task_function=functools.partial(where_given, task), overrides=self.overrides)
        finally:
            GlobalHydra.instance().clear()

    @contextmanager
    def in_words(self, overrides: Sequence[str]) -> Iterator[None]:
        """Turn what Hydra refuses into one line.

        Args:
            overrides: Of what is composed.

        Raises:
            ConfigError: Which field, what rule, what was received, what to try.
        """
        try:
            yield
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise self.refusal(error, overrides) from error

    def refusal(self, error: Exception, overrides: Sequence[str]) -> ConfigError:
        """What Hydra refuses, in one line."""
        causes = [error]
        while isinstance(causes[-1].__cause__, Exception):
            causes.append(causes[-1].__cause__)
        told = ". ".join(dict.fromkeys(" ".join(str(cause).split()).rstrip(".") for cause in causes if str(cause)))
        key = str(getattr(causes[-1], "full_key", None) or "")
        if key not in told:
            told = f"{key}: {told}"
        choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]*)'", told)
        if choice and (known := self.choices(choice[1])):
            return unknown_name(choice[1], choice[2], known)
        field = re.search(r"Could not override '([^']*)'.*Key '([^']*)' is not in struct", told)
        if field:
            value = next((one.split("=", 1)[1] for one in overrides if one.startswith(f"{field[1]}=")), None)
            if field[1].startswith(FREE):
                return rule_error(field[1], "be given with a plus in front", value, f"Try +{field[1]}={value}")
            return unknown_option(field[1], value, self.names_below(field[1].rpartition(".")[0], overrides))
        return ConfigError(f"{told}. Try python -m eif_lab --help")

    def choices(self, group: str) -> list[str]:
        """The names of a group's choices, the user's own among them."""
        return self.loader.get_group_options(group, ObjectType.CONFIG, self.name, self.paths)

    def names_below(self, parent: str, overrides: Sequence[str]) -> list[str]:
        """The option names beside one that does not exist, under the overrides' choices of groups."""
        given = [parsed(one) for one in [*self.overrides, *overrides]]
        made_of = [
            one
            for one in given
            if not (one.is_sweep_override() or self.loader.sets_a_value(one, self.name, self.overrides))
        ]
        config = self.loader.load_configuration(self.name, [str(one.input_line) for one in made_of], RunMode.MULTIRUN)
        below = OmegaConf.select(config, parent) if parent else config
        names = below if isinstance(below, DictConfig) else config
        return [str(name) for name in names if name not in ("_target_", "hydra")]


def where_given(task: TaskFunction, config: DictConfig) -> Any:
    """Run one job where its command was given, also with ``hydra.job.chdir``, so that paths mean what they meant there.

    Args:
        task: One job.
        config: Of the job.
    """
    print_anywhere()  # which may be in another process
    with chdir(HydraConfig.get().runtime.cwd):
        return task(config)


def flags(arguments: list[str]) -> Namespace:
    """The command line by Hydra's own parser.

    Raises:
        ConfigError: A mistake in it.
    """
    reader = get_args_parser()
    reader.exit_on_error = False  # which would print several lines
    try:
        asked, unknown = reader.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error}. Try python -m eif_lab --hydra-help") from None
    if unknown and not unknown[0].startswith("-"):
        raise rule_error("overrides", "stand together, before or behind the flags", unknown[0], "Move it.")
    if unknown:
        known = [flag for action in reader._actions for flag in action.option_strings if flag.startswith("--")]
        raise unknown_name("flag", unknown[0], known)
    if asked.experimental_rerun:
        told, hint = "be left out, since it loads a pickle", "Give the job's overrides again."
        raise rule_error("--experimental-rerun", told, asked.experimental_rerun, hint)
    if asked.run and asked.multirun:
        raise rule_error("--run", "be left out where -m is given", "both", "Leave one out.")
    return asked


def search_path(config_path: str, config_dir: str | None) -> ConfigSearchPath:
    """Where configs are looked for, by Hydra's rules.

    Args:
        config_path: A folder, ``pkg://`` and a package, or a folder relative to this package.
        config_dir: One more folder, relative to the working directory; None for none.

    Raises:
        ConfigError: There is no such folder.
    """
    path = create_automatic_config_search_path(None, MODULE, config_path)
    if config_dir is not None:
        folder = Path(config_dir).absolute()
        if not folder.is_dir():
            raise rule_error(
                "--config-dir", "name a folder that exists", config_dir, "Give the folder of your configs."
            )
        path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return path


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
        return plainly(OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"]))
    finally:
        hydra.cfg = before


def plainly(config: DictConfig) -> dict[str, Any]:
    """The config in plain containers, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def task_overrides(config: DictConfig) -> list[str]:
    """The overrides of a composed config as they were given, without Hydra's own."""
    return [str(one) for one in cast(list[Any], OmegaConf.to_container(config.hydra.overrides.task, resolve=False))]


def knows_its_jobs(sweeper: Mapping[str, Any]) -> bool:
    """Whether the jobs of a sweep by this sweeper are known before the first one runs."""
    return str(sweeper["_target_"]).endswith(SWEEPERS)


def split_jobs(sweeper: Mapping[str, Any], overrides: Sequence[str], loader: Loader) -> list[list[str]]:
    """The overrides of each job of a sweep, in its order.

    Args:
        sweeper: The config of one of ``SWEEPERS``.
        overrides: Of the whole sweep, without Hydra's own, such as ``method=lora,full``.
        loader: What ``glob`` looks for choices with.

    Raises:
        HydraException: What the sweeper cannot do.
    """
    from hydra_plugins.eif_lab_sweeper import CheckedSweeper

    params = [f"{key}={value}" for key, value in (sweeper["params"] or {}).items()]
    given = OverridesParser.create(loader).parse_overrides([*params, *overrides])
    for one in given:
        if one.is_interval_sweep():
            rule = "be a list, range or glob, since hydra/sweeper=eif_lab cannot draw from an interval"
            raise rule_error(one.key_or_group, rule, one.input_line, "Try range(start,stop,step).")
    if (count := math.prod(map(values_of, given))) > MOST_JOBS:
        raise rule_error("the sweep", f"have at most {MOST_JOBS:,} jobs", count, "Try shorter ranges.")
    return [list(job) for job in CheckedSweeper.split_arguments(given, None)[0]]


def values_of(override: Override) -> int:
    """How many values a sweep gives an option; 1 where there are few, such as those of a glob."""
    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        start, stop, step = sweep.start or 0, sweep.stop or 0, sweep.step or 1
        return max(0, math.ceil((stop - start) / step))
    return len(sweep.list) if isinstance(sweep, ChoiceSweep) and isinstance(sweep.list, list) else 1


def watched(jobs: Sequence[list[str]]) -> Generator[list[str], None, None]:
    """The jobs, one after the other; the console says so where it takes longer than a moment."""
    if sys.stderr.isatty() and len(jobs) > FEW:
        from rich.console import Console
        from rich.progress import track

        yield from track(jobs, "checking jobs", console=Console(stderr=True), transient=True)
        return
    told, began = False, math.inf
    for job in jobs:
        if not told and time.monotonic() - began > PATIENCE:
            print(f"checking {len(jobs)} jobs", file=sys.stderr)
            told = True
        yield job
        began = min(began, time.monotonic())  # after the first, which loads what all of them need


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
