"""The bounding reference learners beside a job's findings."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import xarray as xr

from eif_lab import annotate, load_task
from eif_lab.commands.report import main
from eif_lab.configs import named_choice
from eif_lab.console.tables import page, print_job, print_sweep
from eif_lab.desiderata.evaluation import evaluate_all, withhold_if_untaught
from eif_lab.desiderata.strength import strength_of
from eif_lab.desiderata.verdict import INCONCLUSIVE, SATISFIED
from eif_lab.learners import imitate
from eif_lab.results.bounds import LEARNERS, NOISE, Bounds, beside, bounds
from eif_lab.results.job import write_job
from eif_lab.results.rows import by_desideratum, verdict_frame
from eif_lab.results.sweep import open_results

OPTIONS = {
    "logic": {"_target_": "eif_lab.desiderata.logic.Logic"},
    "negation": {"_target_": "eif_lab.desiderata.negation.Negation"},
    "sparsity": {"_target_": "eif_lab.desiderata.sparsity.Sparsity"},
}


def chosen_as(name):
    """A desideratum with the options of its config."""
    return named_choice("desideratum", name, field=f"desideratum.{name}")


def array_on(domain, worlds=8):
    """A stored array, of zeros, on a knowledge domain."""
    task = load_task(domain, worlds=worlds, stimuli_per_world=2)
    values = np.random.default_rng(0).normal(size=(1, len(task.stimuli), 1, len(task.probes), 1))
    array = xr.DataArray(
        values,
        dims=("seed", "stimulus", "step", "probe", "readout"),
        coords={"seed": [0], "step": [1], "readout": ["log_prob"]},
        attrs={"units": json.dumps({"log_prob": "nat"}), "dataset": domain},
    )
    return annotate(array, task)


@pytest.fixture
def write(tmp_path):
    def write(name, array, strength=2.0, desiderata=OPTIONS):
        config = {"seed": 0, "dataset": {"name": array.attrs["dataset"]}, "desideratum": desiderata}
        manifest = {"name": name, "status": "done", "config": config, "unit": "nat", "strength": {"effect": strength}}
        chosen = {one: chosen_as(one) for one in OPTIONS}
        verdicts, absent = evaluate_all(array, chosen, 0)
        write_job(tmp_path / name, manifest, array, verdicts, absent)
        return open_results(tmp_path / name)

    return write


def test_a_learner_that_was_taught_more_has_the_findings_of_an_array_that_is_larger(write):
    array = array_on("ontology")
    rows = Bounds().of(write("job", array, strength=2.5))
    assert list(rows) == list(LEARNERS)
    chosen = {one: chosen_as(one) for one in OPTIONS}
    for rule, found in rows.items():
        stronger = 2.5 * imitate(array, rule, NOISE, 0)
        judged, _ = evaluate_all(stronger, chosen, 0)
        expected = withhold_if_untaught(judged, strength_of(stronger, "log_prob"))
        for row, other in zip(found, verdict_frame(expected, {}).to_dict("records"), strict=True):
            names = ("desideratum", "statistic", "verdict", "finding_verdict", "how", "n")
            assert [row[name] for name in names] == [other[name] for name in names]
            numbers = ("effect", "low", "high", "chance", "finding_p_value", "threshold")
            np.testing.assert_allclose([row[n] for n in numbers], [other[n] for n in numbers], rtol=1e-6, atol=1e-9)


def test_the_perfect_learner_follows_and_the_bag_of_words_does_not(write):
    findings = beside(Bounds().of(write("job", array_on("ontology"))))
    for statistic in ("gain", "reach"):
        perfect, words = findings["logic", statistic]
        assert (perfect["learner"], words["learner"]) == ("perfect", "bag of words")
        assert perfect["finding_verdict"] == SATISFIED != words["finding_verdict"]
    perfect, words = findings["logic", "gain"]
    assert perfect["low"] > words["high"]


def test_a_bag_of_words_was_taught_nothing_and_has_no_verdict(write):
    rows = Bounds().of(write("job", array_on("ontology")))
    assert {row["verdict"] for row in rows["perfect"]} & {SATISFIED}
    assert {row["verdict"] for row in rows["bag_of_words"]} == {INCONCLUSIVE}


def test_jobs_on_the_same_samples_share_their_learners(write, monkeypatch):
    array, made = array_on("ontology"), []
    counted = lambda *given: made.append(given) or imitate(*given)  # noqa: E731
    monkeypatch.setattr("eif_lab.learners.imitate", counted)
    both, shared = [write("a", array), write("b", array, strength=1.0)], Bounds()
    assert all(shared.of(job) for job in both) and len(made) == len(LEARNERS)
    table = shared.table(both)
    assert len(made) == len(LEARNERS) and set(table["job"]) == {f"{one} (ontology)" for one in LEARNERS.values()}


def test_what_cannot_be_imitated_has_no_learners(write):
    array = array_on("ontology")
    foreign = {"logic": {"_target_": "somebody.Logic"}}
    earlier = {"logic": OPTIONS["logic"] | {"resamples": 99}}
    jobs = [
        write("foreign", array, desiderata=foreign),
        write("earlier", array, desiderata=earlier),
        write("bare", array.drop_vars("relation").drop_vars("stimulus_label")),
    ]
    for job in jobs:
        assert Bounds().of(job) == {}
    assert len(Bounds().table(jobs)) == 0


def test_images_have_a_perfect_learner_and_no_bag_of_words():
    task = load_task("digits", stimuli=30, probes=30)
    array = annotate(np.zeros(task.relation.shape), task).assign_coords(readout="log_prob")
    assert list(bounds(array, {"sparsity": chosen_as("sparsity")}, "log_prob")) == ["perfect"]


def test_the_console_shows_learners_where_asked(write, tmp_path, capsys):
    job = write("job", array_on("ontology"))
    write("other", array_on("negation"))
    plain, told = io.StringIO(), io.StringIO()
    print_job(job, page(plain))
    print_job(job, page(told), learners=Bounds().of(job))
    assert "bag of words" not in plain.getvalue()
    tested = sum(len(group) for group in by_desideratum(job.verdict_rows))
    assert told.getvalue().count("perfect") == told.getvalue().count("bag of words") == tested
    assert max(map(len, told.getvalue().splitlines())) <= 100
    assert main([str(tmp_path), "--learners"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for domain in ("ontology", "negation"):
        assert words.count(f" ({domain})") >= 4, "two learners in each block"
    assert "reference learners" in words
    assert main([str(tmp_path)]) == 0 and "learners" not in capsys.readouterr().out


def test_no_learner_is_in_the_family_that_is_corrected(write, tmp_path):
    for name in ("a", "b"):
        write(name, array_on("ontology"))
    sweep = open_results(tmp_path)
    before = sweep.table.copy()
    table = Bounds().table(sweep.jobs)
    assert (table["path"] == "").all() and (table["p_adjusted"].fillna(-1) == table["p_value"].fillna(-1)).all()
    assert dataclasses.replace(sweep).table.equals(before)
    print_sweep(table, page(io.StringIO()))
