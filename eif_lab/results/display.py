"""Results as Python and a notebook show them: what was measured and how it was judged, on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from eif_lab.desiderata.format import MARKS, bar_text, cell_text, interval_text, number_text, spaced
from eif_lab.errors import ConfigError, one_line, printable
from eif_lab.results.manifest import DONE, NOT_APPLICABLE, Effect
from eif_lab.results.rows import by_desideratum, verdict_of

if TYPE_CHECKING:
    from eif_lab.results.job import JobResults
    from eif_lab.results.sweep import SweepResults

WIDTH, HEIGHT, MOST_JOBS, LONGEST_NAME = 100, 40, 20, 42
"""Characters of a line, and lines of a screen; jobs of a sweep, and characters of a job's name, that are shown."""

LEGEND = "  ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())

NOT_TESTED = "-"


def fit(text: str, longest: int = WIDTH) -> str:
    """A text in one line, cut where it is too long; names and reasons may come from results of others."""
    line = printable(one_line(text))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def fit_name(name: str) -> str:
    """A job's name in `LONGEST_NAME` characters, cut within: what tells jobs apart stands at the end."""
    line, half = printable(one_line(name)), LONGEST_NAME // 2
    return line if len(line) <= LONGEST_NAME else f"{line[: half - 1]}…{line[-half:]}"


def strength_text(strength: Effect, unit: str) -> str:
    """What was taught, with its interval: ``0.06 nat [0.04, 0.07], 20 worlds``; a dash where it is not known."""
    if strength.effect is None:
        return NOT_TESTED
    text = f"{number_text(strength.effect, 2)} {unit}".rstrip()
    if strength.low is not None and strength.high is not None:
        text += f" {interval_text(strength.low, strength.high, 2)}"
    return f"{text}, {strength.n} {strength.unit}" if strength.n else text


def job_facts(job: JobResults) -> Iterator[tuple[str, str]]:
    """A job's name, model, sizes and strength, each with what it is."""
    manifest = job.manifest
    yield "job", f"{manifest.name}: {manifest.status}"
    if manifest.reason:
        yield "reason", manifest.reason
    if manifest.base_model.name:
        count = manifest.base_model.parameters
        yield "model", manifest.base_model.name + (f", {count:,} parameters" if count else "")
    if manifest.stimuli:
        yield "array", f"{manifest.stimuli:,} stimuli x {manifest.probes:,} probes, engine {manifest.engine}"
        yield "strength", strength_text(manifest.strength, manifest.unit)
    yield "folder", str(job.path)


def job_verdicts(job: JobResults) -> Iterator[tuple[str, str, str]]:
    """Each desideratum with its verdict in a cell, and the finding that this hangs on with its bar and interval."""
    for group in by_desideratum(job.verdict_rows):
        verdict, outcome = verdict_of(group), group[0]["verdict"]
        one = verdict.decisive(outcome)
        within = f"{bar_text(one.statistic, one.threshold, one.chance)}, {interval_text(one.low, one.high, 2)}"
        yield spaced(verdict.desideratum), cell_text(verdict, outcome, group[0]["how"]), within
    away = [spaced(row["desideratum"]) for row in job.verdict_rows if row["status"] == NOT_APPLICABLE]
    if away:
        yield "not applicable", ", ".join(away), ""


def job_lines(job: JobResults) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """A job's facts and verdicts; a display does not fail, so that damage is told in place of the verdicts."""
    facts = list(job_facts(job))
    try:
        return facts, list(job_verdicts(job))
    except (ConfigError, OSError) as error:
        return [*facts, ("verdicts", str(error))], []


def job_text(job: JobResults) -> str:
    """A job on one screen, without colours."""
    facts, verdicts = job_lines(job)
    lines = ["<JobResults>", *(line for name, value in facts for line in wrapped(name, value))]
    widths = [max((len(row[column]) for row in verdicts), default=0) for column in (0, 1)]
    rows = (f"  {name:<{widths[0]}}  {cell:<{widths[1]}}  {within}".rstrip() for name, cell, within in verdicts)
    return "\n".join([*lines, *(printable(row)[:WIDTH] for row in rows)])


def wrapped(name: str, value: str) -> list[str]:
    """A fact beside what it is, in at most three lines."""
    parts = textwrap.wrap(printable(one_line(value)), WIDTH - 10, max_lines=3, placeholder=" …") or [""]
    return [f"{name if place == 0 else '':<10}{part}" for place, part in enumerate(parts)]


def job_html(job: JobResults) -> str:
    """A job as a small table for a notebook."""
    facts, verdicts = job_lines(job)
    rows = [f"<tr><th>{escape(name)}</th><td colspan=2>{escape(fit(value, 300))}</td></tr>" for name, value in facts]
    rows += ["<tr>" + "".join(f"<td>{escape(printable(cell))}</td>" for cell in row) + "</tr>" for row in verdicts]
    return f"<table style='text-align: left'>{''.join(rows)}</table>"


def matrix(jobs: Sequence[JobResults], names: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """Jobs by desiderata, each cell the verdict's mark and effect (`SweepResults.matrix`).

    Args:
        jobs: Those of the rows.
        names: Theirs.
        table: The sweep's table, which has the corrected verdicts.
    """
    columns = [name for name in dict.fromkeys(table["desideratum"]) if name]
    headlines = table[table["finding"] == 0]
    outcomes = {(row.path, row.desideratum): (row.verdict, row.how) for row in headlines.itertuples()}
    rows = []
    for job in jobs:
        if job.manifest.status != DONE:
            rows.append(dict.fromkeys(columns, job.manifest.status))
            continue
        verdicts = [verdict_of(group) for group in by_desideratum(job.verdict_rows)]
        rows.append({one.desideratum: cell_text(one, *outcomes[str(job.path), one.desideratum]) for one in verdicts})
    frame = pd.DataFrame(rows, index=pd.Index(names, name="job"), columns=columns, dtype=object)
    return frame.fillna(NOT_TESTED)


def shown_matrix(sweep: SweepResults) -> pd.DataFrame:
    """The matrix of the first jobs, beside each the strength of what was taught, names cut to the screen."""
    jobs = sweep.jobs[:MOST_JOBS]
    frame = sweep.matrix.iloc[:MOST_JOBS].rename(columns=spaced)
    strengths = [f"{number_text(job.manifest.strength.effect, 2)} {job.manifest.unit}".rstrip() for job in jobs]
    frame.insert(0, "strength", strengths)
    frame.index = pd.Index([fit_name(str(name)) for name in frame.index])
    return frame.apply(lambda cells: cells.str.ljust(cells.str.len().max()))  # pandas aligns text to the right


def sweep_head(sweep: SweepResults) -> str:
    """How many jobs there are, how they ended, and where."""
    count = len(sweep.jobs)
    ends = pd.Series([job.manifest.status for job in sweep.jobs]).value_counts()
    ended = ", ".join(f"{number:,} {status}" for status, number in ends.items())
    return fit(f"{count:,} job{'s' if count != 1 else ''} ({ended}) in {sweep.path}")


def sweep_foot(sweep: SweepResults, shown: int) -> str:
    """What the marks mean, and how many jobs are not among those shown."""
    more = len(sweep.jobs) - shown
    rest = f"and {more:,} more jobs: sweep.matrix has all\n" if more > 0 else ""
    return f"{rest}{LEGEND}  {NOT_TESTED} not tested; corrected over the sweep"


def sweep_text(sweep: SweepResults) -> str:
    """A sweep on one screen: jobs by desiderata, in blocks where they do not fit side by side."""
    blocks = list(side_by_side(shown_matrix(sweep)))
    # a block has a line of names above its jobs, and an empty one below
    shown = min(len(blocks[0]), max(1, (HEIGHT - 3) // len(blocks) - 2))
    text = "\n\n".join(block.iloc[:shown].to_string(justify="left") for block in blocks)
    return f"<SweepResults>\n{sweep_head(sweep)}\n{text}\n{sweep_foot(sweep, shown)}"


def side_by_side(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The columns of a frame of texts, as many at a time as fit a line beside its index."""
    room = WIDTH - max(map(len, frame.index), default=0)
    first, left = 0, room
    for place, name in enumerate(frame.columns):
        needed = 1 + max([len(name), *map(len, frame[name])])
        if needed > left and place > first:
            yield frame.iloc[:, first:place]
            first, left = place, room
        left -= needed
    yield frame.iloc[:, first:]


def sweep_html(sweep: SweepResults) -> str:
    """A sweep as a table for a notebook."""
    shown = shown_matrix(sweep).map(
        lambda cell: printable(cell.strip()).replace(" ", "\u00a0")
    )  # a mark and its number
    head, foot = escape(sweep_head(sweep)), escape(sweep_foot(sweep, len(shown)))
    return f"<p>{head}</p>{shown.to_html(justify='left')}<p>{foot}</p>"
