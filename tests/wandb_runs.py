"""What W&B's own reader says about an offline run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wandb.util import get_core_path


def inspect(file: Path, *options: str) -> str:
    """What ``wandb leet inspect --json`` prints, by the program that it runs: the command itself is slow to begin.

    Args:
        file: The run's ``.wandb`` file.
        options: ``--summary`` for its end in place of its records.
    """
    reader = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    command = [*reader, *options, "--run-file", file, file.parents[1]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
