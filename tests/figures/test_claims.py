"""The claims' rule: what an oracle and a null say, and that the table says what was found."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from made_up import LOGICAL, knowledge, moved

from eif_lab.data.images.digits import Digits
from eif_lab.figures import claims, evidence
from eif_lab.figures.evidence import Estimate, Range, decide, decide_every
from eif_lab.figures.runs import judged_array
from eif_lab.perturbations.noise import Noise

DOMAINS = ("reversal", "implication")


@pytest.fixture
def write(tmp_path, make_job):
    """Write a job into a folder of its own."""
    count = iter(range(1000))
    return lambda task, values, **told: make_job(tmp_path / str(next(count)), task, values, **told)


@pytest.fixture(scope="module")
def digits():
    return Digits(stimuli=30, probes=30).load(0)


@pytest.fixture(scope="module")
def tasks():
    return {(domain, view): knowledge(domain, view) for domain in DOMAINS for view in ("probes", "statements")}


def on_domains(write, tasks, strengths, *, method, view="probes", change=lambda values: values):
    """A job on each domain in which a relation decides the influence."""
    return [
        write(
            tasks[domain, view],
            change(moved(tasks[domain, view], strengths, random=number)),
            model="phi3-tiny",
            dataset=domain,
            view=view,
            method=method,
        )
        for number, domain in enumerate(DOMAINS)
    ]


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.2, 0.4, "agrees"),
        (0.1, 0.4, "inconclusive"),
        (-0.5, 0.1, "disagrees"),
        (0.4, 0.6, "inconclusive"),
        (0.51, 0.6, "disagrees"),
        (0.0, 0.9, "inconclusive"),
        (math.nan, 0.4, "inconclusive"),
    ],
)
def test_claim_agrees_where_the_whole_interval_is_in_its_range(low, high, outcome):
    assert decide(Estimate((low + high) / 2, low, high), Range(least=0.1, most=0.5)) == outcome


def test_claim_about_every_domain_needs_each_of_them():
    yes, no, open_ = Estimate(0.5, 0.4, 0.6), Estimate(-0.5, -0.6, -0.4), Estimate(0.1, -0.1, 0.3)
    above = Range(least=0.0)
    assert decide_every([yes, yes], above) == "agrees"
    assert decide_every([yes, open_], above) == "inconclusive"
    assert decide_every([yes, open_, no], above) == "disagrees"
    assert decide_every([yes], above) == decide_every([], above) == "inconclusive"


def test_symmetric_array_agrees_and_an_antisymmetric_one_disagrees(write, digits):
    even = moved(digits, {"direct": 1.0}, scatter=0.5)
    assert claims.symmetric(write(digits, even + even.T)).agrees == "agrees"
    odd = even - even.T + np.eye(len(even))
    assert claims.symmetric(write(digits, odd)).agrees == "disagrees"


def test_first_order_view_explains_its_own_array_and_no_other(write, digits):
    values = moved(digits, {"direct": 1.0}, scatter=0.5)
    exact = write(digits, values)
    assert claims.explained(exact, write(digits, 0.9 * values, engine="first_order")).agrees == "agrees"
    other = moved(digits, {"direct": 1.0}, scatter=0.5, random=1)
    assert claims.explained(exact, write(digits, other, engine="first_order")).agrees == "disagrees"


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
    assert claims.alike(job).agrees == outcome


def test_logical_model_disagrees_and_a_parrot_agrees_that_premises_barely_move_conclusions(write, tasks):
    logical = on_domains(write, tasks, LOGICAL, method="full")
    parrot = on_domains(write, tasks, {"direct": 1.0}, method="lora")
    assert [claims.barely("", jobs, "logic", "reach", "").agrees for jobs in (logical, parrot)] == [
        "disagrees",
        "agrees",
    ]


def test_model_that_raises_both_is_blind_to_negation_and_a_logical_one_is_not(write, tasks):
    logical = on_domains(write, tasks, LOGICAL, method="full")
    both = on_domains(write, tasks, {"direct": 1.0, "entailed": 0.8, "contradicted": 0.8}, method="lora")
    assert [claims.barely("", jobs, "negation", "gap", "").agrees for jobs in (logical, both)] == [
        "disagrees",
        "agrees",
    ]


def test_prompting_is_more_asymmetric_only_where_its_arrays_are(write, tasks):
    def symmetric(values):
        return values + values.T

    def skewed(values):
        return values + np.triu(np.random.default_rng(5).normal(size=values.shape), 1)

    told = {"view": "statements", "strengths": {"direct": 1.0}}
    even = on_domains(write, tasks, method="full", change=symmetric, **told)
    odd = on_domains(write, tasks, method="prompt", change=skewed, **told)
    assert claims.more_asymmetric(even, odd).agrees == "agrees"
    assert claims.more_asymmetric(odd, even).agrees == "disagrees"
    stored = [job.verdicts.set_index("statistic").loc["correlation", "effect"] for job in (even[0], odd[0])]
    assert evidence.less_symmetric(even[0], odd[0]).effect == pytest.approx(stored[0] - stored[1])


def test_prompting_satisfies_more_only_where_it_does(write, tasks):
    logical = on_domains(write, tasks, LOGICAL, method="prompt")
    parrot = on_domains(write, tasks, {"direct": 1.0}, method="full")
    assert claims.satisfies_more(parrot, logical).agrees == "agrees"
    assert claims.satisfies_more(logical, parrot).agrees == "disagrees"


def test_nothing_is_concluded_from_stimuli_that_taught_nothing(write, tasks):
    null = {"strengths": {}, "change": lambda values: values}
    tuned = on_domains(write, tasks, method="full", **null)
    prompts = on_domains(write, tasks, method="prompt", **null)
    rows = claims.claims([*tuned, *prompts])
    assert len(rows) == 3
    assert {row.agrees for row in rows} == {"inconclusive"}


def test_table_is_written_whole_and_names_the_tiny_model(write, tasks, digits, tmp_path):
    values = moved(digits, {"direct": 1.0}, scatter=0.5)
    jobs = [write(digits, values + values.T), *on_domains(write, tasks, {}, method="full")]
    rows = claims.claims(jobs)
    text = claims.write_claims(rows, tmp_path / "out").read_text()
    stored = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [claims.Row(**one) for one in stored] == rows
    assert set(stored[0]) == {"claim", "what", "effect", "low", "high", "verdict", "agrees", "note"}
    found = judged_array(jobs[0]).values
    apart = ~np.eye(len(found), dtype=bool)
    assert rows[0].effect == pytest.approx(np.corrcoef(found[apart], found.T[apart])[0, 1])
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows):
        assert row.agrees in line and row.claim in line
        if "phi3" in line:
            assert "phi3-tiny (ours, not Phi-3)" in line and claims.NOT_PHI3 in line
    assert "*agrees* where the whole" in text
