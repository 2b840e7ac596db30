"""The hub: whether it answers, which commit of it is on this machine, and what its libraries raise and print."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eif_lab.errors import ConfigError, reason_of, rule_error

PATIENCE = 5.0
"""Seconds that the hub has to answer before only local copies are looked at."""

LONGEST_REASON = 300
"""Characters of what a library says that an error shows."""


def written_as_path(name: str) -> bool:
    """Whether a name is written like a path of this machine, which no name on the hub is."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1


def hub_answers() -> bool:
    """Whether the hub answers at all: one request, where its libraries would go on trying for half a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # the session raises its client's own errors, and others when the hub is switched off
        return False
    return True


def commit_at_hand(name: str, file: str = "config.json", kind: str = "model", revision: str | None = None) -> str:
    """Which commit of a repository of the hub is in the local cache; empty where none is.

    Args:
        name: The repository's.
        file: One that it has.
        kind: ``model`` or ``dataset``.
        revision: A branch, tag or commit; None for the main branch.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        place = try_to_load_from_cache(name, file, repo_type=kind, revision=revision)
    except ValueError:  # the hub has no such names, as loading it will say
        return ""
    return Path(place).parent.name if isinstance(place, str) else ""


@contextmanager
def one_line_errors(field: str, place: str, local: bool, library: str, kinds: Sequence[str]) -> Iterator[None]:
    """Turn what a library of the hub raises into one line.

    Args:
        field: The option that names the place.
        place: What is read.
        local: Whether it is on this machine.
        library: What reads it.
        kinds: What a place on this machine can be, such as ``folder``.

    Raises:
        ConfigError: The library raised something.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # of any kind, since its files can be anything
        reason = reason_of(error).rstrip(".")[:LONGEST_REASON]
        if local:
            raise rule_error(field, f"be readable by {library} ({reason})", place) from error
        rule = f"be {''.join(f'a {kind}, ' for kind in kinds)}or a name that the hub delivers ({reason})"
        raise rule_error(field, rule, place, f"Try a local {kinds[0]}.") from error


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the hub's warnings and retries off the console."""
    from huggingface_hub.utils import logging as hub_logging

    level = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)
