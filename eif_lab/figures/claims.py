"""The paper's claims beside what stored runs say.

Source of the claims: Matelsky, Ungar, Kording, arXiv 2406.00509. The rule that decides is `evidence`'s.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eif_lab.console.format import spaced
from eif_lab.figures import evidence
from eif_lab.figures.caption import table_row
from eif_lab.figures.evidence import INCONCLUSIVE, Estimate, Range, decide, decide_every
from eif_lab.figures.runs import Setting, dataset_title, finding, model_title, setting
from eif_lab.figures.symmetry import prediction_of
from eif_lab.files.checksums import replace_file
from eif_lab.models.language.phi3 import TINY
from eif_lab.results.job import JobResults

SYMMETRIC = Range(least=0.5)
"""Correlation with the transpose, as the symmetry desideratum has it."""

EXPLAINED = Range(least=0.9)
"""Correlation of the exact array with the first-order one."""

ALIKE = Range(least=-0.1, most=0.1)
"""Part of a clean image's influence that a noisy one lacks: of noise invariance, both ways."""

BARELY = Range(most=0.1)
"""Share of the direct influence, as the desiderata logic and negation have it."""

MORE = Range(least=0.0)
"""A difference that has the sign claimed."""

JUDGED = ("logic", "negation")
"""The desiderata about what should and should not follow."""

NOT_PHI3 = "This is about a tiny model of ours; it says nothing about Microsoft's Phi-3."


@dataclass(frozen=True)
class Row:
    """One claim beside a result.

    Attributes:
        claim: The paper's.
        what: What was run: model, data, method, n.
        effect, low, high: The statistic and its interval; None where there is none.
        verdict: The stored verdict of the desideratum that it comes from; of several, how many are satisfied.
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


def claims(jobs: Sequence[JobResults]) -> list[Row]:
    """A row for each claim and set-up that the jobs say something about.

    Args:
        jobs: Finished ones, of any of the figures' runs.
    """

    def those(fits: Callable[[Setting], bool]) -> list[JobResults]:
        return [job for job in jobs if fits(setting(job))]

    images = those(lambda s: s.images and s.method == "full" and s.perturbation == "include")
    exact = [job for job in images if setting(job).exact]
    rows = [symmetric(job) for job in exact]
    rows += [explained(job, other) for job in exact if (other := prediction_of(job, images)) is not None]
    rows += [alike(job) for job in those(lambda s: s.images and bool(s.noise) and s.exact)]
    clozes = those(lambda s: s.view == "probes" and s.exact and s.perturbation == "include")
    squares = those(lambda s: s.view == "statements" and s.exact and s.perturbation == "include")
    for tuned in by_method(clozes):
        rows += [
            barely("premises barely move the conclusion", tuned, "logic", "reach", "influence on what follows"),
            barely("the model is blind to negation", tuned, "negation", "gap", "what follows less its negation"),
        ]
    rows += [more_asymmetric(tuned, prompted(squares)) for tuned in by_method(squares) if prompted(squares)]
    return rows + [satisfies_more(tuned, prompted(clozes)) for tuned in by_method(clozes) if prompted(clozes)]


def by_method(jobs: Sequence[JobResults]) -> list[list[JobResults]]:
    """The jobs of each fine-tuning method."""
    methods = dict.fromkeys(setting(job).method for job in jobs)
    return [[job for job in jobs if setting(job).method == method] for method in methods if method != "prompt"]


def prompted(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs under prompting."""
    return [job for job in jobs if setting(job).method == "prompt"]


def symmetric(job: JobResults) -> Row:
    """CNN arrays are symmetric."""
    estimate = evidence.stored(job, "symmetry", "correlation") or Estimate()
    return row(
        "influence between images is symmetric",
        [job],
        estimate,
        agrees=decide(estimate, SYMMETRIC),
        verdict=verdict_of(job, "symmetry"),
        note=f"correlation of I[i, j] with I[j, i], {SYMMETRIC}",
    )


def explained(job: JobResults, predicted: JobResults) -> Row:
    """The first-order view explains the symmetry."""
    estimate = evidence.correlation_between(job, predicted)
    mirrored = finding(predicted, "symmetry")
    also = "" if mirrored is None else f"; the prediction's own symmetry is {mirrored.effect:.3g}"
    return row(
        "the first-order (NTK) view, symmetric by construction, explains it",
        [job],
        estimate,
        agrees=decide(estimate, EXPLAINED),
        verdict=verdict_of(predicted, "symmetry"),
        note=f"correlation of the exact array with the first-order one, off the diagonal, {EXPLAINED}{also}",
    )


def alike(job: JobResults) -> Row:
    """Noisy and clean stimuli teach alike."""
    estimate = evidence.stored(job, "noise_invariance", "taught_less") or Estimate()
    levels = (job.manifest.config.get("perturbation") or {}).get("levels")
    return row(
        "noisy and clean images teach alike",
        [job],
        estimate,
        agrees=decide(estimate, ALIKE),
        verdict=verdict_of(job, "noise_invariance"),
        note=f"part of a clean image's influence on its class that a noisy one lacks, mean over {levels}, {ALIKE}",
    )


def barely(claim: str, jobs: Sequence[JobResults], desideratum: str, statistic: str, meaning: str) -> Row:
    """A share of the direct influence that hardly arrives: the conclusion's reach, its gap to its negation."""
    each = estimates(jobs, lambda job: evidence.stored(job, desideratum, statistic))
    estimate = evidence.over_domains(each)
    return row(
        claim,
        jobs,
        estimate,
        agrees=decide(estimate, BARELY),
        verdict=satisfied(jobs, desideratum),
        note=f"{statistic}: {meaning}, over the influence on what is stated, mean over {len(each)} domains, {BARELY}; "
        f"{told_each(each, BARELY)}",
    )


def more_asymmetric(tuned: Sequence[JobResults], prompts: Sequence[JobResults]) -> Row:
    """In every domain prompting is more asymmetric than fine-tuning."""
    each = [
        estimate
        for job, other in paired(tuned, prompts)
        if (estimate := evidence.less_symmetric(job, other)) is not None
    ]
    weakest = min(each, key=lambda estimate: estimate.low, default=Estimate())
    at = f"the weakest of {len(each)} domains ({weakest.domain})" if each else "no domain could be compared"
    return row(
        "prompting is more asymmetric than fine-tuning, in every domain",
        tuned,
        weakest,
        agrees=decide_every(each, MORE),
        verdict=satisfied(prompts, "symmetry"),
        note="correlation with the transpose under fine-tuning less that under prompting, worlds resampled in both, "
        f"{at}, {MORE}; {told_each(each, MORE)}",
    )


def satisfies_more(tuned: Sequence[JobResults], prompts: Sequence[JobResults]) -> Row:
    """Prompting satisfies more desiderata than fine-tuning."""
    shares = [[evidence.share_satisfied(job, JUDGED) for job in pair] for pair in paired(tuned, prompts)]
    known = [pair for pair in shares if all(map(math.isfinite, pair))]
    estimate = evidence.over_domains([Estimate(context - weights) for weights, context in known])
    nothing = not any(map(sum, known))
    shares_note = f"share of the findings of {' and '.join(JUDGED)} that are satisfied"
    if known:
        weights, context = (sum(column) / len(known) for column in zip(*known))
        shares_note += f", {context:.2f} under prompting and {weights:.2f} under fine-tuning"
    return row(
        "prompting satisfies more desiderata than fine-tuning",
        tuned,
        estimate,
        agrees=INCONCLUSIVE if nothing else decide(estimate, MORE),
        verdict=satisfied(prompts, *JUDGED),
        note=f"{shares_note}; difference, mean over {len(known)} domains, {MORE}"
        + ("; neither satisfies any, so that nothing can be compared" if nothing else ""),
    )


def row(claim: str, jobs: Sequence[JobResults], estimate: Estimate, *, agrees: str, verdict: str, note: str) -> Row:
    """A row about some jobs of one model."""
    effect, low, high = (
        value if math.isfinite(value) else None for value in (estimate.effect, estimate.low, estimate.high)
    )
    tiny = setting(jobs[0]).model == TINY
    notes = f"{note}. {NOT_PHI3}" if tiny else f"{note}."
    return Row(claim, what(jobs), effect, low, high, verdict, agrees, notes)


def what(jobs: Sequence[JobResults]) -> str:
    """Model, data, method and n."""
    run, manifest = setting(jobs[0]), jobs[0].manifest
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(setting(job).seed for job in jobs))
    data = dataset_title(jobs[0]) if len(jobs) == 1 else f"{len(jobs)} knowledge domains ({run.view})"
    noise = f", {spaced(run.noise)} noise" if run.noise else ""
    sizes = sorted({job.manifest.stimuli for job in jobs})
    n = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    return f"{model_title(jobs[0])}, {data}{noise}, {run.method}, {n} stimuli, {manifest.unit}, seed {seeds}"


def verdict_of(job: JobResults, desideratum: str) -> str:
    """The stored verdict."""
    result = finding(job, desideratum)
    return "not applicable" if result is None else f"{spaced(desideratum)} {result.verdict}"


def satisfied(jobs: Sequence[JobResults], *desiderata: str) -> str:
    """In how many jobs a desideratum is satisfied."""
    parts = []
    for name in desiderata:
        verdicts = [result.verdict for job in jobs if (result := finding(job, name)) is not None]
        parts.append(f"{name} satisfied in {verdicts.count('satisfied')} of {len(verdicts)}")
    return ", ".join(parts) + (" (prompting)" if jobs and setting(jobs[0]).method == "prompt" else "")


def estimates(jobs: Sequence[JobResults], measure: Callable[[JobResults], Estimate | None]) -> list[Estimate]:
    """The statistic of each domain that has one."""
    return [result for job in jobs if (result := measure(job)) is not None]


def told_each(each: Sequence[Estimate], allowed: Range) -> str:
    """How many domains agree by themselves, and which do not."""
    outcomes = {estimate.domain: decide(estimate, allowed) for estimate in each}
    others = [f"{domain} {outcome}" for domain, outcome in outcomes.items() if outcome != evidence.AGREES]
    return f"{len(outcomes) - len(others)} domains agree by themselves" + (f", {', '.join(others)}" if others else "")


def paired(jobs: Sequence[JobResults], others: Sequence[JobResults]) -> list[tuple[JobResults, JobResults]]:
    """Jobs on the same domain and seeds."""
    known: Mapping[Any, JobResults] = {(setting(job).dataset, setting(job).draw): job for job in others}
    return [(job, known[key]) for job in jobs if (key := (setting(job).dataset, setting(job).draw)) in known]


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, and the rule below it."""
    head = ["claim", "what was run", "effect", "verdict", "agrees", "note"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    cells = [(one.claim, one.what, effect_of(one), one.verdict, one.agrees, one.note) for one in rows]
    lines += [table_row(row) for row in cells]
    text = inspect.cleandoc(evidence.__doc__ or "").split("\n\n", 1)[1]
    return "\n".join(["# The paper's claims", "", *lines, "", text, ""])


def effect_of(row: Row) -> str:
    """An effect with its interval."""
    if row.effect is None:
        return "none"
    ends = [f"{value:.2g}" if value is not None else "?" for value in (row.low, row.high)]
    return f"{row.effect:.2g} [{', '.join(ends)}]"


def write_claims(rows: Sequence[Row], folder: Path) -> Path:
    """Write ``claims.json`` and ``claims.md``; the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in rows], indent=2, allow_nan=False)
    replace_file(folder / "claims.json", text.encode())
    replace_file(folder / "claims.md", as_markdown(rows).encode())
    return folder / "claims.md"
