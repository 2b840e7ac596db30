"""One self-contained HTML page about a job or a sweep.

Everything is read from the store, and nothing is measured anew; only the bounding learners, which stand beside each
finding, are made and judged when the page is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eif_lab.console.format import number_text, spaced
from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.verdict import VERDICTS
from eif_lab.desiderata.wording import HOW_IN_WORDS
from eif_lab.errors import rule_error
from eif_lab.files.checksums import replace_file
from eif_lab.page.arrays import QUANTILES, shorten
from eif_lab.page.contents import BUDGETS, Budget, Contents, script_json
from eif_lab.page.facts import FACTS, effect_text, facts, mark
from eif_lab.page.pictures import Pictures
from eif_lab.page.scorecard import LONGEST_NAME, Learners, comparisons, scorecard, tally, tested_rows
from eif_lab.page.script_data import describe_arrays
from eif_lab.results.bounds import NOISE, Bounds
from eif_lab.results.folders import MANIFEST
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE, UNREADABLE
from eif_lab.results.sweep import SweepResults

HERE = Path(__file__).parent
LARGEST_PAGE = 10_000_000
"""Bytes."""

MOST_OPEN = 50
"""Jobs of a sweep whose tables stand in the page as they are; of more they are compressed until they are opened."""


def write_page(
    results: JobResults | SweepResults,
    file: Path,
    claims: str | Sequence[Mapping[str, Any]] | None = None,
    pictures: Pictures | None = None,
) -> int:
    """Write the page of a job or a sweep.

    Args:
        results: As `eif_lab.results.sweep.open_results` gives them.
        file: Where to.
        claims: Rows with ``claim``, ``what``, ``effect``, ``low``, ``high``, ``verdict``, ``agrees``, or a text; the
            last section, which is left out without them.
        pictures: Where pictures of images may come from; without it, from the usual folders of data.

    Returns:
        Its size in bytes, at most `LARGEST_PAGE`.

    Raises:
        ConfigError: Even the smallest page would be larger.
        OSError: The file cannot be written.
    """
    pictures = pictures or Pictures()
    for budget in BUDGETS:
        page = render_page(results, claims, budget, pictures).encode()
        if len(page) <= LARGEST_PAGE:
            replace_file(file, page)
            return len(page)
    jobs = "Try single jobs of the sweep." if isinstance(results, SweepResults) else "Try fewer stimuli and probes."
    raise rule_error("page", f"fit {LARGEST_PAGE} bytes", len(page), jobs)


def render_page(
    results: JobResults | SweepResults,
    claims: str | Sequence[Mapping[str, Any]] | None = None,
    budget: Budget = BUDGETS[0],
    pictures: Pictures | None = None,
) -> str:
    """The page's HTML; see `write_page`."""
    jobs = [results] if isinstance(results, JobResults) else list(results.jobs)
    names = job_names(results)
    pictures = pictures or Pictures()
    bounds = Bounds(pictures.trusted)
    learners = [bounds.of(job) for job in jobs]
    table = results.table if isinstance(results, SweepResults) else None
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number_text, "interval": effect_text, "spaced": spaced, "mark": mark}
    contents = Contents()
    arrays = describe_arrays(jobs, names, budget, pictures, contents)
    tables = {
        "jobs": [describe_job(job, name, each) for job, name, each in zip(jobs, names, learners)],
        "scorecard": None if table is None else scorecard(pd.concat([table, bounds.table(jobs)])),
        "comparisons": [] if table is None else comparisons(jobs, names, learners),
    }
    macros: Any = environment.get_template("page_parts.html").module
    return environment.get_template("page.html").render(
        **tables,
        title=names[0] if table is None else f"{results.path.absolute().name}: {len(jobs)} jobs",
        parts=compress_tables(tables, macros, contents) if len(jobs) > MOST_OPEN else None,
        tally=[] if table is None else tally(table),
        verdicts=VERDICTS,
        hows=HOW_IN_WORDS,
        noise=NOISE,
        arrays_note=note_on_arrays(jobs, len(arrays["jobs"])),
        claims=claims,
        relations=RELATIONS,
        quantiles=QUANTILES,
        data=script_json(arrays | {"contents": contents.items}),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def compress_tables(tables: Mapping[str, Any], macros: Any, contents: Contents) -> dict[str, str]:
    """The tables of very many jobs, compressed; the script puts each into its place when it is opened.

    Args:
        tables: ``jobs``, ``scorecard`` and ``comparisons``, as the template has them.
        macros: The module of ``page_parts.html``.
        contents: Where they go.

    Returns:
        The names of what the page calls ``run``, ``scorecard``, ``findings`` and ``forests``: each is a list of HTML.
    """
    jobs = tables["jobs"]
    parts = {
        "run": [macros.run(job) for job in jobs],
        "scorecard": [macros.scorecard_table(tables["scorecard"])],
        "findings": [macros.findings(job) for job in jobs if job["status"] == DONE],
        "forests": [macros.forest(one) for one in tables["comparisons"]],
    }
    return {name: contents.add([str(text) for text in texts]) for name, texts in parts.items()}


def note_on_arrays(jobs: Sequence[JobResults], shown: int) -> str:
    """A note on arrays that are not on the page, and how to see them; empty where all are there."""
    stored = sum(job.has_array for job in jobs)
    if stored == shown:
        return ""
    return (
        f"Here are the arrays of the first {shown} of {stored:,} jobs: the page holds no more. "
        "For another job: eif-lab report FOLDER, with the job's own folder."
    )


def job_names(results: JobResults | SweepResults) -> list[str]:
    """One name for each job; in a sweep they differ, unless they are too long to be shown."""
    if isinstance(results, JobResults):
        return [shorten(results.manifest.name, LONGEST_NAME)]
    names = dict(zip(results.table["path"], results.table["job"]))
    return [shorten(str(names.get(str(job.path), job.manifest.name)), LONGEST_NAME) for job in results.jobs]


def describe_job(job: JobResults, name: str, learners: Learners) -> dict[str, Any]:
    """The template's fields for one job."""
    manifest, rows = job.manifest, job.verdict_rows
    known = facts(manifest)
    return {
        "name": name,
        "status": manifest.status,
        "reason": manifest.reason,
        "facts": {label: known[key] for key, label in FACTS.items() if known[key]},
        "manifest": stored_manifest(job),
        "verdicts": tested_rows(rows, learners),
        "absent": [row for row in rows if row["status"] == NOT_APPLICABLE],
    }


def stored_manifest(job: JobResults) -> str:
    """The manifest as it stands in its file, every character as itself; empty where it cannot be read."""
    if job.manifest.status == UNREADABLE:
        return ""
    return json.dumps(json.loads((job.path / MANIFEST).read_text(encoding="utf-8")), indent=2, ensure_ascii=False)
