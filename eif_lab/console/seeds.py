"""What a sweep's seeds say together, on the console."""

from __future__ import annotations

import math

import pandas as pd
from rich.console import Console
from rich.text import Text

from eif_lab.console.tables import grid, marks_of, page
from eif_lab.desiderata.format import interval_text, spaced
from eif_lab.desiderata.verdict import VERDICTS


def print_seeds(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print a `seeds_table`; nothing where it is empty."""
    if not len(table):
        return
    console = console or page()
    marks = marks_of(console)
    rows = grid()
    for name in ("job", "finding"):
        rows.add_column(name, overflow="fold")
    for name in ("seeds", "mean", "interval", "runs'", *(marks[name] for name in VERDICTS)):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("violated", overflow="fold")
    draws = table.groupby("job")["data_seed"].nunique(dropna=False)
    for row in table.to_dict("records"):
        of_one_draw = draws[row["job"]] > 1 and not pd.isna(row["data_seed"])
        job = f"{row['job']} data_seed={row['data_seed']}" if of_one_draw else row["job"]
        mark = f"{marks[row['verdict']]} " if row["verdict"] and row["finding"] == 0 else ""
        finding = f"{mark}{spaced(row['desideratum'])}: {spaced(row['statistic'])} > {row['threshold']:g}"
        within = Text(interval_text(row["low"], row["high"], 2))
        share = "-" if math.isnan(row["run_share"]) else f"{row['run_share']:.0%}"
        counts = (str(row[name]) for name in VERDICTS)
        mean = f"{row['mean']:.2g}"
        rows.add_row(Text(job), finding, str(row["seeds"]), mean, within, share, *counts, row["how"])
    console.print(rows)
    console.print(Text("over seeds: mean effect, 95 % interval, and how many seeds gave each verdict by themselves"))
    if table["data_seed"].isna().any():
        console.print(
            Text("seeds on samples of their own: mean over those in which it was tested, where at least two were")
        )
    if (table["verdict"] != "").any():
        console.print(
            Text(
                f"{', '.join(marks[name] for name in VERDICTS)} before a finding: the verdict over all runs on the same"
                " samples, p-values corrected over these rows\nruns': the runs' share of the variance of the mean; the"
                " rest is that of worlds, classes or stimuli"
            )
        )
