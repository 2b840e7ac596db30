"""The claims' rule: what an oracle and a null say, and that the table says what was found."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from made_up import LOGICAL, knowledge, moved
from scipy import stats

from eif_lab.data.images.digits import Digits
from eif_lab.figures import claims, evidence
from eif_lab.figures.claims_table import Row, count_agreeing, write_claims
from eif_lab.figures.evidence import Estimate, Range, decide, decide_every
from eif_lab.figures.runs import judged_array
from eif_lab.perturbations.noise import Noise

DOMAINS = ("reversal", "implication")


@pytest.fixture
def write(tmp_path, make_job):
    """Write a job into a folder of its own."""
    count = iter(range(1000))
    return lambda task, values, **fields: make_job(tmp_path / str(next(count)), task, values, **fields)


@pytest.fixture(scope="module")
def digits():
    return Digits(stimuli=30, probes=30).load(0)


@pytest.fixture(scope="module")
def tasks():
    return {(domain, view): knowledge(domain, view) for domain in DOMAINS for view in ("probes", "statements")}


def on_domains(write, tasks, strengths, *, method, view="probes", worlds=6, change=lambda values: values, **fields):
    """A job on each domain in which a relation decides the influence."""
    chosen = {domain: tasks[domain, view] if worlds == 6 else knowledge(domain, view, worlds) for domain in DOMAINS}
    return [
        write(
            task,
            change(moved(task, strengths, random=number)),
            model="phi3-tiny",
            dataset=domain,
            view=view,
            method=method,
            worlds=worlds,
            **fields,
        )
        for number, (domain, task) in enumerate(chosen.items())
    ]


def row_of(claim, *jobs):
    """The only row of a claim."""
    (row,) = (row for row in claims.claims(list(jobs)) if claim in row.claim)
    return row


def between(low, high, units=30, domain=""):
    """An estimate in the middle of its interval."""
    return Estimate.of_interval((low + high) / 2, low, high, units, domain)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.2, 0.4, "agrees"),
        (0.09, 0.4, "inconclusive"),
        (-0.5, 0.09, "disagrees"),
        (0.4, 0.6, "inconclusive"),
        (0.51, 0.6, "disagrees"),
        (0.0, 0.9, "inconclusive"),
        (math.nan, 0.4, "inconclusive"),
    ],
)
def test_claim_agrees_where_the_whole_interval_is_in_its_range(low, high, outcome):
    assert decide(between(low, high), Range(least=0.1, most=0.5)) == outcome


def test_barely_is_a_claim_of_two_sides():
    assert decide(between(-0.4, -0.2), claims.BARELY) == decide(between(0.2, 0.4), claims.BARELY) == "disagrees"
    assert decide(between(-0.05, 0.05), claims.BARELY) == "agrees"
    assert decide(between(-0.3, 0.05), claims.BARELY) == "inconclusive"


def test_claim_about_every_domain_needs_each_of_them():
    yes, no, open_ = between(0.4, 0.6), between(-0.6, -0.4), between(-0.1, 0.3)
    above = Range(least=0.0)
    assert decide_every([yes, yes], above) == "agrees"
    assert decide_every([yes, open_], above) == "inconclusive"
    assert decide_every([yes, open_, no], above) == "disagrees"
    assert decide_every([yes], above) == decide_every([], above) == "inconclusive"


def test_a_claim_about_every_domain_errs_no_more_often_where_there_are_eight_of_them():
    """All eight effects are zero and all claims of "more" are wrong at the border: one in forty may disagree."""
    random = np.random.default_rng(0)
    count = 0
    for _ in range(2000):
        effects = random.normal(size=8)
        reach = stats.t.ppf(0.975, 1e6)
        each = [Estimate.of_interval(e, e - reach, e + reach, 10**6) for e in effects]
        count += decide_every(each, Range(least=0.0)) == "disagrees"
    assert 0.01 < count / 2000 < 0.035


def test_holms_correction_is_the_stepwise_one():
    assert evidence.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert evidence.holm([]) == []


def test_a_single_domain_that_disagrees_is_told_and_keeps_a_mean_from_agreeing():
    each = [between(-0.02, 0.02, domain="near"), between(-0.01, 0.01, domain="zero"), between(0.12, 0.16, domain="far")]
    assert decide(evidence.mean_of(each), claims.BARELY) == "agrees"
    assert evidence.decide_mean(each, claims.BARELY) == "inconclusive"
    assert evidence.decide_mean(each[:2], claims.BARELY) == "agrees"
    summary = count_agreeing(each, claims.BARELY)
    assert summary.startswith("2 of 3 domains agree by themselves; far disagrees (0.14 [")


def test_mean_of_domains_has_the_interval_of_their_own_errors_and_none_of_their_scatter():
    """Domains are listed, not drawn: however far apart they are, their mean is as certain as each of them."""
    random = np.random.default_rng(1)
    worlds = random.normal(size=(2, 50)) * 0.1 + np.array([[-5.0], [5.0]])
    each = [mean_estimate(values) for values in worlds]
    mean = evidence.mean_of(each)
    errors = np.array([values.std(ddof=1) / math.sqrt(50) for values in worlds])
    assert mean.effect == pytest.approx(worlds.mean())
    half = math.sqrt((errors**2).sum()) / 2
    assert mean.high - mean.effect == pytest.approx(1.98 * half, rel=0.02)


def mean_estimate(values):
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return Estimate.of_interval(float(np.mean(values)), np.mean(values) - half, np.mean(values) + half, len(values))


def test_interval_over_seeds_is_the_wider_of_worlds_together_and_students_over_seeds():
    apart = [between(center - 0.01, center + 0.01) for center in (0.0, 0.5, 1.0)]
    found = evidence.over_seeds(apart)
    assert (found.effect, found.seeds) == (pytest.approx(0.5), 3)
    assert found.high - 0.5 == pytest.approx(stats.t.ppf(0.975, 2) * 0.5 / math.sqrt(3))
    near = evidence.over_seeds([between(center - 1, center + 1) for center in (0.0, 0.001, 0.002)])
    assert near.high - near.effect == pytest.approx(1 / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("between_seeds", [0.0, 0.3, 2.0])
def test_interval_over_three_seeds_covers_whether_or_not_they_differ(between_seeds):
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(1000):
        worlds = random.normal(size=(3, 10)) + between_seeds * random.normal(size=(3, 1))
        found = evidence.over_seeds([mean_estimate(values) for values in worlds])
        covered += found.low <= 0 <= found.high
    assert covered / 1000 > 0.935


def test_symmetric_array_agrees_and_an_antisymmetric_one_disagrees(write, digits):
    even = moved(digits, {"direct": 1.0}, scatter=0.5)
    odd = even - even.T + np.eye(len(even))
    assert row_of("between images is symmetric", write(digits, even + even.T)).agrees == "agrees"
    assert row_of("between images is symmetric", write(digits, odd)).agrees == "disagrees"


def test_first_order_view_explains_its_own_array_and_no_other(write, digits):
    values = moved(digits, {"direct": 1.0}, scatter=0.5)
    exact = write(digits, values)
    assert row_of("explains it", exact, write(digits, 0.9 * values, engine="first_order")).agrees == "agrees"
    other = moved(digits, {"direct": 1.0}, scatter=0.5, random=1)
    assert row_of("explains it", exact, write(digits, other, engine="first_order")).agrees == "disagrees"


def test_correlation_between_arrays_is_numpys_over_different_samples(write, digits):
    one, other = (moved(digits, {"direct": 3.0}, scatter=0.5, random=number) for number in (0, 1))
    other += 0.7 * one
    found = evidence.correlation_between(write(digits, one), write(digits, other))
    apart = ~np.eye(len(one), dtype=bool)
    assert found.effect == pytest.approx(np.corrcoef(one[apart], other[apart])[0, 1])
    assert found.low < found.effect < found.high


@pytest.mark.parametrize(("kept", "outcome"), [(1.0, "agrees"), (0.3, "disagrees"), (2.0, "disagrees")])
def test_noise_that_changes_nothing_agrees_that_it_teaches_alike(write, kept, outcome):
    task = Noise(noise="occlusion", levels=[0.5]).apply(Digits(stimuli=40, probes=40).load(0), 0)
    strength = np.where(task.stimuli.coords["sigma"] > 0, kept, 1.0)[:, None]
    values = strength * moved(task, {"direct": 1.0, "entailed": 1.0}, scatter=0.01)
    job = write(task, values, noise="occlusion", levels=[0.5])
    assert row_of("at equal rate", job).agrees == outcome
    assert row_of("per nat", job).agrees == "agrees"  # a row that is scaled as a whole teaches as much for its strength


def test_logical_model_disagrees_and_a_parrot_agrees_that_premises_barely_move_conclusions(write, tasks):
    logical = on_domains(write, tasks, LOGICAL, method="full")
    parrot = on_domains(write, tasks, {"direct": 1.0}, method="lora")
    found = [row_of("premises barely move the conclusion", *jobs) for jobs in (logical, parrot)]
    assert [row.agrees for row in found] == ["disagrees", "agrees"]
    assert found[0].effect == pytest.approx(0.8, abs=0.05)


def test_what_any_sentence_gains_does_not_count_as_moving_the_conclusion(write, tasks):
    """All sentences rise alike: nothing of it is due to what follows, and nothing is left of it less the controls."""
    form = on_domains(write, tasks, {"direct": 1.0}, method="full", change=lambda values: values + 0.5)
    assert row_of("premises barely move the conclusion", *form).agrees == "agrees"


def test_model_that_raises_both_is_blind_to_negation_and_a_logical_one_is_not(write, tasks):
    both = {"direct": 1.0, "entailed": 0.8, "contradicted": 0.8}
    for strengths, outcome in ((LOGICAL, "disagrees"), (both, "agrees")):
        jobs = on_domains(write, tasks, strengths, method="full", worlds=12)
        assert row_of("the model is blind to negation", *jobs).agrees == outcome


@pytest.mark.parametrize("claim", ["does not decrease with semantic distance", "is not sparse"])
def test_influence_that_is_elsewhere_agrees_that_it_neither_decays_nor_is_sparse(write, tasks, claim):
    elsewhere = {"direct": 1.0, "unrelated": 2.0}
    for strengths, outcome in ((LOGICAL, "disagrees"), (elsewhere, "agrees")):
        assert row_of(claim, *on_domains(write, tasks, strengths, method="full", worlds=12)).agrees == outcome


def test_prompting_is_more_asymmetric_only_where_its_arrays_are(write, tasks):
    def symmetric(values):
        return values + values.T

    def skewed(values):
        return values + np.triu(np.random.default_rng(5).normal(size=values.shape), 1)

    fields = {"view": "statements", "strengths": {"direct": 1.0}}
    even = on_domains(write, tasks, method="full", change=symmetric, **fields)
    odd = on_domains(write, tasks, method="prompt", change=skewed, **fields)
    reverse = [
        *on_domains(write, tasks, method="full", change=skewed, **fields),
        *on_domains(write, tasks, method="prompt", change=symmetric, **fields),
    ]
    assert row_of("prompting is more asymmetric", *even, *odd).agrees == "agrees"
    assert row_of("prompting is more asymmetric", *reverse).agrees == "disagrees"
    assert row_of("fine-tuning of a language model is asymmetric", *even).agrees == "disagrees"
    assert row_of("fine-tuning of a language model is asymmetric", *reverse).agrees == "agrees"
    stored = [job.verdicts.set_index("statistic").loc["correlation", "effect"] for job in (even[0], odd[0])]
    assert evidence.less_symmetric(even[0], odd[0]).effect == pytest.approx(stored[0] - stored[1])


def test_prompting_satisfies_more_only_where_it_does(write, tasks):
    fields = {"strengths": LOGICAL}, {"strengths": {"direct": 1.0}}
    for (tuned, prompts), outcome in ((fields[::-1], "agrees"), (fields, "disagrees"), ((fields[0],) * 2, "disagrees")):
        jobs = [
            *on_domains(write, tasks, method="full", worlds=12, **tuned),
            *on_domains(write, tasks, method="prompt", worlds=12, **prompts),
        ]
        row = row_of("prompting satisfies more", *jobs)
        assert row.agrees == outcome, row


def test_prompting_is_compared_with_fine_tuning_of_the_same_background_only(write, tasks):
    def jobs(method, background):
        return on_domains(write, tasks, LOGICAL, method=method, background=background)

    rows = claims.claims([*jobs("full", "taught"), *jobs("full", "context"), *jobs("prompt", "context")])
    more = [row for row in rows if "satisfies more" in row.claim]
    assert len(more) == 1 and "background context" in more[0].what
    assert len([row for row in rows if "premises" in row.claim]) == 2


def test_jobs_that_differ_in_their_seeds_make_one_row(write, tasks):
    jobs = [
        job
        for seed, reached in enumerate((0.2, 0.5, 0.8))
        for job in on_domains(write, tasks, {"direct": 1.0, "entailed": reached}, method="full", seed=seed)
    ]
    row = row_of("premises barely move the conclusion", *jobs)
    assert row.effect == pytest.approx(0.5, abs=0.05)
    assert "seeds 0, 1, 2" in row.what
    alone = row_of("premises barely move the conclusion", *jobs[2:4])
    assert row.high - row.low > 5 * (alone.high - alone.low)


def test_an_array_that_two_runs_hold_counts_once(write, tasks):
    job, other, third = (
        dataclasses.replace(job, manifest=dataclasses.replace(job.manifest, array=key))
        for job, key in zip(on_domains(write, tasks, LOGICAL, method="full") * 2, ("a", "a", None))
    )
    assert claims.distinct([job, other, third]) == [job, third]


def test_draws_of_other_sizes_are_not_taken_together(write, tasks):
    jobs = [job for worlds in (6, 7) for job in on_domains(write, tasks, LOGICAL, method="full", worlds=worlds)]
    rows = [row for row in claims.claims(jobs) if "premises" in row.claim]
    alone = row_of("premises", *jobs[: len(DOMAINS)])
    assert len(rows) == 2 and (rows[0].low, rows[0].high) == (alone.low, alone.high)


def test_nothing_is_concluded_from_stimuli_that_taught_nothing(write, tasks):
    null = {"strengths": {}, "change": lambda values: values}
    tuned = on_domains(write, tasks, method="full", **null)
    prompts = on_domains(write, tasks, method="prompt", **null)
    rows = claims.claims([*tuned, *prompts])
    assert len(rows) == 5
    assert {row.agrees for row in rows} == {"inconclusive"}


def test_table_is_written_whole_and_names_the_tiny_model(write, tasks, digits, tmp_path):
    values = moved(digits, {"direct": 1.0}, scatter=0.5)
    jobs = [write(digits, values + values.T), *on_domains(write, tasks, {}, method="full")]
    rows = claims.claims(jobs)
    text = write_claims(rows, tmp_path / "out").read_text()
    stored = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [Row(**one) for one in stored] == rows
    assert set(stored[0]) == {"claim", "what", "effect", "low", "high", "verdict", "agrees", "note"}
    found = judged_array(jobs[0]).values
    apart = ~np.eye(len(found), dtype=bool)
    assert rows[0].effect == pytest.approx(np.corrcoef(found[apart], found.T[apart])[0, 1])
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows):
        assert row.agrees in line and row.claim in line
        if "phi3" in line:
            assert "phi3-tiny (ours, not Phi-3)" in line and "it says nothing about Microsoft's Phi-3" in line
    assert "*agrees* where the whole" in text
