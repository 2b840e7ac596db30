"""The flags of a command line that runs jobs, and where its configs are looked for."""

from __future__ import annotations

from argparse import ArgumentError, Namespace
from pathlib import Path

from hydra._internal.utils import create_automatic_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery

from eif_lab.errors import ConfigError, rule_error, unknown_name

MODULE = "eif_lab.__main__"
"""The module to which a relative ``--config-path`` is relative, by Hydra's rule."""


def flags(arguments: list[str]) -> Namespace:
    """The command line by Hydra's own parser.

    Raises:
        ConfigError: A mistake in it.
    """
    reader = get_args_parser()
    reader.exit_on_error = False  # which would print several lines
    try:
        args, unknown = reader.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error}. Try eif-lab --hydra-help") from None
    if unknown and not unknown[0].startswith("-"):
        raise rule_error("overrides", "stand together, before or behind the flags", unknown[0], "Move it.")
    if unknown:
        known = [flag for action in reader._actions for flag in action.option_strings if flag.startswith("--")]
        raise unknown_name("flag", unknown[0], known)
    if args.experimental_rerun:
        rule, hint = "be left out, since it loads a pickle", "Give the job's overrides again."
        raise rule_error("--experimental-rerun", rule, args.experimental_rerun, hint)
    if args.run and args.multirun:
        raise rule_error("--run", "be left out where -m is given", "both", "Leave one out.")
    return args


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
            hint = "Give the folder of your configs."
            raise rule_error("--config-dir", "name a folder that exists", config_dir, hint)
        path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return path
