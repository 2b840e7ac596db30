"""``eif-lab workspace --entity ENTITY``: a saved Weights & Biases workspace, or its JSON."""

from __future__ import annotations

import json
from typing import Any

from eif_lab.commands.answer import make_parser, print_result
from eif_lab.commands.choices import choices
from eif_lab.errors import ConfigError, class_and_reason


def main(arguments: list[str]) -> int:
    """Save the workspace, or print it.

    Returns:
        0; 2 for what stands in the way, reported in one line.
    """
    parser = make_parser("workspace")
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="eif_lab", help="where the runs are listed (eif_lab)")
    parser.add_argument("--name", default="Desiderata", help="what the workspace is called (Desiderata)")
    parser.add_argument("--print", action="store_true", help="write it as JSON, without network or key")
    args = parser.parse_args(arguments)
    if not args.entity:
        parser.error("--entity must name a user or a team, got ''")
    return print_result(lambda: save_or_export(build_workspace(args.entity, args.project, args.name), args.print))


def save_or_export(workspace: Any, only_print: bool) -> str:
    """Save a workspace, unless only its JSON is wanted.

    Raises:
        ConfigError: It cannot be saved.

    Returns:
        The JSON; empty where the workspace was saved, since W&B prints its address.
    """
    if not only_print:
        save_workspace(workspace)
        return ""
    from eif_lab.results.trackers.wandb_workspace import specification

    return json.dumps(specification(workspace), indent=2)


def build_workspace(entity: str, project: str, name: str) -> Any:
    """The workspace (`eif_lab.results.trackers.wandb_workspace.workspace`), with all desiderata.

    Raises:
        ConfigError: The package that builds it is not installed.
    """
    try:
        from eif_lab.results.trackers.wandb_workspace import workspace
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("wandb_workspaces"):
            raise
        missing = "workspace needs the package wandb-workspaces, which is not installed."
        raise ConfigError(f"{missing} Try pip install 'eif-lab[workspace]'.") from None
    return workspace(entity, project, name, list(choices("desideratum")))


def save_workspace(workspace: Any) -> None:
    """Save it as a new view of its project; W&B prints its address.

    Raises:
        ConfigError: No key, no such project, or no server.
    """
    try:
        workspace.save()
    except Exception as error:  # what W&B and its network raise shares no class
        hint = "Try wandb login, or --print to see the workspace without saving it."
        raise ConfigError(f"workspace cannot be saved ({class_and_reason(error)}). {hint}") from error
