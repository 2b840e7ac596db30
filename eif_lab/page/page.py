"""One self-contained HTML page about a job or a sweep: everything is read from the store, nothing is computed anew."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eif_lab.data.task import RELATIONS
from eif_lab.desiderata.selection import texts
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VIOLATED
from eif_lab.errors import rule_error
from eif_lab.files.checksums import replace_file
from eif_lab.page.arrays import QUANTILES, Contents, describe_array, sample_table, shares, shorten
from eif_lab.page.pictures import Pictures, Sheet
from eif_lab.results.job import ARRAY, JobResults
from eif_lab.results.rows import DONE, NOT_APPLICABLE
from eif_lab.results.sweep import SweepResults
from eif_lab.results.trackers.heat_map import ANCHORS, UNDEFINED

HERE = Path(__file__).parent
LARGEST_PAGE = 10_000_000
"""Bytes."""

MARKS = {SATISFIED: "✓", VIOLATED: "✗", INCONCLUSIVE: "?"}
FACTS = {
    "model": "Model",
    "dataset": "Data",
    "method": "Method",
    "perturbation": "Perturbation",
    "size": "Stimuli, probes",
    "seeds": "Seeds",
    "update": "Update",
    "engine": "Engine",
    "trained": "Trained",
    "direct": "Direct influence",
    "base": "Base model",
    "device": "Device",
    "time": "Time",
    "versions": "Versions",
    "commit": "Commit",
}


@dataclass(frozen=True)
class Budget:
    """What the page may hold; what is above it is reduced, and the page says so.

    Attributes:
        cells: Of all arrays together.
        arrays: How many jobs have theirs on the page, the first of a sweep.
        pictures: Of each set of images.
        characters: Of each text.
    """

    cells: int
    arrays: int
    pictures: int
    characters: int


BUDGETS = (
    Budget(1_200_000, 200, 4000, 600),
    Budget(600_000, 100, 2000, 300),
    Budget(200_000, 50, 500, 120),
    Budget(40_000, 20, 100, 60),
)
"""Tried in turn, until the page is small enough."""

LONGEST_NAME = 200
"""Characters of a job's name."""

MOST_OPEN = 50
"""Jobs of a sweep whose tables stand in the page as they are; of more they are packed, and open when asked for."""


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
    table = results.table if isinstance(results, SweepResults) else None
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "interval": interval, "spaced": spaced, "mark": mark}
    contents = Contents()
    arrays = describe_arrays(jobs, names, budget, pictures or Pictures(), contents)
    told = {
        "jobs": [describe_job(job, name) for job, name in zip(jobs, names)],
        "scorecard": None if table is None else scorecard(table),
        "comparisons": [] if table is None else comparisons(jobs, names),
    }
    macros: Any = environment.get_template("page_parts.html").module
    return environment.get_template("page.html").render(
        **told,
        title=names[0] if table is None else f"{results.path.absolute().name}: {len(jobs)} jobs",
        parts=pack(told, macros, contents) if len(jobs) > MOST_OPEN else None,
        tally=[] if table is None else tally(table),
        verdicts=list(MARKS),
        arrays_told=told_of_arrays(jobs, len(arrays["jobs"])),
        claims=claims,
        relations=RELATIONS,
        quantiles=QUANTILES,
        data=embedded(arrays | {"contents": contents.items}),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def pack(told: Mapping[str, Any], macros: Any, contents: Contents) -> dict[str, str]:
    """The tables of very many jobs, compressed; the script puts each into its place when it is opened.

    Args:
        told: ``jobs``, ``scorecard`` and ``comparisons``, as the template has them.
        macros: The module of ``page_parts.html``.
        contents: Where they go.

    Returns:
        The names of what the page calls ``run``, ``scorecard``, ``findings`` and ``forests``: each is a list of HTML.
    """
    jobs = told["jobs"]
    parts = {
        "run": [macros.run(job) for job in jobs],
        "scorecard": [macros.scorecard_table(told["scorecard"])],
        "findings": [macros.findings(job) for job in jobs if job["status"] == DONE],
        "forests": [macros.forest(one) for one in told["comparisons"]],
    }
    return {name: contents.add([str(text) for text in texts]) for name, texts in parts.items()}


def told_of_arrays(jobs: Sequence[JobResults], shown: int) -> str:
    """How many arrays are not on the page, and how to see them; empty where all are."""
    stored = sum(has_array(job) for job in jobs)
    if stored == shown:
        return ""
    return (
        f"Here are the arrays of the first {shown} of {stored:,} jobs: the page holds no more. "
        "For another job: eif-lab report FOLDER, with the job's own folder."
    )


def has_array(job: JobResults) -> bool:
    """Whether the job left an array."""
    return (job.path / ARRAY).is_dir()


def embedded(value: Any) -> Markup:
    """JSON for a script element: no text in it can end the element."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))


def job_names(results: JobResults | SweepResults) -> list[str]:
    """One name for each job; in a sweep they differ, unless they are too long to be shown."""
    if isinstance(results, JobResults):
        return [shorten(str(results.manifest["name"]), LONGEST_NAME)]
    told = dict(zip(results.table["path"], results.table["job"]))
    return [shorten(str(told.get(str(job.path), job.manifest["name"])), LONGEST_NAME) for job in results.jobs]


def describe_arrays(
    jobs: Sequence[JobResults], names: Sequence[str], budget: Budget, pictures: Pictures, contents: Contents
) -> dict[str, Any]:
    """What the page's script reads: the arrays of the first jobs that have one, their samples and pictures."""
    found = [(job, name) for job, name in zip(jobs, names) if has_array(job)][: budget.arrays]
    sizes = [
        job.influence.sizes["stimulus"] * job.influence.sizes["probe"]
        for job, _ in found
        for _ in range(job.influence.sizes["readout"])
    ]
    granted = iter(shares(sizes, budget.cells))
    told = [
        describe_samples_and_array(job, name, granted, budget=budget, contents=contents, pictures=pictures)
        for job, name in found
    ]
    return {
        "jobs": told,
        "relations": [*RELATIONS, "undeclared"],
        "colours": ANCHORS.astype(int).tolist(),
        "undefined": list(UNDEFINED),
    }


def describe_samples_and_array(
    job: JobResults, name: str, granted: Iterable[int], *, budget: Budget, contents: Contents, pictures: Pictures
) -> dict[str, Any]:
    """One job for the script; see `describe_arrays`."""
    influence = job.influence
    cells = [count for _, count in zip(range(influence.sizes["readout"]), granted)]
    described, shown = describe_array(influence, cells, budget.characters, contents)
    ids = {dim: texts(influence, f"{dim}_id") for dim in ("stimulus", "probe")}
    wanted = [*ids["stimulus"], *ids["probe"][shown], *ids["probe"]]
    # only images have classes
    pictured = "stimulus_class" in influence.coords
    sheet, told = pictures.draw(job.manifest, [str(one) for one in wanted], budget.pictures) if pictured else (None, "")
    samples = {}
    for dim, own in ids.items():
        table = sample_table(influence, dim, budget.characters)
        if sheet is not None:
            table["pictures"] = [sheet.places.get(str(one), -1) for one in own]
        samples[dim] = contents.add(table)
    return {
        "name": name,
        "path": str(job.path),
        **described,
        "samples": samples,
        "sheet": sheet and describe_sheet(sheet, contents),
        "pictures_told": told,
    }


def describe_sheet(sheet: Sheet, contents: Contents) -> dict[str, Any]:
    """Where the script finds the pictures."""
    place = {"tile": sheet.tile, "columns": sheet.columns, "rows": sheet.rows}
    return {"picture": contents.add_picture(sheet.content), **place}


def describe_job(job: JobResults, name: str) -> dict[str, Any]:
    """What the template says about one job."""
    manifest, rows = job.manifest, job.verdict_rows
    told = facts(manifest)
    return {
        "name": name,
        "status": manifest["status"],
        "reason": manifest.get("reason") or "",
        "facts": {label: told[key] for key, label in FACTS.items() if told.get(key)},
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
        "verdicts": tested_rows(rows),
        "absent": [row for row in rows if row["status"] == NOT_APPLICABLE],
    }


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What was run, in words; what the manifest does not say is empty.

    Returns:
        Text by the keys of `FACTS`.
    """
    config, base = manifest.get("config") or {}, manifest.get("base_model") or {}
    moved, direct = manifest.get("trained_parameters") or {}, manifest.get("direct_influence")
    unit = manifest.get("unit") or ""
    # an array that was found again was measured by what its own record says
    where = {**manifest, **(manifest.get("measured") or {})}
    measured, judged = packages(where), packages(manifest)
    dirty = " with uncommitted changes" if where.get("git_dirty") else ""
    return {
        "model": named(base),
        **{group: chosen(config.get(group)) for group in ("dataset", "method", "perturbation")},
        "size": f"{manifest['stimuli']:,}, {manifest['probes']:,}" if manifest.get("stimuli") else "",
        "seeds": ", ".join(map(str, manifest.get("seeds") or [])),
        "update": recipe(manifest.get("update") or {}),
        "engine": str(manifest.get("engine") or ""),
        "trained": f"{moved['count']:,} of {moved['total']:,} parameters" if moved.get("count") else "",
        "direct": told_direct(direct, unit) if isinstance(direct, Mapping) else "",
        "base": quality(base),
        "device": " · ".join(str(where[key]) for key in ("device", "platform") if where.get(key)),
        "time": " · ".join(
            filter(None, [manifest.get("created"), f"{manifest['seconds']:.0f} s" if manifest.get("seconds") else ""])
        ),
        "versions": measured if measured == judged else f"{measured} (measured); {judged} (judged)",
        "commit": f"{where['git_commit'][:12]}{dirty}" if where.get("git_commit") else "",
    }


def packages(provenance: Mapping[str, Any]) -> str:
    """The versions of the packages that matter most."""
    versions = provenance.get("versions") or {}
    named = ("eif-lab", "torch", "transformers", "peft")
    return ", ".join(f"{package} {versions[package]}" for package in named if package in versions)


def told_direct(direct: Mapping[str, Any], unit: str) -> str:
    """The direct influence with its interval, and of how many units."""
    of = f", n = {direct['n']} {direct.get('unit', '')}".rstrip() if "n" in direct else ""
    return f"{interval(direct)} {unit}{of}"


def named(base: Mapping[str, Any]) -> str:
    """The model's own name and its size: a tiny model is not called by the name of the large one."""
    size = f" ({base['parameters']:,} parameters)" if base.get("parameters") else ""
    return f"{base['name']}{size}" if base.get("name") else ""


def chosen(options: Any) -> str:
    """A choice and its plain options: ``ontology: worlds 20, stimuli_per_world 3``."""
    if not isinstance(options, Mapping):
        return ""
    kind = str(options.get("_target_", "")).rpartition(".")[2]
    name = str(options.get("name") or kind.lower())
    told = [
        f"{spaced(key)} {value}"
        for key, value in options.items()
        if key not in ("_target_", "name", "root", "download") and isinstance(value, str | int | float)
    ]
    return f"{name}: {', '.join(told)}" if told else name


def recipe(update: Mapping[str, Any]) -> str:
    """The update in words."""
    if not update.get("optimizer"):
        return "none: stimuli are read before the probes" if update else ""
    found = update.get("calibration")
    how = f", calibrated to {found['target']:.3g} nat{'' if found['reached'] else ' (not reached)'}" if found else ""
    count = update.get("steps", 1)
    steps = f"{count} step{'' if count == 1 else 's'}"
    return f"{update['optimizer']}, {steps}, learning rate {number(update.get('learning_rate'))}{how}"


def quality(base: Mapping[str, Any]) -> str:
    """How good the base model was: its accuracies and losses, and the worlds that it did not learn."""
    told = [f"{spaced(key)} {value:.3g}" for key, value in base.items() if isinstance(value, float)]
    lost = base.get("worlds_not_learnt")
    told += [f"{len(lost)} worlds not learnt and left out"] if lost else []
    return ", ".join([*told, f"weights {base['hash']}"] if base.get("hash") else told)


def tested_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per finding; the first of a desideratum says how many share its cells."""
    findings: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted((row for row in rows if row["status"] == DONE), key=lambda row: row["finding"] or 0):
        findings.setdefault(row["desideratum"], []).append(row)
    return [
        {**row, "first": index == 0, "count": len(own), "interval": interval(row)}
        for own in findings.values()
        for index, row in enumerate(own)
    ]


def tally(table: pd.DataFrame) -> list[dict[str, Any]]:
    """How many jobs have each verdict on each desideratum, after the correction over the sweep."""
    first = table[(table["status"] == DONE) & (table["finding"] == 0)]
    counts = first.groupby(["desideratum", "verdict"], sort=False).size()
    return [
        {"desideratum": name, **{one: int(counts.get((name, one), 0)) for one in MARKS}}
        for name in dict.fromkeys(first["desideratum"])
    ]


def scorecard(table: pd.DataFrame) -> dict[str, Any]:
    """Jobs by desiderata, with p-values corrected over the sweep; a cell is the rows of its findings in the table."""
    desiderata = [name for name in dict.fromkeys(table["desideratum"]) if name]
    rows = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        groups.setdefault((row["job"], row["path"]), []).append({**row, "interval": interval(row)})
    for (job, _), group in groups.items():
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in group:
            cells.setdefault(row["desideratum"], []).append(row)
        direct, reached = group[0]["direct_influence"], group[0]["target_reached"]
        rows.append(
            {
                "job": shorten(job, LONGEST_NAME),
                "direct": None if pd.isna(direct) else float(direct),
                "missed": reached is not pd.NA and not reached,
                "told": cells[""][0] if "" in cells else None,
                "cells": [cells.get(name, []) for name in desiderata],
            }
        )
    return {"desiderata": desiderata, "rows": rows}


def comparisons(jobs: Sequence[JobResults], names: Sequence[str]) -> list[dict[str, Any]]:
    """For each finding that several jobs have: their effects with intervals on one scale.

    Returns:
        ``desideratum``, ``statistic``, and what `on_one_scale` gives.
    """
    findings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job, name in zip(jobs, names):
        for row in job.verdict_rows:
            if row["status"] == DONE and all(math.isfinite(row[key]) for key in ("effect", "low", "high")):
                findings.setdefault((row["desideratum"], row["statistic"]), []).append({**row, "job": name})
    return [
        {"desideratum": desideratum, "statistic": statistic, **on_one_scale(own)}
        for (desideratum, statistic), own in findings.items()
        if len(own) > 1
    ]


def on_one_scale(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Findings of one statistic as places on a scale that holds all of them and the threshold.

    Returns:
        ``threshold`` and its place ``at``; ``rows``, the findings with the ends and the width of their interval and the
        effect as places. Places are percentages of the scale.
    """
    ends = np.array([[row[key] for key in ("low", "high", "effect", "threshold")] for row in findings])
    low, span = float(ends.min()), float(np.ptp(ends)) or 1.0

    def place(value: float) -> float:
        return 2 + 96 * (value - low) / span

    rows = [
        {
            **row,
            "interval": interval(row),
            "left": place(row["low"]),
            "width": place(row["high"]) - place(row["low"]),
            "dot": place(row["effect"]),
        }
        for row in findings
    ]
    threshold = float(findings[0]["threshold"])
    return {"threshold": threshold, "at": place(threshold), "rows": rows}


def interval(found: Mapping[str, Any]) -> str:
    """An effect with its interval: ``0.4 [0.38, 0.41]``."""
    effect, low, high = (number(found.get(name)) for name in ("effect", "low", "high"))
    return f"{effect} [{low}, {high}]"


def number(value: Any, digits: int = 3) -> str:
    """A number in so many digits; a dash where there is none."""
    if value is None or pd.isna(value):
        return "-"
    return str(value) if isinstance(value, str) or not math.isfinite(value) else f"{value:.{digits}g}"


def mark(verdict: str) -> str:
    """A verdict with its sign, so that it needs no colour."""
    return f"{MARKS.get(verdict, '')} {verdict}".strip()


def spaced(name: str) -> str:
    """The name with blanks, at which a line can end."""
    return str(name).replace("_", " ")
