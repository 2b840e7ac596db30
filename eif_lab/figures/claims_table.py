"""The table of the paper's claims: its rows, their words, and how it is written."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eif_lab.desiderata.format import spaced
from eif_lab.figures import evidence
from eif_lab.figures.caption import table_row
from eif_lab.figures.evidence import AGREES, Estimate, Range
from eif_lab.figures.runs import dataset_title, model_title, setting
from eif_lab.files.checksums import replace_file
from eif_lab.models.language.phi3 import OURS
from eif_lab.results.job import JobResults


@dataclass(frozen=True)
class Row:
    """One claim beside a result.

    Attributes:
        claim: The paper's.
        what: What was run: model, data, method, n, seeds.
        effect, low, high: The statistic and its interval; None where there is none.
        verdict: The verdicts of the desideratum that it comes from, corrected over all jobs of the table.
        agrees: ``agrees``, ``disagrees`` or ``inconclusive``.
        note: What the statistic is, what range agrees, and what else a reader must know.
    """

    claim: str
    what: str
    effect: float | None
    low: float | None
    high: float | None
    verdict: str
    agrees: str
    note: str


def row(
    claim: str,
    jobs: Sequence[JobResults],
    estimate: Estimate | Sequence[float],
    *,
    agrees: str,
    verdict: str,
    note: str,
) -> Row:
    """A row about some jobs of one model."""
    numbers = (estimate.effect, estimate.low, estimate.high) if isinstance(estimate, Estimate) else estimate
    effect, low, high = (value if math.isfinite(value) else None for value in numbers)
    name = setting(jobs[0]).model
    about = f" This is about {name}, a small model of ours; it says nothing about Microsoft's Phi-3."
    return Row(claim, describe_run(jobs), effect, low, high, verdict, agrees, f"{note}.{about if name in OURS else ''}")


def describe_run(jobs: Sequence[JobResults]) -> str:
    """Model, data, method, n and seeds."""
    run = setting(jobs[0])
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(setting(job).seed for job in jobs))
    domains = list(dict.fromkeys(map(dataset_title, jobs)))
    data = domains[0] if not run.view else f"{', '.join(domains)} ({run.view}, background {run.background or 'taught'})"
    noise = f", {spaced(run.noise)} noise" if run.noise else ""
    sizes = sorted({job.manifest.stimuli for job in jobs})
    n = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    plural = "s" if "," in seeds else ""
    named_by = f"{model_title(jobs[0])}, {data}{noise}, {run.method}"
    return f"{named_by}, {describe_update(jobs)}, {n} stimuli, seed{plural} {seeds}"


def describe_update(jobs: Sequence[JobResults]) -> str:
    """The update, and how much it taught; of prompting how much was taught alone."""
    update, unit = jobs[0].manifest.update, jobs[0].manifest.unit
    taught = sorted(job.manifest.strength.effect or 0.0 for job in jobs)
    text = [f"{taught[0]:.2g} to {taught[-1]:.2g} {unit} taught" if len(jobs) > 1 else f"{taught[0]:.2g} {unit} taught"]
    if update.optimizer:
        text.insert(0, f"{update.steps} step{'' if update.steps == 1 else 's'} of {update.optimizer}")
    return ", ".join(text)


def count_domains(each: Sequence[Estimate], jobs: Sequence[JobResults]) -> str:
    """How many domains have a statistic, of how many."""
    n = len({setting(job).dataset for job in jobs})
    lacking = " (the others have no such probes, or were not clearly taught)" if len(each) < n else ""
    return f"{len(each)} of {n} domains{lacking}"


def count_agreeing(each: Sequence[Estimate], allowed: Range) -> str:
    """How many domains agree, and which do not, with their effects; after Holm's correction."""
    outcomes = evidence.decide_each(each, allowed) if each else []
    others = [
        f"{spaced(one.domain)} {outcome} ({interval(one.effect, one.low, one.high)})"
        for one, outcome in zip(each, outcomes)
        if outcome != AGREES
    ]
    return "; ".join([f"{outcomes.count(AGREES)} of {len(each)} domains agree by themselves", *others])


def interval(effect: float | None, low: float | None, high: float | None) -> str:
    """An effect with its interval."""
    if effect is None or not math.isfinite(effect):
        return "none"
    ends = [f"{value:.2g}" if value is not None and math.isfinite(value) else "?" for value in (low, high)]
    return f"{effect:.2g} [{', '.join(ends)}]"


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, and the rule below it."""
    head = ["claim", "what was run", "effect", "verdict", "agrees", "note"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    effects = [interval(one.effect, one.low, one.high) for one in rows]
    cells = [(one.claim, one.what, effect, one.verdict, one.agrees, one.note) for one, effect in zip(rows, effects)]
    lines += [table_row(row) for row in cells]
    text = inspect.cleandoc(evidence.__doc__ or "").split("\n\n", 1)[1]
    return "\n".join(["# The paper's claims", "", *lines, "", text, ""])


def write_claims(rows: Sequence[Row], folder: Path) -> Path:
    """Write ``claims.json`` and ``claims.md``; the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in rows], indent=2, allow_nan=False)
    replace_file(folder / "claims.json", text.encode())
    replace_file(folder / "claims.md", as_markdown(rows).encode())
    return folder / "claims.md"
