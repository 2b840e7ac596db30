"""Plans of jobs as one table, with a total."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eif_lab.console.progress import duration
from eif_lab.console.tables import page
from eif_lab.results.plan import Plan

GIB = 2**30


def print_plans(plans: Sequence[Plan], console: Console | None = None) -> None:
    """Print a row per job and their sum; below, what does not fit, what cannot be run, and notes, each once."""
    console = console or page()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("job", overflow="fold", max_width=22)
    table.add_column("peak memory", no_wrap=True)
    for name in ("fine-\ntunes", "probe\npasses", "FLOPs", "disk"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("time", no_wrap=True)
    possible = [plan for plan in plans if not plan.reason]
    for plan in possible:
        table.add_row(Text(plan.job), memory_cell(plan), *totals([plan]), time_cell(plan))
    if len(possible) > 1:
        most = Text(f"  {gibibytes(max(plan.peak for plan in possible))}")
        together = time_text(sum(plan.total_seconds for plan in possible))
        table.add_section()
        table.add_row(Text(f"{len(possible)} jobs in all", style="bold"), most, *totals(possible), Text(together))
    if possible:
        console.print(table)
        console.print(Text("> the engine that would be taken; memory of the others if they were asked for instead"))
    for head, lines in notes(plans):
        console.print(Text(f"{head}:", style="bold"))
        console.print(Padding(Text(lines), (0, 0, 0, 4), expand=False))


def memory_cell(plan: Plan) -> Text:
    """A line for each engine, red where the job does not fit."""
    cell = Text()
    for name, size in plan.memory.items():
        chosen = name == plan.engine
        line = f"{'>' if chosen else ' '} {name:<13} {gibibytes(size)}"
        cell.append("\n" if cell else "").append(line, style="red" if chosen and plan.lacks else "")
    return cell


def time_cell(plan: Plan) -> Text:
    """The sum, and a line for each part of it."""
    cell = Text(time_text(plan.total_seconds), style="bold")
    for name, some in plan.seconds.items():
        cell.append(f"\n{name} {time_text(some)}", style="not bold")
    return cell


def totals(plans: Iterable[Plan]) -> list[Text]:
    """Fine-tunes, probe passes, operations and disk, summed."""
    every = list(plans)
    tunes, passes = (f"{sum(getattr(plan, name) for plan in every):,}" for name in ("fine_tunes", "probe_passes"))
    operations = f"{sum(plan.flops for plan in every):.2g}"
    return [Text(tunes), Text(passes), Text(operations), Text(decimal(round(sum(plan.disk for plan in every))))]


def notes(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """Notes for which the table has no room: (jobs, note), each once."""
    jobs_by_line: dict[tuple[str, str], list[str]] = {}
    for plan in plans:
        kind = "cannot be run" if plan.applies else "not applicable"
        for what, line in [(kind, plan.reason), ("does not fit", plan.lacks), *(("", note) for note in plan.notes)]:
            if line:
                jobs_by_line.setdefault((what, line), []).append(plan.job)
    every, heads = len({plan.job for plan in plans}), dict[str, list[str]]()
    for (what, line), jobs in jobs_by_line.items():
        who = "all jobs" if len(set(jobs)) == every > 1 else "; ".join(dict.fromkeys(jobs))
        heads.setdefault(f"{who}, {what}" if what else who, []).append(line)
    return [(head, "\n".join(lines)) for head, lines in heads.items()]


def gibibytes(size: float) -> str:
    """``0.31 GiB``."""
    return f"{size / GIB:.3g} GiB"


def time_text(seconds: float) -> str:
    """A time as text, also one that is not known."""
    return "unknown" if math.isnan(seconds) else duration(seconds)
