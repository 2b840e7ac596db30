"""Hydra's loader of configs, for a command with many jobs."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

# a launcher's choice is held to the schema of its plugin, which is as it should be; workers import this module, too
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
warnings.filterwarnings("ignore", r"provider=.* is not available", UserWarning)  # `Command` says so itself, once

MOST_KEPT = 64
"""Configs that are kept for further jobs, each of about a megabyte."""


@functools.lru_cache(4096)
def parse_override(override: str) -> Override:
    """One override by Hydra's grammar, read once."""
    return OverridesParser.create().parse_overrides([override])[0]


def format_override(key: str, text: str) -> str:
    """The override that gives an option a text, in quotes only where Hydra's grammar needs them."""
    plain = f"{key}={text}"
    try:
        if parse_override(plain).value() == text:
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
        parsed = [parse_override(one) for one in overrides]
        values = [one for one in parsed if self.sets_a_value(one, config_name, overrides)]
        made_of = [one for one in parsed if one not in values]
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
        tasks = [one for one in parsed if not one.is_hydra_override()]
        config.hydra.overrides.task = [one.input_line for one in tasks]
        dirname = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            tasks, list(dirname.exclude_keys), dirname.item_sep, dirname.kv_sep
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
