"""Sweeps from the command line: what is a job of one, what Hydra's syntax asks for, and how one goes on."""

from __future__ import annotations

import pandas as pd

pytest_plugins = ["command_line_fixtures"]

SMALL = "dataset.stimuli=6 dataset.probes=6 update.learning_rate=0.1 model.channels=[4] model.hidden=8"


def nothing(folder):
    """Nothing is there."""


def test_a_failing_sweep_whose_folders_hold_slashes_ends_in_its_table_and_exit_code_1(command, tmp_path):
    subdir = "'hydra.sweep.subdir=models/${seed}'"
    ended = command(nothing, f"-m seed=0,1 {SMALL} dataset=mnist dataset.root=none hydra.sweep.dir=sweep {subdir}")
    assert ended.code == 1 and "results:" in ended.out, ended
    table = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert [*table["status"]] == ["failed", "failed"]
    assert sorted(map(str, table["path"]))[0].endswith("sweep/models/0")
