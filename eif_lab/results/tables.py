"""Tables of a sweep as parquet files."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from eif_lab.errors import rule_error
from eif_lab.files.checksums import clear_cut_off, replace_file
from eif_lab.files.locks import alone_in
from eif_lab.results.sweep import SweepResults, open_results


def write_sweep(directory: str | Path) -> pd.DataFrame:
    """Write a sweep's table to ``<directory>/sweep.parquet``.

    Returns:
        The table (`eif_lab.results.rows.sweep_table`).

    Raises:
        ConfigError: The directory holds no jobs.
    """
    sweep = open_results(directory)
    if not isinstance(sweep, SweepResults):
        raise rule_error("results path", "be a sweep (a folder of jobs)", str(directory), "Give the folder above it.")
    write_frame(sweep.path / "sweep.parquet", sweep.table)
    return sweep.table


def write_frame(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, whole or not at all."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    with alone_in(path.parent) as alone:
        if alone:
            clear_cut_off(path)
        replace_file(path, buffer.getvalue())
