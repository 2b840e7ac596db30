"""The paper's claims, and how each is held to the results of stored runs.

Source of the claims: Matelsky, Ungar, Kording, arXiv 2406.00509. The rule that decides is `evidence`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from eif_lab.desiderata.format import spaced
from eif_lab.desiderata.verdict import INCONCLUSIVE as NO_VERDICT
from eif_lab.desiderata.verdict import SATISFIED, VIOLATED
from eif_lab.figures import evidence
from eif_lab.figures.claims_table import Row, count_agreeing, count_domains, interval, row
from eif_lab.figures.evidence import AGREES, DISAGREES, INCONCLUSIVE, Estimate, Range
from eif_lab.figures.runs import Setting, finding, setting
from eif_lab.figures.symmetry import prediction_of
from eif_lab.results.job import JobResults
from eif_lab.results.seeds import but_for_seeds
from eif_lab.results.tables import sweep_table

SYMMETRIC, ASYMMETRIC = Range(least=0.5), Range(most=0.5)
"""Correlation with the transpose, as the symmetry desideratum has it."""

EXPLAINED = Range(least=0.9)
"""Correlation of the exact array with the first-order one."""

BARELY = Range(least=-0.1, most=0.1)
"""A share that counts as no effect, on either side of zero."""

MORE = Range(least=0.0)
"""A difference that has the sign claimed."""

COUNTED = ("distance_decay", "sparsity", "logic", "negation")
"""The desiderata of clozes. Symmetry is not among them: logic does not ask that a statement hold backwards."""


class _Verdicts(dict[tuple[str, str], str]):
    """By a job's path and a desideratum, the verdict corrected over all jobs of the table."""

    @classmethod
    def of(cls, jobs: Sequence[JobResults]) -> _Verdicts:
        table = sweep_table(jobs)
        known = table[table["desideratum"].fillna("").ne("") & table["verdict"].fillna("").ne("")]
        return cls(zip(zip(known["path"], known["desideratum"]), known["verdict"]))

    def count(self, jobs: Sequence[JobResults], desideratum: str) -> str:
        """How many of the jobs satisfy it, and how many violate it."""
        known = [self[key] for job in jobs if (key := (str(job.path), desideratum)) in self]
        counts = f"{spaced(desideratum)}: satisfied in {known.count(SATISFIED)} and violated in {known.count(VIOLATED)}"
        return f"{counts} of {len(known)} jobs" if known else f"{spaced(desideratum)} not applicable"


Measure = Callable[[JobResults], Estimate | None]
"""The statistic of one job; None where it says nothing."""


class Claim(NamedTuple):
    """A claim about one statistic.

    Attributes:
        text: The paper's words, as near as may be.
        desideratum: Where the statistic is from.
        allowed: What the claim allows.
        meaning: What the statistic is.
        statistic: Its name; None for the headline.
    """

    text: str
    desideratum: str
    allowed: Range
    meaning: str
    statistic: str | None = None


CONCLUSION = Claim(
    "premises barely move the conclusion",
    "logic",
    BARELY,
    "reach: what follows less its controls, over the strength (what is stated less its controls)",
    "reach",
)
NEGATED = Claim(
    "the model is blind to negation",
    "negation",
    BARELY,
    "gap: what follows less what is contradicted, each less its controls, over the strength",
    "gap",
)
LM_ASYMMETRIC = Claim(
    "fine-tuning of a language model is asymmetric",
    "symmetry",
    ASYMMETRIC,
    "correlation of I[i, j] with I[j, i] between the statements of a world",
    "correlation",
)
CNN_SYMMETRIC = Claim(
    "influence between images is symmetric",
    "symmetry",
    SYMMETRIC,
    "correlation of I[i, j] with I[j, i]; one small step on the loss that is read is symmetric to first order",
    "correlation",
)
NO_DECAY = Claim(
    "influence does not decrease with semantic distance",
    "distance_decay",
    Range(most=0.05),
    "rank correlation of the size of influence with nearness, above chance",
)
NOT_SPARSE = Claim(
    "influence is not sparse",
    "sparsity",
    Range(most=0.3),
    "precision with which the size of influence tells related probes from others, above chance",
)


def claims(jobs: Sequence[JobResults]) -> list[Row]:
    """A row for each claim and set-up that the jobs say something about.

    Args:
        jobs: Finished ones, of any of the figures' runs. Jobs that differ in nothing but their seeds make one row.
    """
    jobs, verdicts = distinct(jobs), _Verdicts.of(distinct(jobs))

    def groups_of(fits: Callable[[Setting], bool]) -> list[list[JobResults]]:
        return group_jobs([job for job in jobs if fits(setting(job))], but_for_domains=False)

    rows = []
    for exact in groups_of(lambda s: s.images and s.method == "full" and s.perturbation == "include" and s.exact):
        rows += [of_images(CNN_SYMMETRIC, exact, verdicts), *first_order_explains(exact, jobs)]
        rows += [of_images(NO_DECAY, exact, verdicts), of_images(NOT_SPARSE, exact, verdicts)]
    for noisy in groups_of(lambda s: s.images and bool(s.noise) and s.exact):
        rows += [teach_alike(noisy, verdicts, ending) for ending in ("at_equal_rate", "per_nat")]
    arms = group_jobs([job for job in jobs if setting(job).view and setting(job).exact and is_include(job)])
    for tuned in (arm for arm in arms if setting(arm[0]).method != "prompt"):
        context = [arm for arm in arms if is_prompting_counterpart(arm, tuned)]
        if setting(tuned[0]).view == "statements":
            rows.append(of_domains(LM_ASYMMETRIC, tuned, verdicts))
            rows += [more_asymmetric(tuned, arm, verdicts) for arm in context]
        else:
            rows += [of_domains(one, tuned, verdicts) for one in (CONCLUSION, NEGATED, NO_DECAY, NOT_SPARSE)]
            rows += [satisfies_more(tuned, arm, verdicts) for arm in context]
    return rows


# Which jobs belong together -------------------------------------------------------------------------------------------


def distinct(jobs: Sequence[JobResults]) -> list[JobResults]:
    """The jobs; of several with the same array, as two runs may have, the first, and of prompting any recipe's.

    Nothing is trained in prompting, so that jobs that differ in no more than their update are the same there.
    """

    def key(job: JobResults) -> str:
        options = {name: job.manifest.config.get(name) for name in ("model", "dataset", "desideratum")}
        read = setting(job).method == "prompt"
        return f"{setting(job)} {options}" if read else job.manifest.array or str(job.path)

    return list({key(job): job for job in reversed(jobs)}.values())[::-1]


def group_jobs(jobs: Sequence[JobResults], but_for_domains: bool = True) -> list[list[JobResults]]:
    """Groups of jobs that differ in nothing but their seeds and, where wished, their domain."""
    groups: dict[str, list[JobResults]] = {}
    for job in jobs:
        run = replace(setting(job), seed=0, data_seed=0, engine="")
        options = but_for_seeds(job.manifest.config)
        if but_for_domains:
            data: Any = options.get("dataset") or {}  # other numbers of worlds are draws of their own, which overlap
            size = {name: one for name, one in data.items() if name not in ("_target_", "name")}
            run = replace(run, dataset="")
            options = {"dataset": size, "update": run.method != "prompt" and options.get("update")}
        groups.setdefault(f"{run} {json.dumps(options, sort_keys=True, default=str)}", []).append(job)
    return list(groups.values())


def is_include(job: JobResults) -> bool:
    """Whether each stimulus is trained on, or read, unchanged."""
    return setting(job).perturbation == "include"


def is_prompting_counterpart(prompts: Sequence[JobResults], tuned: Sequence[JobResults]) -> bool:
    """Whether the first jobs read in the context what the others are trained on, with the background in one place."""
    one, other = setting(prompts[0]), setting(tuned[0])
    same = (one.model, one.view, one.background) == (other.model, other.view, other.background)
    return one.method == "prompt" and same


def pair_jobs(jobs: Sequence[JobResults], others: Sequence[JobResults]) -> list[tuple[JobResults, JobResults]]:
    """Jobs on the same domain and seeds."""
    known: Mapping[Any, JobResults] = {(setting(job).dataset, setting(job).draw): job for job in others}
    return [(job, known[key]) for job in jobs if (key := (setting(job).dataset, setting(job).draw)) in known]


def by_domain(jobs: Sequence[JobResults], measure: Measure) -> list[Estimate]:
    """The statistic of each domain that has one, over seeds."""
    found: dict[str, list[Estimate]] = {}
    for job in jobs:
        if (result := measure(job)) is not None:
            found.setdefault(setting(job).dataset, []).append(result)
    return [evidence.over_seeds(each) for each in found.values()]


# Rows -----------------------------------------------------------------------------------------------------------------


def of_images(claim: Claim, jobs: Sequence[JobResults], verdicts: _Verdicts) -> Row:
    """A claim about one data set."""
    each = by_domain(jobs, lambda job: evidence.stored_finding(job, claim.desideratum, claim.statistic))
    estimate = each[0] if each else Estimate()
    return row(
        claim.text,
        jobs,
        estimate,
        agrees=evidence.decide(estimate, claim.allowed),
        verdict=verdicts.count(jobs, claim.desideratum),
        note=f"{claim.meaning}{statistic_names(claim, jobs)}, {claim.allowed}",
    )


def of_domains(claim: Claim, jobs: Sequence[JobResults], verdicts: _Verdicts) -> Row:
    """A claim about domains on average."""
    each = by_domain(jobs, lambda job: evidence.stored_finding(job, claim.desideratum, claim.statistic))
    return row(
        claim.text,
        jobs,
        evidence.mean_of(each),
        agrees=evidence.decide_mean(each, claim.allowed),
        verdict=verdicts.count(jobs, claim.desideratum),
        note=f"{claim.meaning}{statistic_names(claim, jobs)}, mean over {count_domains(each, jobs)}, {claim.allowed}; "
        f"{count_agreeing(each, claim.allowed)}",
    )


def first_order_explains(jobs: Sequence[JobResults], others: Sequence[JobResults]) -> list[Row]:
    """The first-order view explains the symmetry; no row where no prediction was run."""
    pairs = [(job, predicted) for job in jobs if (predicted := prediction_of(job, others)) is not None]
    if not pairs:
        return []
    estimate = evidence.over_seeds([evidence.correlation_between(*pair) for pair in pairs])
    excesses = [found for pair in pairs if (found := evidence.more_symmetric(*pair)) is not None]
    excess = evidence.over_seeds(excesses)
    mirrored = [result.effect for _, other in pairs if (result := finding(other, "symmetry")) is not None]
    also = f"; the exact array's symmetry is {interval(excess.effect, excess.low, excess.high)} above the prediction's"
    own = f", which is {sum(mirrored) / len(mirrored):.3g}" if mirrored else ""
    return [
        row(
            "the first-order (NTK) view, symmetric by construction, explains it",
            [job for job, _ in pairs],
            estimate,
            agrees=evidence.decide(estimate, EXPLAINED),
            verdict="",
            note="correlation of the exact array with the first-order one, off the diagonal, "
            f"{EXPLAINED}{also if excesses else ''}{own}",
        )
    ]


def teach_alike(jobs: Sequence[JobResults], verdicts: _Verdicts, ending: str) -> Row:
    """Noisy and clean stimuli teach alike, at one learning rate, or for one nat of what each teaches of itself."""
    name = f"taught_less_{ending}"
    each = by_domain(jobs, lambda job: share_lost_to_noise(job, name))
    estimate = each[0] if each else Estimate()
    levels = (jobs[0].manifest.config.get("perturbation") or {}).get("levels")
    return row(
        f"noisy and clean images teach alike, {spaced(ending)}",
        jobs,
        estimate,
        agrees=evidence.decide(estimate, BARELY),
        verdict=verdicts.count(jobs, "noise_invariance"),
        note=f"part of a clean image's influence on its class that a noisy one lacks, mean over {levels}, {BARELY}",
    )


def share_lost_to_noise(job: JobResults, name: str) -> Estimate | None:
    """The finding of that name, or what the details of noise invariance have of it."""
    result = finding(job, "noise_invariance")
    if result is None or not math.isfinite(result.finding_p_value):
        return None
    if (found := evidence.stored_finding(job, "noise_invariance", name)) is not None:
        return found
    known = json.loads(result.details)
    effect, low, high = (float(known.get(key, math.nan)) for key in (name, f"{name}_low", f"{name}_high"))
    return Estimate.of_interval(effect, low, high, int(result.n), setting(job).dataset)


def more_asymmetric(tuned: Sequence[JobResults], prompts: Sequence[JobResults], verdicts: _Verdicts) -> Row:
    """In every domain prompting is more asymmetric than fine-tuning."""
    others = {str(job.path): other for job, other in pair_jobs(tuned, prompts)}
    compared = [job for job in tuned if str(job.path) in others]
    each = by_domain(compared, lambda job: evidence.less_symmetric(job, others[str(job.path)]))
    weakest = min(each, key=lambda estimate: estimate.effect, default=Estimate())
    at = (
        f"shown is the weakest of {count_domains(each, tuned)} ({weakest.domain})" if each else "none could be compared"
    )
    return row(
        "prompting is more asymmetric than fine-tuning, in every domain",
        tuned,
        weakest,
        agrees=evidence.decide_every(each, MORE),
        verdict=f"{verdicts.count(prompts, 'symmetry')} (prompting)",
        note="correlation with the transpose under fine-tuning less that under prompting, "
        f"{at}, {MORE}; {count_agreeing(each, MORE)}",
    )


def satisfies_more(tuned: Sequence[JobResults], prompts: Sequence[JobResults], verdicts: _Verdicts) -> Row:
    """Prompting satisfies more desiderata than fine-tuning.

    A verdict that is inconclusive may be either. So the difference lies between the verdicts that prompting satisfies
    less all that fine-tuning does not violate, and all that prompting does not violate less those that fine-tuning
    satisfies.
    """
    cells = [(pair, name) for pair in pair_jobs(tuned, prompts) for name in COUNTED]
    both = [[verdicts.get((str(job.path), name), "") for job in pair] for pair, name in cells]
    known = [pair for pair in both if all(pair)]
    ours, theirs = (list(column) for column in zip(*known)) if known else ([], [])
    n = len(known)
    satisfied, violated = ([side.count(one) for side in (ours, theirs)] for one in (SATISFIED, VIOLATED))
    apart = [list(zip(ours, theirs)).count(pair) for pair in ((VIOLATED, SATISFIED), (SATISFIED, VIOLATED))]
    low, high = satisfied[1] - (n - violated[0]), n - violated[1] - satisfied[0]
    agrees = AGREES if n and low > 0 else DISAGREES if n and high <= 0 else INCONCLUSIVE
    shares = [one / n if n else math.nan for one in (satisfied[1] - satisfied[0], low, high)]
    return row(
        "prompting satisfies more desiderata than fine-tuning",
        tuned,
        shares,
        agrees=agrees,
        verdict=", ".join(verdicts.count([*prompts], name) for name in COUNTED) + " (prompting)",
        note=f"satisfied under prompting {satisfied[1]}, under fine-tuning {satisfied[0]}, violated {violated[1]} and "
        f"{violated[0]}, of {n} verdicts each ({', '.join(map(spaced, COUNTED))}; domains and seeds); {apart[0]} are "
        f"satisfied there and violated here, {apart[1]} the reverse; difference as a share, from where every "
        f"{NO_VERDICT} one speaks against prompting to where it speaks for it, {MORE}",
    )


def statistic_names(claim: Claim, jobs: Sequence[JobResults]) -> str:
    """The names of the statistics, where the claim leaves them to the data."""
    if claim.statistic:
        return ""
    each = [result.statistic for job in jobs if (result := finding(job, claim.desideratum)) is not None]
    return f" ({', '.join(dict.fromkeys(map(spaced, each)))})" if each else ""
