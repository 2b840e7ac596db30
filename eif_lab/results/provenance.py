"""Where a result came from: package versions, git commit, machine."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
DISTRIBUTION = "eif-lab"


def provenance() -> dict[str, Any]:
    """The manifest's entry for the code and the machine.

    Returns:
        ``versions`` of the packages that the project declares, ``python``, ``platform``, ``git_commit`` and
        ``git_dirty`` (None where the code does not run from a git checkout), and ``device``.
    """
    return {
        "versions": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_code_state(),
        "device": device(),
    }


def package_versions() -> dict[str, str]:
    """Versions of this package and of what it declares to need, as they were when this process first asked.

    A package that is installed later is not the one that runs. Packages that are missing are left out.
    """
    return dict(_installed())


@functools.cache
def _installed() -> dict[str, str]:
    versions = {}
    for name in [DISTRIBUTION, *_declared_packages()]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _code_state() -> dict[str, Any]:
    """The `git_state` of the code that this process began with: a commit made meanwhile is not what runs."""
    return git_state(PACKAGE)


def git_state(directory: Path) -> dict[str, Any]:
    """The commit that ``directory`` is checked out at and whether anything differs from it.

    Both are None unless git tracks the code: an installed copy may lie inside another repository.
    """
    unknown = {"git_commit": None, "git_dirty": None}
    if not _git(directory, "ls-files", "--", "."):
        return unknown
    commit = _git(directory, "rev-parse", "HEAD")
    changes = _git(directory, "status", "--porcelain", "--", ":/")
    if commit is None or changes is None:
        return unknown
    return {"git_commit": commit, "git_dirty": bool(changes)}


def device() -> str:
    """The accelerator's name, or ``cpu``."""
    # A process that has not loaded torch computed nothing on an accelerator, and loading it takes seconds.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "cpu"


def _declared_packages() -> list[str]:
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        project = PACKAGE.parent / "pyproject.toml"
        requirements = (
            tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"] if project.exists() else []
        )
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]


def _git(directory: Path, *arguments: str) -> str | None:
    """The answer of git, or None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, encoding="utf-8", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
