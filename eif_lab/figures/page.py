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
from eif_lab.figures.page_arrays import QUANTILES, Contents, describe_array, sample_table, shares
from eif_lab.figures.page_pictures import Pictures, Sheet
from eif_lab.results.rows import DONE, NOT_APPLICABLE
from eif_lab.results.store import ARRAY, JobResults, SweepResults
from eif_lab.results.summary import ANCHORS, UNDEFINED
from eif_lab.schema import rule_error

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
        pictures: Of each set of images.
        characters: Of each text.
    """

    cells: int
    pictures: int
    characters: int


BUDGETS = (Budget(1_200_000, 4000, 600), Budget(600_000, 2000, 300), Budget(200_000, 500, 120), Budget(40_000, 100, 60))
"""Tried in turn, until the page is small enough."""


def write_page(
    results: JobResults | SweepResults,
    file: Path,
    claims: str | Sequence[Mapping[str, Any]] | None = None,
    pictures: Pictures | None = None,
) -> int:
    """Write the page of a job or a sweep.

    Args:
        results: As `eif_lab.results.store.open_results` gives them.
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
            file.write_bytes(page)
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
    return environment.get_template("page.html").render(
        title=names[0] if table is None else f"{results.path.absolute().name}: {len(jobs)} jobs",
        jobs=[describe_job(job, name) for job, name in zip(jobs, names)],
        scorecard=None if table is None else scorecard(table),
        comparisons=[] if table is None else comparisons(jobs, names),
        claims=claims,
        relations=RELATIONS,
        quantiles=QUANTILES,
        data=embedded(describe_arrays(jobs, names, budget, pictures or Pictures())),
        style=Markup((HERE / "page.css").read_text()),
        script=Markup((HERE / "page.js").read_text()),
    )


def embedded(value: Any) -> Markup:
    """JSON for a script element: no text in it can end the element."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))


def job_names(results: JobResults | SweepResults) -> list[str]:
    """One name for each job; in a sweep they differ."""
    if isinstance(results, JobResults):
        return [str(results.manifest["name"])]
    told = dict(zip(results.table["path"], results.table["job"]))
    return [str(told.get(str(job.path), job.manifest["name"])) for job in results.jobs]


def describe_arrays(
    jobs: Sequence[JobResults], names: Sequence[str], budget: Budget, pictures: Pictures
) -> dict[str, Any]:
    """All that the page's script reads: the arrays of the jobs that have one, their samples and pictures."""
    contents = Contents()
    found = [(job, name) for job, name in zip(jobs, names) if (job.path / ARRAY).is_dir()]
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
        "contents": contents.items,
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
    manifest, frame = job.manifest, job.verdicts
    return {
        "name": name,
        "status": manifest["status"],
        "reason": manifest.get("reason") or "",
        "facts": {label: told for key, label in FACTS.items() if (told := facts(manifest).get(key))},
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
        "verdicts": verdict_rows(frame),
        "absent": frame[frame["status"] == NOT_APPLICABLE].to_dict("records"),
    }


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What was run, in words; what the manifest does not say is empty.

    Returns:
        Text by the keys of `FACTS`.
    """
    config, base = manifest.get("config") or {}, manifest.get("base_model") or {}
    moved, direct = manifest.get("trained_parameters") or {}, manifest.get("direct_influence")
    unit, dirty = manifest.get("unit") or "", " with uncommitted changes" if manifest.get("git_dirty") else ""
    versions = manifest.get("versions") or {}
    return {
        "model": named(base),
        **{group: chosen(config.get(group)) for group in ("dataset", "method", "perturbation")},
        "size": f"{manifest['stimuli']:,}, {manifest['probes']:,}" if manifest.get("stimuli") else "",
        "seeds": ", ".join(map(str, manifest.get("seeds") or [])),
        "update": recipe(manifest.get("update") or {}),
        "engine": str(manifest.get("engine") or ""),
        "trained": f"{moved['count']:,} of {moved['total']:,} parameters" if moved.get("count") else "",
        "direct": f"{interval(direct)} {unit}, n = {direct['n']} {direct['unit']}"
        if isinstance(direct, Mapping)
        else "",
        "base": quality(base),
        "device": " · ".join(str(manifest[key]) for key in ("device", "platform") if manifest.get(key)),
        "time": " · ".join(
            filter(None, [manifest.get("created"), f"{manifest['seconds']:.0f} s" if manifest.get("seconds") else ""])
        ),
        "versions": ", ".join(
            f"{package} {versions[package]}"
            for package in ("eif-lab", "torch", "transformers", "peft")
            if package in versions
        ),
        "commit": f"{manifest['git_commit'][:12]}{dirty}" if manifest.get("git_commit") else "",
    }


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
    steps = f"{update['steps']} step{'' if update['steps'] == 1 else 's'}"
    return f"{update['optimizer']}, {steps}, learning rate {number(update['learning_rate'])}{how}"


def quality(base: Mapping[str, Any]) -> str:
    """How good the base model was: its accuracies and losses, and the worlds that it did not learn."""
    told = [f"{spaced(key)} {value:.3g}" for key, value in base.items() if isinstance(value, float)]
    lost = base.get("worlds_not_learnt")
    told += [f"{len(lost)} worlds not learnt and left out"] if lost else []
    return ", ".join([*told, f"weights {base['hash']}"] if base.get("hash") else told)


def verdict_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per finding; the first of a desideratum says how many share its cells."""
    tested = frame[frame["status"] == DONE].sort_values("finding", kind="stable")
    rows = []
    for _, findings in tested.groupby("desideratum", sort=False):
        for index, finding in enumerate(findings.to_dict("records")):
            rows.append({**finding, "first": index == 0, "count": len(findings), "interval": interval(finding)})
    return rows


def scorecard(table: pd.DataFrame) -> dict[str, Any]:
    """Jobs by desiderata, with p-values corrected over the sweep; a cell is the rows of its findings in the table."""
    desiderata = [name for name in dict.fromkeys(table["desideratum"]) if name]
    rows = []
    for (job, _), group in table.groupby(["job", "path"], sort=False):
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in group.to_dict("records"):
            cells.setdefault(row["desideratum"], []).append({**row, "interval": interval(row)})
        first = group.iloc[0]
        rows.append(
            {
                "job": job,
                "direct": None if pd.isna(first["direct_influence"]) else float(first["direct_influence"]),
                "missed": first["target_reached"] is not pd.NA and not first["target_reached"],
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
    found = pd.concat([job.verdicts.assign(job=name) for job, name in zip(jobs, names)], ignore_index=True)
    found = found[found["status"] == DONE]
    found = found[np.isfinite(found[["effect", "low", "high"]].to_numpy(dtype=float)).all(axis=1)]
    return [
        {"desideratum": desideratum, "statistic": statistic, **on_one_scale(findings)}
        for (desideratum, statistic), findings in found.groupby(["desideratum", "statistic"], sort=False)
        if len(findings) > 1
    ]


def on_one_scale(findings: pd.DataFrame) -> dict[str, Any]:
    """Findings of one statistic as places on a scale that holds all of them and the threshold.

    Returns:
        ``threshold`` and its place ``at``; ``rows``, the findings with the ends and the width of their interval and the
        effect as places. Places are percentages of the scale.
    """
    ends = findings[["low", "high", "effect", "threshold"]].to_numpy(dtype=float)
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
        for row in findings.to_dict("records")
    ]
    threshold = float(findings["threshold"].iloc[0])
    return {"threshold": threshold, "at": place(threshold), "rows": rows}


def interval(found: Mapping[str, Any]) -> str:
    """An effect with its interval: ``0.4 [0.38, 0.41]``."""
    return f"{number(found['effect'])} [{number(found['low'])}, {number(found['high'])}]"


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
