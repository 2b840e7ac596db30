"""The hub: whether it answers, and which commit of it is on this machine."""

from __future__ import annotations

from pathlib import Path

PATIENCE = 5.0
"""Seconds that the hub has to answer before only local copies are looked at."""


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
