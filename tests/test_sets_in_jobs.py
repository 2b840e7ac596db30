"""Jobs whose rows are sets: what is stored, what a store is found by, what is planned, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line_fixtures import JOB, composed

from eif_lab import load_task, measure_task, membership, open_results
from eif_lab.commands.checking import to_plain_containers
from eif_lab.commands.compose import Command
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.planning.plan import plan_job
from eif_lab.jobs.read import read_job
from eif_lab.models.base import BaseModel
from eif_lab.page.page import write_page
from eif_lab.perturbations.subsets import Subsets

pytest_plugins = ["command_line_fixtures"]

DIGITS = "dataset.stimuli=12 dataset.probes=10 model.channels=[4,4] model.hidden=16 perturbation=subsets"
SETS = f"{DIGITS} perturbation.count=6 perturbation.size=5 update.batch_size=2 update.epochs=2"
WORLDS = (
    "model=smollm2 model.checkpoint=phi3-stored dataset.language=invented dataset.worlds=6 method.rank=2"
    " update.learning_rate=0.01 update.steps=2"
)
"""In place of a model that knows English, one of ours that knows invented words."""


def nothing(folder: Path) -> None:
    """No file is written beforehand."""


def job_of(arguments):
    return read_job(to_plain_containers(composed(f"{arguments} tracker=none")))


def test_a_job_on_sets_stores_their_membership_and_finds_it_again(job, tmp_path):
    ended = job(nothing, f"{SETS} trajectory=true")
    assert ended.code == 0, ended.err
    results = open_results(tmp_path / JOB)
    influence, members = results.influence, membership(results.influence)
    assert influence.sizes == {"seed": 1, "stimulus": 6, "step": 6, "probe": 10, "readout": 1}
    assert members.sizes == {"stimulus": 6, "sample": 12} and (members.sum("sample") == 5).all()
    expected = Subsets(count=6, size=5).apply(load_task("digits", stimuli=12, probes=10), 0).stimuli
    np.testing.assert_array_equal(members.values, expected.members)
    assert members["sample"].values.tolist() == expected.samples.ids.tolist()
    assert results.manifest["update"]["steps"] == 6
    reasons = results.verdicts.set_index("desideratum")
    assert set(reasons["status"]) == {"not applicable"}
    write_page(results, tmp_path / "page.html")
    assert "got sets. Try perturbation=include." in (tmp_path / "page.html").read_text(encoding="utf-8")
    (tmp_path / JOB).rename(tmp_path / "first")
    again = job(nothing, f"{SETS} trajectory=true")
    assert "found in" in again.out


def test_batches_and_their_order_have_a_say_in_what_an_array_is_found_by_where_there_are_several():
    whole = [key_of(job_of(f"{DIGITS} {rest}")) for rest in ("", "update.seed=1", "update.order=given")]
    assert len(set(whole)) == 1
    steps, epochs = (key_of(job_of(f"{DIGITS} update.{name}=3")) for name in ("steps", "epochs"))
    assert steps == epochs != whole[0]
    batches = [
        key_of(job_of(f"{DIGITS} update.batch_size=2 {rest}"))
        for rest in ("", "update.seed=1", "update.order=given", "perturbation.seed=1", "update.epochs=2")
    ]
    assert len({*batches, *whole}) == 6


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (f"{DIGITS} update.steps=3 update.epochs=2", "update.steps must be left out with update.epochs=2"),
        (f"{DIGITS} perturbation.size=13", "perturbation.size must be from 1 to the 12 stimuli that there are, got 13"),
        (f"{DIGITS} perturbation.within=world", "perturbation.within must be null or another one where samples have"),
        (
            "model=phi3 method=prompt perturbation=subsets",
            "perturbation must take each stimulus alone with method=prom",
        ),
        ("perturbation=together", "perturbation must be one for images with model=cnn, got 'together'"),
    ],
)
def test_what_does_not_go_together_is_one_line(job, arguments, line):
    ended = job(nothing, arguments)
    assert line in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err


EXPERIMENTS = {
    "real_facts": "dataset=ontology perturbation.facts=4",
    "real_retained": "dataset=ontology perturbation.retained=0.5",
    "real_augmented": "dataset=ontology perturbation.wordings=2 perturbation.consequences=others",
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_job_of_an_experiment_on_company_composes_and_is_planned(
    experiment, isolated, tmp_path, small_checkpoint
):
    chosen = [f"experiment={experiment}", f"model.checkpoint={small_checkpoint}", "tracker=none", "-m"]
    jobs = [job for _, job in Command(chosen).jobs()]
    assert {job.dataset.background for job in jobs} == {"known"} and len(jobs) >= 9
    for one in (jobs[0], jobs[-1]):
        assert one.perturbation.apply(one.dataset.load(0), 0).stimuli.members.any(axis=1).all()
    few = replace(jobs[0], dataset=replace(jobs[0].dataset, worlds=8), desideratum={})
    few.model.minimum_background_accuracy = 0
    plan = plan_job(few, {})
    assert plan.reason == "" and plan.fine_tunes > 8 and plan.engine == "stacked"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_on_company_runs_small(job, experiment, tmp_path):
    ended = job(nothing, f"experiment={experiment} {EXPERIMENTS[experiment]} {WORLDS}")
    assert ended.code == 0, ended.err
    results = open_results(tmp_path / JOB)
    members = membership(results.influence)
    assert members.sizes["stimulus"] == results.influence.sizes["stimulus"] >= 4
    assert len(set(results.influence["stimulus_world"].values.tolist())) == members.sizes["stimulus"]
    judged = results.verdicts.loc[results.verdicts["status"] == "done", "desideratum"]
    assert set(judged) == {"logic", "negation"}


def test_a_task_of_sets_is_measured_from_python_as_by_a_loop():
    torch.manual_seed(0)
    task = Subsets(count=4, size=3).apply(load_task("digits", stimuli=6, probes=5), 0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    def encode(images):
        return images.pixels, images.labels

    base = BaseModel(model, "linear", encode, torch.nn.functional.cross_entropy, torch.nn.Flatten(), {})
    update = {"learning_rate": 0.5, "batch_size": 2, "epochs": 2, "order": "given"}
    measured = measure_task(task, base, method="full", update=update)
    x, y = encode(task.stimuli.samples)
    for row, one in enumerate(task.stimuli.members):
        own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        own.load_state_dict(model.state_dict())
        optimizer = torch.optim.SGD(own.parameters(), lr=0.5)
        rows = np.flatnonzero(one)
        for batch in (rows[:2], rows[2:]) * 2:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(own(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            after, before = (torch.log_softmax(m(task.probes.pixels), 1) for m in (own, model))
        moved = (after - before)[torch.arange(5), task.probes.labels]
        np.testing.assert_allclose(measured.values[row], moved.numpy(), atol=1e-5)
    assert (membership(measured).values == task.stimuli.members).all()
