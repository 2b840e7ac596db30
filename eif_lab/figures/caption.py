"""Captions: what a figure shows, and from the manifests what was run to make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eif_lab.desiderata.format import spaced
from eif_lab.errors import one_line, printable
from eif_lab.figures.runs import Setting, dataset_title, model_title, setting
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import BaseModel, Manifest

COLUMNS = ("data", "model", "method", "perturbation", "n", "seed", "how measured", "strength")


def caption(name: str, shows: str, jobs: Sequence[JobResults]) -> str:
    """The caption as markdown: a paragraph, the sources in words, and a table with a row for each job.

    Args:
        name: The figure's.
        shows: What is drawn and how to read it.
        jobs: What it was drawn from; all else is read off their manifests.
    """
    rows = [row_of(job) for job in jobs]
    head = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join('---' for _ in COLUMNS)} |"]
    table = [table_row(row[column] for column in COLUMNS) for row in rows]
    commits = sorted({job.manifest.git_commit[:10] for job in jobs if job.manifest.git_commit})
    source = f"Drawn from {len(jobs)} jobs" + (f" at commit {', '.join(commits)}." if commits else ".")
    return "\n".join([f"# {name}", "", shows, "", summary(rows), source, "", *head, *table, ""])


def table_row(cells: Iterable[str]) -> str:
    """A row of a table in markdown, whatever stands in its cells."""
    texts = (one_line(printable(cell)).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """Data, models, methods and seeds in a sentence."""
    parts = [
        f"{column}: {', '.join(dict.fromkeys(row[column] for row in rows))}"
        for column in ("data", "model", "method", "seed")
    ]
    return f"{'; '.join(parts)}."


def row_of(job: JobResults) -> dict[str, str]:
    """A job's cells under `COLUMNS`."""
    run, manifest = setting(job), job.manifest
    taught = manifest.strength
    return {
        "data": dataset_title(job) + (f" ({run.view})" if run.view else ""),
        "model": f"{model_title(job)}{quality(manifest.base_model)}",
        "method": run.method,
        "perturbation": run.perturbation + (f" ({run.noise})" if run.noise else ""),
        "n": f"{manifest.stimuli} stimuli x {manifest.probes} probes",
        "seed": ", ".join(map(str, manifest.seeds)),
        "how measured": engine_and_update(run, manifest),
        "strength": f"{number(taught.effect)} {manifest.unit} [{number(taught.low)}, {number(taught.high)}]",
    }


def quality(base: BaseModel) -> str:
    """The base model's quality, as the manifest states it."""
    known = [(name, base[name]) for name in ("accuracy", "background_accuracy") if isinstance(base.get(name), float)]
    return "".join(f", {spaced(name)} {value:.3f}" for name, value in known)


def engine_and_update(run: Setting, manifest: Manifest) -> str:
    """The engine and the update."""
    update = manifest.update
    if manifest.base_model.origin:
        return manifest.base_model.origin
    if not update.optimizer:
        return "the stimulus read before the probe, no weight moves"
    moved = manifest.trained_parameters
    rate = f"learning rate {number(update.learning_rate)}{' (calibrated)' if update.calibration else ''}"
    steps = f"{update.steps} step{'' if update.steps == 1 else 's'}"
    recipe = f"{update.optimizer}, {steps}, {rate}, {moved.count:,} of {moved.total:,} parameters"
    return f"{'exact, ' if run.exact else 'predicted, '}{run.engine}: {recipe}"


def number(value: float | None) -> str:
    """Three digits; "undefined" where there is none."""
    return "undefined" if value is None else f"{value:.3g}"
