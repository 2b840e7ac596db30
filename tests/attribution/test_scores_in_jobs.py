"""Scores in a file in place of a model: in a job, in a sweep, on the page, and by ``eif-lab judge``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eif_lab import annotate, judge, load_task, open_results
from eif_lab.commands import dispatch

pytest_plugins = ["command_line_fixtures"]

WORLDS = "dataset=ontology dataset.worlds=8 dataset.stimuli_per_world=2"
SMALL = f"{WORLDS} desideratum=[logic,symmetry]"


def right_scores():
    task = load_task("ontology", worlds=8, stimuli_per_world=2)
    noise = np.random.default_rng(0).normal(scale=0.1, size=task.relation.shape)
    return np.isin(task.relation, ("direct", "entailed")) + noise, task


def files(folder):
    scores, _ = right_scores()
    np.save(folder / "scores.npy", scores)
    np.save(folder / "large, 1.npy", 1000 * scores)
    np.save(folder / "turned.npy", scores.T)


def test_judge_is_a_job_with_table_page_and_manifest(command):
    ended = command(files, f"judge scores.npy {SMALL} hydra.run.dir=job")
    assert ended.code == 0, ended.err
    job = open_results("job")
    scores, task = right_scores()
    assert np.allclose(job.influence.squeeze(), scores, atol=1e-6)
    assert job.manifest.name.startswith("scores: scores ontology") and job.manifest.unit == "score"
    assert job.manifest.base_model.origin.startswith("scores read from scores.npy, and no model")
    known = judge(annotate(scores, task), ["logic", "symmetry"])
    told = dict(zip(job.verdicts["desideratum"], job.verdicts["verdict"]))
    assert told["logic"] == known[0].outcome() == "satisfied"
    assert "score" in ended.out and "scores: scores" in ended.out
    assert dispatch.main(["report", "job"]) == 0
    [page] = [path.read_text() for path in Path("job").rglob("*.html")]
    assert "scores read from scores.npy, and no model" in page and "stimuli are read before the probes" not in page


def test_judge_is_an_alias_and_takes_several_files_as_a_sweep(command):
    ended = command(files, f"judge scores.npy 'large, 1.npy' {SMALL} hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    jobs = {job.manifest.base_model.name: job for job in open_results("sweep").jobs}
    assert set(jobs) == {"scores: scores", "scores: large, 1"}
    verdicts = [job.verdicts.groupby("desideratum")["verdict"].agg(list).to_dict() for job in jobs.values()]
    assert verdicts[0] == verdicts[1]  # a positive factor changes no verdict
    ended = command(files, f"judge scores.npy 'large, 1.npy' -m {SMALL} seed=0,1 plan=true")
    assert ended.code == 0 and ended.out.count("and no model") == 2, ended.err  # a note for each file
    ended = command(files, f"model=scores model.path=scores.npy {SMALL} hydra.run.dir=job")
    assert open_results("job").manifest.array == jobs["scores: scores"].manifest.array


def test_scores_stand_beside_a_learner_in_one_sweep(command):
    """By a config of the user's own, which names the file."""

    def named(folder):
        files(folder)
        (folder / "conf/model").mkdir(parents=True)
        (folder / "conf/model/mine.yaml").write_text("defaults: [scores]\npath: scores.npy\nlabel: mine\n")

    ended = command(named, f"--config-dir conf -m model=learner,mine {SMALL} hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    names = {job.influence.attrs["model"] for job in open_results("sweep").jobs}
    assert names == {"scores: mine", "reference learner: perfect"}


def test_other_contents_of_the_same_file_are_another_array(command):
    assert command(files, f"judge scores.npy {SMALL} hydra.run.dir=one").code == 0
    first = open_results("one")

    def changed(folder):
        np.save(folder / "scores.npy", -right_scores()[0])

    assert command(changed, f"judge scores.npy {SMALL} hydra.run.dir=two").code == 0
    assert open_results("two").manifest.array != first.manifest.array
    assert np.allclose(open_results("two").influence, -first.influence, atol=1e-6)


def test_a_jobs_own_array_is_judged_again_where_stimuli_are_read_on_some_probes_only(command):
    task = load_task("ontology", worlds=8, stimuli_per_world=2, elsewhere=2)

    def own(folder):
        annotate(right_scores()[0], task).to_dataset(name="influence").to_zarr(folder / "influence.zarr")

    ended = command(own, f"judge influence.zarr {SMALL} dataset.elsewhere=2 hydra.run.dir=job")
    assert ended.code == 0, ended.err
    known = judge(annotate(right_scores()[0], task), ["logic", "symmetry"])
    told = dict(zip(open_results("job").verdicts["desideratum"], open_results("job").verdicts["verdict"]))
    assert told == {one.desideratum: one.outcome() for one in known}


def test_scores_whose_sign_is_turned_round_are_told(command):
    def turned(folder):
        np.save(folder / "scores.npy", -right_scores()[0])

    ended = command(turned, f"judge scores.npy {SMALL} hydra.run.dir=job")
    assert "what is stated gets less likely" in ended.out and "model.reverse=true" in ended.out
    ended = command(turned, f"judge scores.npy {SMALL} model.reverse=true hydra.run.dir=other")
    assert "what is stated gets less likely" not in open_results("other").path.joinpath("job.log").read_text()


MISTAKES = {
    "judge": "the following arguments are required: SCORES. Try eif-lab judge --help",
    f"judge {SMALL}": "the following arguments are required: SCORES. Try eif-lab judge --help",
    f"judge none.npy {SMALL}": "model.path must name a file or a folder, got 'none.npy'.",
    f"judge turned.npy {SMALL}": "model.path must hold scores (stimuli, probes) of this task",
    f"judge scores.npy {SMALL} model.source=trac": "model.source must be one of auto, plain, captum",
    f"judge scores.npy {SMALL} readout=[log_prob,prob]": "readout must be one with model=scores",
    f"judge scores.npy {SMALL} trajectory=true": "trajectory must be false with scores: scores",
    f"model=scores {SMALL}": "model.path must name a file of scores, got None.",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(command, words):
    try:
        ended = command(files, f"{words} hydra.run.dir=job" if "=" in words else words)
        code, told = ended.code, ended.err
    except SystemExit as exit:  # of the parser
        code, told = exit.code, None
    assert code == 2
    if told is not None:
        assert told.startswith(MISTAKES[words]) and told.count("\n") == 1
