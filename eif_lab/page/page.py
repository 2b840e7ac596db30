"""One self-contained HTML page about a job or a sweep.

Everything is read from the store, and nothing is measured anew; only the bounding learners, which stand beside each
finding, are made and judged when the page is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.format import number_text, spaced
from eif_lab.desiderata.verdict import VERDICTS
from eif_lab.desiderata.wording import HOW_IN_WORDS
from eif_lab.errors import rule_error
from eif_lab.files.checksums import replace_file
from eif_lab.page.arrays import QUANTILES, shorten
from eif_lab.page.contents import BUDGETS, Budget, Contents, script_json
from eif_lab.page.facts import FACTS, effect_text, facts, mark, sign
from eif_lab.page.forests import forests
from eif_lab.page.matrix import Matrix, matrix, story, strength_text
from eif_lab.page.pictures import Pictures
from eif_lab.page.script_data import describe_arrays
from eif_lab.page.seeds import groups_over_seeds
from eif_lab.page.verdicts import corrected_rows
from eif_lab.results.bounds import NOISE, Bounds
from eif_lab.results.folders import MANIFEST
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import UNREADABLE
from eif_lab.results.sweep import SweepResults

HERE = Path(__file__).parent
SCRIPTS = ("plot.js", "shared.js", "tables.js", "forests.js", "page.js")
"""In this order; the first is Observable Plot (``plot.md``)."""

LARGEST_PAGE = 10_000_000
"""Bytes."""

LONGEST_NAME = 200
"""Characters of a job's name."""

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
    corrected = corrected_rows(None if isinstance(results, JobResults) else results.table)
    told = matrix(jobs, names, learners, corrected)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number_text, "interval": effect_text, "spaced": spaced, "sign": sign}
    environment.filters |= {"mark": mark, "strength": strength_text}
    contents = Contents()
    arrays = describe_arrays(jobs, names, budget, pictures, contents)
    compared = forests(told)
    described = [describe_job(job, name) for job, name in zip(jobs, names)]
    macros: Any = environment.get_template("page_parts.html").module
    return environment.get_template("page.html").render(
        title=names[0] if isinstance(results, JobResults) else results.path.absolute().name,
        story=story(told),
        matrix=told,
        over_seeds=groups_over_seeds(results),
        jobs=described,
        claims_of=claims_of(told),
        parts=compress_tables(told, described, macros, contents) if len(jobs) > MOST_OPEN else None,
        compared=bool(compared["charts"]),
        verdicts=VERDICTS,
        hows=HOW_IN_WORDS,
        noise=NOISE,
        arrays_note=note_on_arrays(jobs, len(arrays["jobs"])),
        claims=claims,
        relations=RELATIONS,
        quantiles=QUANTILES,
        data=script_json(arrays | {"forests": contents.add(compared), "contents": contents.items}),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup((HERE / name).read_text(encoding="utf-8")) for name in SCRIPTS],
    )


def compress_tables(told: Matrix, jobs: Sequence[Mapping[str, Any]], macros: Any, contents: Contents) -> dict[str, str]:
    """The tables of very many jobs, compressed; the script puts each into its place when it is opened.

    Args:
        told: Jobs by desiderata.
        jobs: As the template has them.
        macros: The module of ``page_parts.html``.
        contents: Where they go.

    Returns:
        The names of what the page calls ``run``, ``matrix`` and ``verdicts``: each is a list of HTML.
    """
    parts = {
        "run": [macros.run(job) for job in jobs],
        "matrix": [macros.matrix_table(told)],
        "verdicts": [macros.verdict_table(told)],
    }
    return {name: contents.add([str(text) for text in texts]) for name, texts in parts.items()}


def claims_of(told: Matrix) -> dict[str, list[tuple[str, str]]]:
    """What each desideratum claims, and the rules that it was judged by."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for _, row in told.jobs:
        for name, one in row.verdicts.items():
            for first in one.findings[:1]:
                found.setdefault(name, {})[first["claim"], first["rule"]] = None
    return {name: list(each) for name, each in found.items()}


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


def describe_job(job: JobResults, name: str) -> dict[str, Any]:
    """The template's fields for what was run as one job."""
    known = facts(job.manifest)
    return {
        "name": name,
        "status": job.manifest.status,
        "reason": job.manifest.reason,
        "facts": {label: known[key] for key, label in FACTS.items() if known[key]},
        "manifest": stored_manifest(job),
    }


def stored_manifest(job: JobResults) -> str:
    """The manifest as it stands in its file, every character as itself; empty where it cannot be read."""
    if job.manifest.status == UNREADABLE:
        return ""
    return json.dumps(json.loads((job.path / MANIFEST).read_text(encoding="utf-8")), indent=2, ensure_ascii=False)
