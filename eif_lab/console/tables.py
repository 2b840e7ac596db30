"""Results on the console: a line for a job that has ended, and tables of verdicts."""

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

from eif_lab.console.progress import duration
from eif_lab.desiderata.format import (
    ASCII_MARKS,
    MARKS,
    bar_text,
    interval_text,
    number_text,
    p_text,
    spaced,
)
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VERDICTS, VIOLATED
from eif_lab.desiderata.wording import HOW_IN_WORDS
from eif_lab.errors import one_line, printable
from eif_lab.results.bounds import beside
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE

WIDTH = 100

COLUMNS_PER_BLOCK = 4

MOST_JOBS, MOST_NAMES = 100, 10
"""Of a large sweep: jobs in the printed table, and names of jobs in a note."""

P_VALUES = "p  against a true effect at the bar or below; where a finding is violated, at the bar or above"

STYLES = {SATISFIED: "green", VIOLATED: "red", INCONCLUSIVE: "yellow"}


def print_finished(job: JobResults, console: Console | None = None) -> None:
    """Print a job of a sweep in one line: name, time, strength, desiderata under their verdicts' marks."""
    console = console or page()
    manifest = job.manifest
    line = Text(manifest.name, style="bold")
    if manifest.status == DONE:
        strength = f"{number_text(manifest.strength.effect, 2)} {manifest.unit}".rstrip()
        line.append(f"  {duration(manifest.seconds or 0.0)}  strength {strength}", "not bold")
        line.append_text(_marked_desiderata(job, console))
    else:
        line.append(f"  {manifest.status}: {one_line(manifest.reason)}", style="not bold red")
    console.print(line, no_wrap=True, overflow="ellipsis")


def _marked_desiderata(job: JobResults, console: Console) -> Text:
    """``  ✓ symmetry, sparsity  ✗ logic (absent)``."""
    tested = [row for row in job.verdict_rows if row["status"] == DONE and row["finding"] == 0]
    line = Text()
    for verdict, mark in marks_of(console).items():
        names = [
            spaced(row["desideratum"]) + (f" ({row['how']})" if row["how"] else "")
            for row in tested
            if row["verdict"] == verdict
        ]
        if names:
            line.append(f"  {mark} {', '.join(names)}", style=f"not bold {STYLES[verdict]}")
    return line


class Page(Console):
    """A console that prints control characters as text: names and reasons may come from results of others."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The output in pieces, each `printable`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def page(file: Any = None) -> Console:
    """A console that is at most 100 columns wide; where the output is no terminal exactly that, and without colours."""
    console = Console(file=file, highlight=False)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return Page(file=file, highlight=False, width=width)


def print_job(
    job: JobResults, console: Console | None = None, learners: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> None:
    """Print a job's verdicts, one line per finding, and below them the reasons for missing ones.

    Args:
        job: Which.
        console: Where to.
        learners: Rows of bounding learners (`eif_lab.results.bounds.Bounds.of`), printed below each finding.
    """
    console = console or page()
    frame = job.verdicts
    manifest, target = job.manifest, job.manifest.update.calibration
    console.print(Text(f"\n{manifest.name}", style="bold"))
    if manifest.status != DONE:
        _print_note(console, manifest.status, manifest.reason)
        return
    if target and not target.reached:
        _print_note(console, "strength", _missed(target.strength, target.target))
    tested = frame[frame["status"] == DONE]
    if len(tested):
        console.print(_job_table(tested, beside(learners or {}), console))
        console.print(Text(P_VALUES))
        _print_hows(tested.loc[tested["verdict"] == VIOLATED, "finding_how"], console)
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
    marks = marks_of(console)
    legend = [f"{marks[verdict]} {verdict}" for verdict in VERDICTS]
    console.print(Text("   ".join([*legend, "* see below   strength: what is stated, less its controls"])))
    _print_hows(table.loc[table["verdict"] == VIOLATED, "finding_how"], console)
    console.print(
        Text("> the bar   p-values corrected over the sweep (Benjamini-Hochberg), of either verdict, against the bar")
    )
    if (table["path"] == "").any():
        console.print(Text("perfect, bag of words: reference learners on the same samples, their p-values as they are"))
    if away := _chances(table):
        console.print(Text(f"chance: 0, but {', '.join(away)}"))
    for line in _sweep_notes(table):
        _print_note(console, *line)


def _print_hows(hows: Iterable[str], console: Console) -> None:
    """Print the meaning of each word for a kind of violation that occurs."""
    known = [f"{how}: {meaning}" for how, meaning in HOW_IN_WORDS.items() if how in set(hows)]
    if known:
        console.print(Text(f"violated  {'   '.join(known)}"))


def _chances(table: pd.DataFrame) -> list[str]:
    """Each statistic whose chance is not zero, with its least and its largest over the jobs."""
    rows = table[table["chance"].notna() & (table["chance"] != 0)]
    ranges = []
    for (name, statistic), chance in rows.groupby(["desideratum", "statistic"], sort=False)["chance"]:
        ends = dict.fromkeys(number_text(end, 2) for end in (chance.min(), chance.max()))
        ranges.append(f"{spaced(name)} {spaced(statistic)} {' to '.join(ends)}")
    return ranges


_Row = Mapping[str, Any]
"""Of the sweep's table."""


class _Column(NamedTuple):
    """A finding of a desideratum; ``statistic`` is empty where nothing was tested."""

    desideratum: str
    statistic: str = ""
    first: bool = True
    bars: str = ""

    @property
    def head(self) -> str:
        return spaced(f"{self.desideratum}: {self.statistic} > {self.bars}" if self.statistic else self.desideratum)


def _columns(table: pd.DataFrame) -> list[_Column]:
    columns = []
    for name, rows in table[table["desideratum"] != ""].groupby("desideratum", sort=False):
        tested = rows[rows["status"] == DONE].sort_values("finding", kind="stable")
        bars = {one: same["threshold"].unique() for one, same in tested.groupby("statistic", sort=False)}
        columns += [
            _Column(name, one, place == 0, " or ".join(f"{bar:g}" for bar in each))
            for place, (one, each) in enumerate(bars.items())
        ] or [_Column(name)]
    return columns


def _job_table(
    tested: pd.DataFrame, learners: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], console: Console
) -> Table:
    table = grid()
    for name, longest_word in (("desideratum", 11), ("statistic", 13)):  # what has to fit beside them is not cut
        table.add_column(name, overflow="fold", min_width=longest_word)
    for name in ("effect", "interval", "p", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in tested.itertuples():
        first = row.finding == 0
        outcome = [f"{marks_of(console)[row.verdict]} {row.verdict}"] if first else []
        outcome += [f"  {row.finding_how}"] if row.verdict == VIOLATED and row.finding_how else []
        table.add_row(
            Text(spaced(row.desideratum) if first else ""),
            Text(bar_text(row.statistic, row.threshold, row.chance)),
            f"{row.effect:.3g}",
            Text(interval_text(row.low, row.high, 3)),
            p_text(row.finding_verdict, row.finding_p_value, row.finding_p_violated),
            Text(f"{row.n} {row.unit}"),
            Text("\n".join(outcome), style=STYLES[row.verdict]),
        )
        for one in learners.get((row.desideratum, row.statistic), []):
            table.add_row(*_learner_cells(one, console), style="dim")
    return table


def _learner_cells(row: Mapping[str, Any], console: Console) -> list[Text]:
    """A bounding learner's finding, below the job's own."""
    outcome = row["finding_verdict"]
    cells = [
        "",
        f"  {row['learner']}",
        f"{row['effect']:.2g}",
        interval_text(row["low"], row["high"], 2),
        p_text(outcome, row["finding_p_value"], row["finding_p_violated"]),
        f"{row['n']} {row['unit']}",
        f"{marks_of(console)[outcome]} {row['finding_how'] or outcome}",
    ]
    return [Text(cell) for cell in cells]


def _rows_by_job(table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The rows of each job; row by row, since pandas takes long to select a few of very many."""
    jobs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        jobs.setdefault((row["job"], row["path"]), []).append(row)
    return list(jobs.values())


def _sweep_block(jobs: Sequence[Sequence[_Row]], columns: list[_Column], console: Console) -> Table:
    block = grid()
    block.add_column("job", overflow="fold", max_width=24)
    units = {rows[0]["strength_unit"] for rows in jobs} - {""}
    block.add_column(f"strength\n({'/'.join(sorted(units))})" if units else "strength", justify="right", no_wrap=True)
    for head in [column.head for column in columns] or ["status"]:
        block.add_column(head, overflow="fold", max_width=17)
    for rows in jobs:
        reached, missed = rows[0]["strength"], any(row["target_reached"] is False for row in rows)
        # A name such as model=cnn,method=lora has no blank at which a line could end.
        label = Text(rows[0]["job"].replace(",", ", "))
        strength = "" if pd.isna(reached) else f"{reached:.2g}{' *' if missed else ''}"
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
            mark = f"{marks_of(console)[verdict]} " if row["finding"] == 0 else ""
            how = f" {row['finding_how']}" if verdict == VIOLATED and row["finding_how"] else ""
            effect = f"{mark}{row['effect']:.2g}{how}{' *' if row['note'] else ''}"
            within = interval_text(row["low"], row["high"], 2)
            return Text(effect, style=STYLES[verdict] if mark or how else "") + Text(f"\n{within}", style="default")
    return Text("")


def _sweep_notes(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Notes for which the block has no room: (jobs and desiderata, why), each reason once."""
    reasons = table.assign(why=table["reason"].where(table["status"] != DONE, table["note"]))
    missed = table[_unmatched(table)].drop_duplicates(["job", "path"])
    lines = [
        (f"strength in {row.job}", _missed(row.strength_reached, row.strength_target))
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
    """Which rows are of jobs whose strength missed its target."""
    return table["target_reached"].eq(False).fillna(False)


def _missed(reached: float | None, target: float) -> str:
    reached_text = f"{number_text(reached, 2)} where {target:.2g} nat were asked for"
    return f"{reached_text}: not matched to jobs that reached it"


def _print_note(console: Console, head: str, why: str) -> None:
    console.print(Text(f"{head}:" if why else head, style="bold"))
    if why:
        console.print(Padding(Text(why), (0, 0, 0, 4), expand=False))


def grid() -> Table:
    """An empty table in the console's style."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def marks_of(console: Console) -> dict[str, str]:
    """The mark of each verdict, in what the console can print."""
    return ASCII_MARKS if console.options.ascii_only else MARKS
