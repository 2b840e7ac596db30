"""Findings as a forest plot: effect, interval, bar and chance of each, jobs below each other."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from eif_lab.desiderata.format import interval_text, number_text, spaced, statistic_text
from eif_lab.desiderata.verdict import INCONCLUSIVE, VIOLATED, Finding, Verdict
from eif_lab.errors import must_be, rule_error, unknown_name
from eif_lab.figures.panel import UNTAUGHT, Mark, draw_marks, hatch, is_untaught, limits_of, mark_good
from eif_lab.figures.style import GREY, HOW_MARKS, LONGEST_NAME, VERDICTS, fit_name, paper_style
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE
from eif_lab.results.rows import by_desideratum, verdict_of
from eif_lab.results.sweep import SweepResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, MOST_ROWS = 2, 60
"""Panels side by side; jobs below each other."""


class Row(NamedTuple):
    """A finding in a panel.

    Attributes:
        name: Of its job; empty where there is only one.
        finding: With its interval.
        outcome: See `finding_outcome`.
        untaught: Whether there is no verdict because nothing was clearly taught.
    """

    name: str
    finding: Finding
    outcome: str
    untaught: bool


def plot_forest(results: JobResults | SweepResults | Sequence[Verdict], desideratum: str | None = None) -> list[Axes]:
    """Effects of findings with their intervals, through matplotlib: a panel for each finding, a row for each job.

    Each panel has its own scale, since findings have different units. Dashed is the bar, dotted is chance. A green dot
    is satisfied, a white one inconclusive; a finding that fails is a red cross where it is absent, an arrow to the left
    where it is reversed, and one to the right where it is short. A hatched row was not clearly taught. An effect far
    beyond the others stands at the edge, with a small arrow.

    Args:
        results: A sweep, a job, or what `judge` returns.
        desideratum: Which; all where None.

    Returns:
        The axes of the panels, of a new figure of pyplot: ``axes[0].figure.savefig("forest.png")``, or
        ``pyplot.show()``.

    Raises:
        ConfigError: It is none of these, was not judged, or has no such desideratum.

    Examples:
        >>> from eif_lab import annotate, judge, load_task
        >>> task = load_task("ontology", worlds=8, stimuli_per_world=2)
        >>> noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
        >>> scores = np.isin(task.relation, ("direct", "entailed")) + noise
        >>> panels = plot_forest(judge(annotate(scores, task), "logic"))
        >>> [axes.get_title() for axes in panels]
        ['logic: gain > 0', 'logic: reach > 0.1', 'logic: converse held > 0.5']
    """
    from matplotlib import pyplot

    panels: dict[tuple[str, str], list[Row]] = {}
    known: dict[str, None] = {}
    for name, verdict, outcome in judged(results):
        known[verdict.desideratum] = None
        if desideratum in (None, verdict.desideratum):
            for finding in verdict.findings:
                untaught = is_untaught(finding.p_value, verdict.note)
                row = Row(name, finding, finding_outcome(finding, verdict, outcome), untaught)
                panels.setdefault((verdict.desideratum, finding.statistic), []).append(row)
    if not known:
        raise rule_error("results", "hold a verdict", type(results).__name__, "Try eif_lab.judge(influence).")
    if desideratum is not None and desideratum not in known:
        raise unknown_name("desideratum", desideratum, known)
    most = min(MOST_ROWS, max(map(len, panels.values())))
    columns = min(COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    tall = any(row.untaught for rows in panels.values() for row in rows)  # their titles have a line more
    height = 0.75 + (0.4 if tall else 0.3) * most
    with paper_style():
        figure = pyplot.figure(figsize=(4.2 * columns, lines * height + 0.3), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
        for axes, ((name, _), rows) in zip(grid, panels.items()):
            draw_panel(axes, name, rows[:MOST_ROWS])
        for axes in grid[len(panels) :]:
            axes.remove()
    return grid[: len(panels)]


def judged(results: JobResults | SweepResults | Sequence[Verdict]) -> Iterator[tuple[str, Verdict, str]]:
    """Each verdict with the name of its job and its outcome.

    Raises:
        ConfigError: It is neither a sweep, nor a job, nor a list of verdicts.
    """
    if isinstance(results, SweepResults):
        headlines = results.table[results.table["finding"] == 0]
        outcomes = dict(zip(zip(headlines["path"], headlines["desideratum"]), headlines["verdict"]))
        for job, name in zip(results.jobs, results.names):
            for verdict in stored(job):
                yield name, verdict, outcomes[str(job.path), verdict.desideratum]
        return
    verdicts = stored(results) if isinstance(results, JobResults) else results
    hint = "Try open_results(folder) or judge(influence)."
    must_be("results", verdicts, Sequence, "a sweep, a job or a list of verdicts", hint)
    for verdict in verdicts:
        must_be("results", verdict, Verdict, "a sweep, a job or a list of verdicts", hint)
        yield "", verdict, verdict.outcome()


def finding_outcome(finding: Finding, verdict: Verdict, outcome: str) -> str:
    """A finding's own verdict, unless a correction took that of its desideratum away.

    Args:
        finding: One of the verdict's.
        verdict: Of the desideratum.
        outcome: Of the desideratum, corrected over the sweep where it is one's.
    """
    if outcome != verdict.outcome():
        return outcome
    own = finding.verdict(verdict.alpha)
    return INCONCLUSIVE if own == VIOLATED != outcome else own


def stored(job: JobResults) -> list[Verdict]:
    """The verdicts of a job; none where it is not done."""
    return [verdict_of(group) for group in by_desideratum(job.verdict_rows)] if job.manifest.status == DONE else []


def draw_panel(axes: Axes, desideratum: str, rows: Sequence[Row]) -> None:
    """One finding of all jobs, the first one on top."""
    first = rows[0].finding
    marks = []
    for place, (_, finding, outcome, untaught) in enumerate(rows):
        look = VERDICTS[outcome] | ({"marker": HOW_MARKS[finding.how]} if outcome == VIOLATED else {})
        marks.append(Mark(finding.effect, finding.low, finding.high, place, look))
        axes.plot([finding.threshold] * 2, [place - 0.4, place + 0.4], color=GREY, linewidth=0.8, linestyle="--")
        axes.plot([finding.chance] * 2, [place - 0.4, place + 0.4], color=GREY, linewidth=0.8, linestyle=":")
        if untaught:
            hatch(axes, place - 0.45, place + 0.45)
    anchors = [first.chance, *(bar for row in rows for bar in (row.finding.chance, row.finding.threshold))]
    taught = [mark for mark, row in zip(marks, rows) if not row.untaught]
    draw_marks(axes, marks, limits_of(taught or marks, anchors))
    mark_good(axes)
    places = range(len(rows))
    axes.set_yticks(places, [row_title(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    numbers = axes.secondary_yaxis("right")
    ends = [interval_text(row.finding.low, row.finding.high, 2) for row in rows]
    numbers.set_yticks(places, [f"{number_text(row.finding.effect, 2)} {end}" for row, end in zip(rows, ends)])
    numbers.tick_params(axis="y", length=0)
    numbers.spines[:].set_visible(False)
    axes.spines["left"].set_visible(False)
    bars = sorted({row.finding.threshold for row in rows})
    title = f"{spaced(desideratum)}: {statistic_text(first.statistic)} > {' or '.join(f'{bar:g}' for bar in bars)}"
    axes.set_title(fit_name(title, 2 * LONGEST_NAME), pad=9)  # points: above what `mark_good` writes


def row_title(row: Row) -> str:
    """A job's name in at most two lines, and below it that it was not clearly taught, where that is so."""
    lines = textwrap.wrap(fit_name(row.name, 2 * LONGEST_NAME), LONGEST_NAME, max_lines=2, placeholder="…")
    return "\n".join([*lines, UNTAUGHT] if row.untaught else lines)
