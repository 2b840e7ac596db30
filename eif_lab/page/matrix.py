"""The matrix that the page opens with, jobs by desiderata, and the sentence above it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eif_lab.desiderata.format import number_text, spaced
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED, VERDICTS, VIOLATED
from eif_lab.learners.imitation import title
from eif_lab.page.arrays import shorten
from eif_lab.page.facts import choice_name
from eif_lab.page.verdicts import Corrected, Judged, Learners, judged_job, judged_learner
from eif_lab.results.bounds import LEARNERS, dataset_name
from eif_lab.results.job import JobResults
from eif_lab.results.manifest import DONE, NOT_APPLICABLE
from eif_lab.results.tables import unique_names

LONGEST_LABEL = 80
"""Characters of what a row of the matrix is called."""


@dataclass(frozen=True)
class Row:
    """One job, or one bounding learner.

    Attributes:
        label: What tells it from the other rows of its dataset.
        name: Its full name.
        learner: Whether it is a bounding learner.
        strength: What was taught, with its unit; empty where that is not known.
        missed: Whether another strength was asked for.
        ended: Why a job that is not done has no verdicts.
        verdicts: By desideratum.
    """

    label: str
    name: str
    learner: bool = False
    strength: float | None = None
    unit: str = ""
    missed: bool = False
    ended: str = ""
    verdicts: Mapping[str, Judged] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The rows of one dataset, the bounding learners last."""

    dataset: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Matrix:
    """Jobs by desiderata.

    Attributes:
        groups: By dataset.
        headlines: Of each desideratum the bars of its headline findings.
    """

    groups: Sequence[Group]
    headlines: Mapping[str, str]

    @property
    def jobs(self) -> Iterator[tuple[str, Row]]:
        """The rows that are jobs, with their dataset."""
        return ((group.dataset, row) for group in self.groups for row in group.rows if not row.learner)

    @property
    def tally(self) -> dict[str, Counter[str]]:
        """How many jobs have each verdict on each desideratum, in the order of the verdicts."""
        found: dict[str, list[str]] = {name: [] for name in self.headlines}
        for _, row in self.jobs:
            for name in found.keys() & row.verdicts.keys():
                found[name].append(row.verdicts[name].verdict)
        order = (*VERDICTS, NOT_APPLICABLE)
        return {name: Counter(sorted(each, key=order.index)) for name, each in found.items()}

    @property
    def absent(self) -> dict[str, list[str]]:
        """The desiderata that apply to no job, with the reasons."""
        reasons: dict[str, dict[str, None]] = {}
        for _, row in self.jobs:
            for name in sorted(row.verdicts.keys() - self.headlines.keys()):
                reasons.setdefault(name, {})[row.verdicts[name].told] = None
        return {name: list(each) for name, each in reasons.items()}

    @property
    def bounds(self) -> dict[str, str]:
        """The reference learners that bound at least one finding: rule, and what it is called."""
        findings = [each for _, row in self.jobs for one in row.verdicts.values() for each in one.findings]
        rules = {rule for each in findings for rule in each["bounds"]}
        return {rule: called for rule, called in LEARNERS.items() if rule in rules}


def matrix(
    jobs: Sequence[JobResults], names: Sequence[str], learners: Sequence[Learners], corrected: Corrected
) -> Matrix:
    """Jobs by desiderata, grouped by dataset.

    Args:
        jobs: One, or those of a sweep.
        names: Theirs.
        learners: Of each job the bounding learners' rows; those of the job that taught most stand for its dataset.
        corrected: What `eif_lab.page.verdicts.corrected_rows` returns.
    """
    datasets = dataset_labels(jobs)
    members: dict[str, list[int]] = {}
    for index, dataset in enumerate(datasets):
        members.setdefault(dataset, []).append(index)
    labels = row_labels(jobs, names, list(members.values()))
    rows = [job_row(*each, corrected) for each in zip(jobs, labels, names, learners)]
    groups = []
    for dataset, indices in members.items():
        # a strength near zero would make the effects of its learners small
        strongest = max(indices, key=lambda index: (bool(learners[index]), rows[index].strength or 0.0))
        below = [
            Row(f"bound: {LEARNERS[rule]}", f"reference learner: {LEARNERS[rule]}", True, verdicts=by_name(judged))
            for rule, judged in ((rule, judged_learner(each)) for rule, each in learners[strongest].items())
        ]
        groups.append(Group(dataset, [*(rows[index] for index in indices), *below]))
    return Matrix(groups, headlines(rows))


def job_row(job: JobResults, label: str, name: str, learners: Learners, corrected: Corrected) -> Row:
    """The row of a job."""
    manifest = job.manifest
    if manifest.status != DONE:
        return Row(label, name, ended=f"{manifest.status} {manifest.reason}".strip())
    target = manifest.update.calibration
    return Row(
        label,
        name,
        strength=manifest.strength.effect,
        unit=manifest.unit,
        missed=target is not None and not target.reached,
        verdicts=by_name(judged_job(job, learners, corrected)),
    )


def by_name(verdicts: Sequence[Judged]) -> dict[str, Judged]:
    """Verdicts by desideratum."""
    return {one.desideratum: one for one in verdicts}


def headlines(rows: Sequence[Row]) -> dict[str, str]:
    """The desiderata that were tested, in the order in which jobs have them, and their headlines' bars."""
    bars: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, one in row.verdicts.items():
            if one.findings:
                bars.setdefault(name, {})[one.findings[0]["bar"]] = None
    return {name: " or ".join(each) for name, each in bars.items()}


def dataset_labels(jobs: Sequence[JobResults]) -> list[str]:
    """The dataset of each job; with its view where jobs have different views of it."""
    known: dict[str, str] = {}
    for job in jobs:
        key = json.dumps(job.manifest.config.get("dataset"), sort_keys=True, default=str)
        if key not in known:
            known[key] = dataset_name(job) if job.has_array else choice_name(job.manifest.config.get("dataset"))
    short = {name: name.partition(" (")[0] for name in known.values()}
    clear = len(set(short.values())) == len(short)
    names = {key: short[name] if clear else name for key, name in known.items()}
    keys = [json.dumps(job.manifest.config.get("dataset"), sort_keys=True, default=str) for job in jobs]
    return [shorten(names[key] or "dataset not known", LONGEST_LABEL) for key in keys]


def row_labels(jobs: Sequence[JobResults], names: Sequence[str], groups: Sequence[Sequence[int]]) -> list[str]:
    """What tells each job from the others on its dataset.

    Model, method and perturbation, each where it differs in the sweep, then the overrides in which jobs that are
    still the same differ; the whole name where nothing of that is known, or the job is alone.
    """
    parts: list[tuple[str, ...]] = [
        (
            str(job.manifest.base_model.name or ""),
            choice_name(job.manifest.config.get("method")),
            choice_name(job.manifest.config.get("perturbation")),
        )
        for job in jobs
    ]
    if all(model.startswith(title("")) for model, *_ in parts if model):
        parts = [(model.removeprefix(title("")), *others) for model, *others in parts]
    vary = [len({one[place] for one in parts} - {""}) > 1 for place in range(3)]
    plain = [" ".join(text for text, varies in zip(one, vary) if varies and text) for one in parts]
    labels = list(names)
    shown = short_overrides([list(map(str, job.manifest.overrides)) for job in jobs])
    for indices in groups:
        overrides = [shown[index] for index in indices]
        told = unique_names([plain[index] for index in indices], overrides)
        for index, label in zip(indices, told):
            labels[index] = label.strip() or " ".join(filter(None, parts[index][:2])) or names[index]
    return [shorten(label, LONGEST_LABEL) for label in labels]


def short_overrides(overrides: Sequence[Sequence[str]]) -> list[list[str]]:
    """Overrides by the last part of their names, ``strength=1``; the whole where two names end alike."""
    keys = {one.partition("=")[0] for each in overrides for one in each}
    ends = Counter(key.rpartition(".")[2] for key in keys)
    short = {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}
    return [["=".join([short[key], *rest]) for key, *rest in (one.split("=", 1) for one in each)] for each in overrides]


def story(told: Matrix) -> str:
    """What was found, in one sentence."""
    jobs = list(told.jobs)
    done = [row for _, row in jobs if not row.ended]
    if not done:
        return "No job has verdicts."
    return _story_of_a_job(done[0]) if len(jobs) == 1 else _story_of_a_sweep(told)


def _story_of_a_job(row: Row) -> str:
    by_verdict: dict[str, list[str]] = {}
    for name, one in row.verdicts.items():
        by_verdict.setdefault(one.verdict, []).append(f"{spaced(name)} ({one.how})" if one.how else spaced(name))
    phrases = [
        f"{_listed(by_verdict[verdict])} {'is' if len(by_verdict[verdict]) == 1 else 'are'} {verdict}"
        for verdict in (*VERDICTS, NOT_APPLICABLE)
        if verdict in by_verdict
    ]
    if not phrases:
        return "No desideratum was judged."
    sentence = "; ".join(phrases)
    notes = {one.note or one.told for one in row.verdicts.values() if one.verdict == INCONCLUSIVE}
    if not {SATISFIED, VIOLATED} & set(by_verdict) and len(notes) == 1:
        sentence = f"nothing is decided: {notes.pop()}".rstrip(".")
    return f"{sentence[0].upper()}{sentence[1:]}."


def _story_of_a_sweep(told: Matrix) -> str:
    jobs, tally = list(told.jobs), told.tally
    datasets = len({dataset for dataset, _ in jobs})
    tested = {name: sum(counts[one] for one in VERDICTS) for name, counts in tally.items()}
    shares = {name: tally[name][SATISFIED] / count for name, count in tested.items() if count}
    phrases: list[str] = []
    of = 0
    for name in sorted(shares, key=lambda name: -shares[name]):
        satisfied, violated = tally[name][SATISFIED], tally[name][VIOLATED]
        if not satisfied and not violated:
            phrases.append(f"{spaced(name)} is decided in none")
            continue
        count = f"{satisfied or 'none'}" + ("" if tested[name] == of else f" of {tested[name]}")
        of = tested[name]
        failing = f" (violated in {violated})" if violated else ""
        phrases.append(f"{spaced(name)} {'in' if phrases else 'is satisfied in'} {count}{failing}")
    where = f"{len(jobs)} jobs on {datasets} dataset{'' if datasets == 1 else 's'}"
    ended = sum(bool(row.ended) for _, row in jobs)
    lost = f", {ended} of them without verdicts" if ended else ""
    return f"{where}{lost}: {', '.join(phrases) or 'nothing was judged'}{_extremes(jobs)}."


def _extremes(jobs: Sequence[tuple[str, Row]]) -> str:
    """Which rows satisfy most and least, counted over the datasets; empty where they do not differ."""
    satisfied: Counter[str] = Counter()
    tested: Counter[str] = Counter()
    for _, row in jobs:
        for one in row.verdicts.values():
            satisfied[row.label] += one.verdict == SATISFIED
            tested[row.label] += one.verdict in VERDICTS
    shares = {label: satisfied[label] / count for label, count in tested.items() if count}
    if not shares or max(shares.values()) == min(shares.values()):
        return ""
    most, least = max(shares, key=lambda one: shares[one]), min(shares, key=lambda one: shares[one])
    shown = {label: f"({satisfied[label]} of {tested[label]} verdicts)" for label in (most, least)}
    return f"; {most} satisfies most {shown[most]}, {least} least {shown[least]}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def strength_text(row: Row) -> str:
    """What was taught, with its unit."""
    return "" if row.strength is None else f"{number_text(row.strength)} {row.unit}".strip()
