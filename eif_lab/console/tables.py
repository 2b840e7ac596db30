"""What the console shows of results: a line for a job that has ended, and tables of verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from eif_lab.console.format import ASCII_MARKS, MARKS, interval_text, spaced
from eif_lab.console.progress import duration
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VERDICTS, VIOLATED
from eif_lab.errors import one_line, printable
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE

WIDTH = 100

COLUMNS_PER_BLOCK = 4

MOST_JOBS, MOST_NAMES = 100, 10
"""Of a large sweep: jobs in the printed table, and names of jobs in a note."""

STYLES = {SATISFIED: "green", VIOLATED: "red", INCONCLUSIVE: "yellow"}


def print_finished(job: JobResults, console: Console | None = None) -> None:
    """Print a job of a sweep in one line: name, time, direct influence, desiderata under their verdicts' marks."""
    console = console or page()
    manifest = job.manifest
    line = Text(manifest.name, style="bold")
    if manifest.status == DONE:
        direct = manifest.direct_influence.effect  # None where no stimulus is a probe too
        seconds = duration(manifest.seconds or 0.0)
        line.append(f"  {seconds}  direct {math.nan if direct is None else direct:.2g}", "not bold")
        line.append_text(_marked_desiderata(job, console))
    else:
        line.append(f"  {manifest.status}: {one_line(manifest.reason)}", style="not bold red")
    console.print(line, no_wrap=True, overflow="ellipsis")


def _marked_desiderata(job: JobResults, console: Console) -> Text:
    """``  ✓ symmetry, sparsity  ✗ logic``."""
    tested = [row for row in job.verdict_rows if row["status"] == DONE and row["finding"] == 0]
    line = Text()
    for verdict, mark in _marks(console).items():
        names = [spaced(row["desideratum"]) for row in tested if row["verdict"] == verdict]
        if names:
            line.append(f"  {mark} {', '.join(names)}", style=f"not bold {STYLES[verdict]}")
    return line


class Page(Console):
    """A console that prints control characters as text: names and reasons may come from results of others."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is to be written, in pieces, each `printable`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def page(file: Any = None) -> Console:
    """A console that is at most 100 columns wide; where the output is no terminal exactly that, and without colours."""
    console = Console(file=file, highlight=False)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return Page(file=file, highlight=False, width=width)


def print_job(job: JobResults, console: Console | None = None) -> None:
    """Print a job's verdicts, one line per finding, and below them why what is missing is missing."""
    console = console or page()
    frame = job.verdicts
    manifest, target = job.manifest, job.manifest.update.calibration
    console.print(Text(f"\n{manifest.name}", style="bold"))
    if manifest.status != DONE:
        _print_note(console, manifest.status, manifest.reason)
        return
    if target and not target.reached:
        reached = math.nan if target.direct_influence is None else target.direct_influence
        _print_note(console, "direct influence", _missed(reached, target.target))
    tested = frame[frame["status"] == DONE]
    if len(tested):
        console.print(_job_table(tested, console))
    for note, rows in tested[tested["note"] != ""].groupby("note", sort=False):
        _print_note(console, ", ".join(dict.fromkeys(rows["desideratum"])), str(note))
    for row in frame[frame["status"] == NOT_APPLICABLE].itertuples():
        _print_note(console, f"{row.desideratum}: not applicable", row.reason)


def print_sweep(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print a sweep's table: a row per job, a column per finding of each desideratum, with effect and interval.

    The verdict's mark stands at the desideratum's first finding. What does not fit side by side follows in further
    blocks; reasons stand below. Of more than `MOST_JOBS` jobs the first are printed.
    """
    console = console or page()
    columns, jobs = _columns(table), _rows_by_job(table)
    console.print()
    blocks = max(1, math.ceil(len(columns) / COLUMNS_PER_BLOCK))
    for places in np.array_split(np.arange(len(columns)), blocks):
        console.print(_sweep_block(jobs[:MOST_JOBS], [columns[i] for i in places], console))
    if len(jobs) > MOST_JOBS:
        console.print(Text(f"the first {MOST_JOBS} of {len(jobs):,} jobs; sweep.parquet has all"))
    marks = _marks(console)
    legend = [f"{marks[verdict]} {verdict}" for verdict in VERDICTS]
    console.print(Text("   ".join([*legend, "* see below   direct: influence of a stimulus on itself"])))
    console.print(Text("p-values corrected over the sweep (Benjamini-Hochberg)"))
    for line in _sweep_notes(table):
        _print_note(console, *line)


_Row = Mapping[str, Any]
"""Of the sweep's table."""


class _Column(NamedTuple):
    """A finding of a desideratum; ``statistic`` is empty where it is the only one, or where nothing was tested."""

    desideratum: str
    statistic: str = ""
    first: bool = True

    @property
    def head(self) -> str:
        return spaced(f"{self.desideratum}: {self.statistic}" if self.statistic else self.desideratum)


def _columns(table: pd.DataFrame) -> list[_Column]:
    columns = []
    for name, rows in table[table["desideratum"] != ""].groupby("desideratum", sort=False):
        statistics = rows[rows["status"] == DONE].sort_values("finding", kind="stable")["statistic"].unique()
        alone = len(statistics) < 2
        columns += [_Column(name)] if alone else [_Column(name, one, one == statistics[0]) for one in statistics]
    return columns


def _job_table(tested: pd.DataFrame, console: Console) -> Table:
    table = grid()
    for name in ("desideratum", "statistic"):
        table.add_column(name, overflow="fold", min_width=16)
    for name in ("effect", "interval", "p", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in tested.itertuples():
        first = row.finding == 0
        verdict = (
            Text(f"{_marks(console)[row.verdict]} {row.verdict}", style=STYLES[row.verdict]) if first else Text("")
        )
        table.add_row(
            Text(spaced(row.desideratum) if first else ""),
            Text(f"{spaced(row.statistic)} > {row.threshold:g}"),
            f"{row.effect:.3g}",
            Text(interval_text(row.low, row.high, 3)),
            f"{row.finding_p_value:.2g}",
            Text(f"{row.n} {row.unit}"),
            verdict,
        )
    return table


def _rows_by_job(table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The rows of each job; row by row, since pandas takes long to select a few of very many."""
    jobs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        jobs.setdefault((row["job"], row["path"]), []).append(row)
    return list(jobs.values())


def _sweep_block(jobs: Sequence[Sequence[_Row]], columns: list[_Column], console: Console) -> Table:
    block = grid()
    block.add_column("job", overflow="fold", max_width=24)
    block.add_column("direct", justify="right", no_wrap=True)
    for head in [column.head for column in columns] or ["status"]:
        block.add_column(head, overflow="fold", max_width=17)
    for rows in jobs:
        direct, missed = rows[0]["direct_influence"], any(row["target_reached"] is False for row in rows)
        # A name such as model=cnn,method=lora has no blank at which a line could end.
        label = Text(rows[0]["job"].replace(",", ", "))
        strength = "" if pd.isna(direct) else f"{direct:.2g}{' *' if missed else ''}"
        block.add_row(label, strength, *_cells(rows, columns, console))
    return block


def _cells(rows: Sequence[_Row], columns: list[_Column], console: Console) -> Iterable[Text]:
    if all(row["desideratum"] == "" for row in rows):
        return [Text(rows[0]["status"], style="red") for _ in range(max(1, len(columns)))]
    return [_cell([row for row in rows if row["desideratum"] == one.desideratum], one, console) for one in columns]


def _cell(rows: Sequence[_Row], column: _Column, console: Console) -> Text:
    if any(row["status"] != DONE for row in rows):
        return Text(rows[0]["status"] if column.first else "", style="dim")
    for row in rows:
        if column.statistic in ("", row["statistic"]):
            verdict = row["verdict"]
            mark = f"{_marks(console)[verdict]} " if column.first else ""
            effect = f"{mark}{row['effect']:.2g}{' *' if row['note'] else ''}"
            within = interval_text(row["low"], row["high"], 2)
            return Text(effect, style=STYLES[verdict] if mark else "") + Text(f"\n{within}", style="default")
    return Text("")


def _sweep_notes(table: pd.DataFrame) -> list[tuple[str, str]]:
    """What the block has no room for: (jobs and desiderata, why), each reason once."""
    reasons = table.assign(why=table["reason"].where(table["status"] != DONE, table["note"]))
    missed = table[_unmatched(table)].drop_duplicates(["job", "path"])
    lines = [
        (f"direct influence in {row.job}", _missed(row.direct_influence, row.direct_target))
        for row in missed.head(MOST_NAMES).itertuples()
    ]
    if len(missed) > MOST_NAMES:
        lines.append((f"and in {len(missed) - MOST_NAMES:,} more", "target_reached in sweep.parquet says which"))
    for (status, why), rows in reasons[reasons["why"] != ""].groupby(["status", "why"], sort=False):
        what = [name for name in dict.fromkeys(rows["desideratum"]) if name]
        where = _some(list(dict.fromkeys(rows["job"])))
        head = f"{', '.join(what)} in {'; '.join(where)}" if what else "; ".join(where)
        lines.append((head if status == DONE else f"{head}: {status}", str(why)))
    return lines


def _some(names: list[str]) -> list[str]:
    """The names, or the first of them and how many more there are."""
    more = len(names) - MOST_NAMES
    return names if more <= 0 else [*names[:MOST_NAMES], f"{more:,} more"]


def _unmatched(table: pd.DataFrame) -> pd.Series:
    """Which rows are of jobs whose direct influence missed its target."""
    return table["target_reached"].eq(False).fillna(False)


def _missed(direct: float, target: float) -> str:
    return f"{direct:.2g} where {target:.2g} nat were asked for: not matched in strength to jobs that reached it"


def _print_note(console: Console, head: str, why: str) -> None:
    console.print(Text(f"{head}:" if why else head, style="bold"))
    if why:
        console.print(Padding(Text(why), (0, 0, 0, 4), expand=False))


def grid() -> Table:
    """A table in the style of all that is printed."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _marks(console: Console) -> dict[str, str]:
    return ASCII_MARKS if console.options.ascii_only else MARKS


def print_seeds(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print a `seeds_table`; nothing where it is empty."""
    if not len(table):
        return
    console = console or page()
    marks = _marks(console)
    rows = grid()
    for name in ("job", "finding"):
        rows.add_column(name, overflow="fold")
    for name in ("seeds", "mean", "interval", *(marks[name] for name in VERDICTS)):
        rows.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        finding = f"{spaced(row['desideratum'])}: {spaced(row['statistic'])} > {row['threshold']:g}"
        within = Text(interval_text(row["low"], row["high"], 2))
        counts = (str(row[name]) for name in VERDICTS)
        rows.add_row(Text(row["job"]), finding, str(row["seeds"]), f"{row['mean']:.2g}", within, *counts)
    console.print(rows)
    console.print(Text("over seeds: mean effect with Student's 95 % interval, and how many seeds gave each verdict"))
