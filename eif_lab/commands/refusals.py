"""Errors of Hydra in one line: which field, what rule, what was received, what to try."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eif_lab.commands.loader import Loader, parse_override
from eif_lab.errors import ConfigError, one_line, rule_error, unknown_name, unknown_option

FREE = "method.options."
"""Options that no class of ours has, so that Hydra wants a plus in front."""

RENAMED = {("engine", "lowrank"): "factored"}
"""Choices that earlier versions had, and what they are called now."""


@contextmanager
def explain_refusals(loader: Loader, name: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra refuses into one line.

    Args:
        loader: What composes the configs.
        name: Of the primary config.
        overrides: Of what is composed.

    Raises:
        ConfigError: What was refused.
    """
    try:
        yield
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise refusal_line(error, loader, name, overrides) from error


def refusal_line(error: Exception, loader: Loader, name: str, overrides: Sequence[str]) -> ConfigError:
    """The line for an error of Hydra's. Arguments are those of `explain_refusals`."""
    causes = [error]
    while isinstance(causes[-1].__cause__, Exception):
        causes.append(causes[-1].__cause__)
    line = ". ".join(dict.fromkeys(one_line(cause).rstrip(".") for cause in causes if str(cause)))
    key = str(getattr(causes[-1], "full_key", None) or "")
    if key not in line:
        line = f"{key}: {line}"
    choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]*)'", line)
    if choice and (known := loader.get_group_options(choice[1], ObjectType.CONFIG, name, search_paths(overrides))):
        return unknown_choice(choice[1], choice[2], known)
    if mistake := value_error(error, loader, name, overrides):
        return mistake
    field = re.search(r"Could not override '([^']*)'.*Key '([^']*)' is not in struct", line)
    if field:
        value = next((one.split("=", 1)[1] for one in reversed(overrides) if one.startswith(f"{field[1]}=")), None)
        if field[1].startswith(FREE):
            return rule_error(field[1], "be given with a plus in front", value, f"Try +{field[1]}={value}")
        beside = nested_names(field[1].rpartition(".")[0], loader, name, overrides)
        return unknown_option(field[1], value, beside)
    return ConfigError(f"{line}. Try eif-lab --help")


def value_error(error: Exception, loader: Loader, name: str, overrides: Sequence[str]) -> ConfigError | None:
    """The line for an override that takes away what a job needs, or gives another kind of value than can be taken.

    None where there is no such override. Arguments are those of `explain_refusals`.
    """
    try:
        parsed = [parse_override(one) for one in overrides]
    except HydraException:
        return None
    for one in parsed:
        field, text = one.key_or_group, str(one.input_line).partition("=")[2]
        if one.is_delete():
            return rule_error(field, "be an option that can be left out", f"~{field}", "Leave it out for the default.")
        if one.is_sweep_override() and "Ambiguous value" in str(error):
            hint = f"Try eif-lab -m {one.input_line}, or eif-lab --help."
            return rule_error(field, "have one value, unless -m makes a sweep of several", text, hint)
        value = None if one.is_sweep_override() else one.value()
        if isinstance(value, int | float) or (isinstance(value, list) and field != "desideratum"):
            known = field and loader.get_group_options(field, ObjectType.CONFIG, name, search_paths(overrides))
            if known:
                return unknown_choice(field, value, known)
    return None


def unknown_choice(group: str, value: Any, known: Sequence[str]) -> ConfigError:
    """A choice that a group does not have, with its new name or the nearest one.

    Args:
        group: Such as ``engine``.
        value: The choice asked for.
        known: The group's choices, the user's own among them.
    """
    if (renamed := RENAMED.get((group, str(value)))) in known:
        return rule_error(group, f"be called {renamed}, which is its name now", value, f"Try {group}={renamed}.")
    return unknown_name(group, value, known)


def search_paths(overrides: Sequence[str]) -> list[str]:
    """The overrides among others that say where configs are looked for."""
    return [one for one in overrides if "hydra.searchpath" in one]


def nested_names(parent: str, loader: Loader, name: str, overrides: Sequence[str]) -> list[str]:
    """The option names beside one that does not exist, under the overrides' choices of groups.

    Args:
        parent: Such as ``method``; empty for the options of no group.
        loader, name, overrides: As `explain_refusals` takes them.
    """
    choices = [
        one
        for one in map(parse_override, overrides)
        if not (one.is_sweep_override() or loader.sets_a_value(one, name, list(overrides)))
    ]
    config = loader.load_configuration(name, [str(one.input_line) for one in choices], RunMode.MULTIRUN)
    below = OmegaConf.select(config, parent) if parent else config
    names = below if isinstance(below, DictConfig) else config
    return [str(one) for one in names if one not in ("_target_", "hydra")]
