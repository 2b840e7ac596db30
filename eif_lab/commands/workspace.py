"""A saved Weights & Biases workspace: ``python -m eif_lab.commands.workspace --entity E [--project P] [--name N] [--print]``."""

from __future__ import annotations

if __name__ == "__main__":
    from eif_lab.commands.interruption import run

    run("eif_lab.commands.workspace")

import argparse
import json
import sys
from typing import Any

from eif_lab.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Save the workspace, or print it.

    Returns:
        0; 2 for what stands in the way, told in one line.
    """
    parser = argparse.ArgumentParser(prog="python -m eif_lab.commands.workspace", description=__doc__)
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="eif_lab", help="where the runs are listed (eif_lab)")
    parser.add_argument("--name", default="Desiderata", help="what the workspace is called (Desiderata)")
    parser.add_argument("--print", action="store_true", help="write it as JSON, without network or key")
    given = parser.parse_args(arguments)
    try:
        built = build(given.entity, given.project, given.name)
        if given.print:
            from eif_lab.results.trackers.wandb_workspace import specification

            print(json.dumps(specification(built), indent=2))
        else:
            save(built)
    except ConfigError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def build(entity: str, project: str, name: str) -> Any:
    """The workspace (`eif_lab.results.trackers.wandb_workspace.workspace`), with all desiderata.

    Raises:
        ConfigError: The package that builds it is not installed.
    """
    try:
        from eif_lab.results.trackers.wandb_workspace import workspace
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("wandb_workspaces"):
            raise
        told = "workspace needs the package wandb-workspaces, which is not installed."
        raise ConfigError(f"{told} Try pip install 'eif-lab[workspace]'.") from None
    return workspace(entity, project, name, desiderata())


def desiderata() -> list[str]:
    """The names of all desiderata, each of which is a config file."""
    from eif_lab.__main__ import CONF

    return sorted(file.stem for file in (CONF / "desideratum").glob("*.yaml"))


def save(workspace: Any) -> None:
    """Save it as a new view of its project; W&B prints its address.

    Raises:
        ConfigError: No key, no such project, or no server.
    """
    try:
        workspace.save()
    except Exception as error:  # what W&B and its network raise shares no class
        told = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "Try wandb login, or --print to see the workspace without saving it."
        raise ConfigError(f"workspace cannot be saved ({told}). {hint}") from error
