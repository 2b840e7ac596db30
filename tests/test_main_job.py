"""The main job, two models by two methods, end to end at a small size, and what it leaves behind."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line_fixtures import printed_by
from language import byte_level_tokenizer, save_checkpoint
from wandb_runs import inspect

from eif_lab import open_results
from eif_lab.data.worlds.distances import word_overlap
from eif_lab.data.worlds.ontology import Ontology

ROOT = Path(__file__).parents[1]


def printed_by_a_process(folder: Path, *arguments: str) -> str:
    """As `printed_by`, in a process of its own, which must print no error."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"OMP_NUM_THREADS": "1", "WANDB_DATA_DIR": str(folder), "NETRC": str(folder / "none")}
    result = subprocess.run(
        [sys.executable, "-m", "eif_lab", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The sweep's folder, what it printed, and what it printed when given again, in another process."""
    folder = tmp_path_factory.mktemp("main_job")
    (folder / "phi3").mkdir()
    small = ["-m", "model=cnn,phi3", "method=lora,full", "desideratum=[symmetry,sparsity]"]
    first = printed_by_a_process(folder, *small, "hydra.sweep.dir=first")
    again = printed_by(folder, *small, "tracker=none", "hydra.sweep.dir=again")
    return folder, first, again


def test_main_job_gives_four_jobs_and_one_table(sweep):
    folder, printed, _ = sweep
    results = open_results(folder / "first")
    assert {job.manifest["name"] for job in results.jobs} == {
        "cnn digits lora",
        "cnn digits full",
        "phi3-tiny ontology lora",
        "phi3-tiny ontology full",
    }
    assert all(job.manifest["status"] == "done" for job in results.jobs)
    table = pd.read_parquet(folder / "first" / "sweep.parquet")
    here = results.table["path"].map(lambda path: str(Path(path).relative_to(folder / "first")))  # it may be moved
    pd.testing.assert_frame_equal(table, results.table.assign(path=here.astype(table["path"].dtype)))
    assert (table["finding"] == 0).sum() == 8
    shown = printed[printed.rindex(" job ") :]
    assert all(job.manifest["name"] in shown for job in results.jobs)
    lines = shown.splitlines()
    assert lines[-1].startswith("results: ")  # which holds the folder's path twice, however long that is
    assert max(map(len, lines[:-1])) <= 100


def test_arrays_have_the_size_dims_and_attributes_that_were_promised(sweep):
    for job in open_results(sweep[0] / "first").jobs:
        array = job.influence
        assert array.dims == ("seed", "stimulus", "step", "probe", "readout")
        least = 100 if array.attrs["model"] == "cnn" else 60
        assert array.sizes["stimulus"] >= least and array.sizes["probe"] >= least
        assert json.loads(array.attrs["units"]) == {"log_prob": "nat"}
        assert "positive means" in array.attrs["sign"]
        assert np.isfinite(array.values).all()
        assert {"relation", "distance_feature", "stimulus_label", "probe_label"} <= set(array.coords)
        foils = {f"foil_{name}" for name in ("same_subject", "same_words", "neither")}
        assert foils & set(array.coords) == (foils if array.attrs["model"] != "cnn" else set())


def test_every_method_taught_and_says_what_moved(sweep):
    for job in open_results(sweep[0] / "first").jobs:
        strength, moved = job.manifest["strength"], job.manifest["trained_parameters"]
        assert strength["low"] > 0 and strength["p_value"] < 0.001
        full = job.manifest["name"].endswith("full")
        assert (moved["count"] == moved["total"]) == full
        assert all(("lora_" in name) != full for name in moved["names"])
        assert job.manifest["update"]["calibration"]["learning_rate"] == job.manifest["update"]["learning_rate"]


def test_the_word_overlap_of_foils_is_in_the_manifest_where_there_are_foils(sweep):
    for job in open_results(sweep[0] / "first").jobs:
        overlap = word_overlap(Ontology().load(0)) if "ontology" in job.manifest["name"] else None
        assert job.manifest.get("word_overlap") == (overlap and pytest.approx(overlap, abs=0.05))


def test_sweep_given_again_measures_nothing_and_gives_the_same(sweep):
    folder, first, again = sweep
    assert first.count("engine auto") == 4 and "found in" not in first
    assert again.count("found in") == 4 and "engine auto" not in again and "steps\n" not in again
    for one, two in zip(open_results(folder / "first").jobs, open_results(folder / "again").jobs):
        assert one.influence.identical(two.influence)
        first, again = (job.verdicts.drop(columns="details") for job in (one, two))
        pd.testing.assert_frame_equal(first, again)
        for details in zip(one.verdicts["details"], two.verdicts["details"], strict=True):
            first, again = map(json.loads, details)
            assert again == pytest.approx(first, rel=1e-12, nan_ok=True)  # sums differ by where numbers lie in memory


def test_offline_wandb_files_hold_four_runs_each_with_its_own_config_and_results(sweep):
    files = sorted((sweep[0] / "first").rglob("*.wandb"))
    assert len(files) == 4
    seen = set()
    for file in files:
        text, summary = inspect(file), inspect(file, "--summary")
        job = json.loads((file.parents[2] / "manifest.json").read_text())
        others = {"cnn", "phi3-tiny"} - {job["name"].split()[0]}
        assert job["name"] in text and not any(f'"{other} ' in text for other in others)
        assert '"first"' in text  # the group is the sweep
        method = job["name"].split()[-1]
        assert f"eif_lab.methods.{method}." in text
        assert f"eif_lab.methods.{ {'lora': 'full', 'full': 'lora'}[method] }." not in text
        assert "verdict/symmetry" in summary and "strength" in summary and "pairs_per_second" in summary
        assert "stimuli_per_second" in text
        seen.add(job["name"])
    assert len(seen) == 4


def test_local_checkpoint_in_the_hubs_format_runs_under_its_own_name(tmp_path):
    save_checkpoint(tmp_path / "my-phi3", byte_level_tokenizer())
    arguments = [
        "model=phi3",
        f"model.checkpoint={tmp_path / 'my-phi3'}",
        "dataset.worlds=3",
        "dataset.stimuli_per_world=2",
    ]
    quick = ["model.teaching.steps=5", "model.minimum_background_accuracy=0", "tracker=none", "method=adapter"]
    printed = printed_by(
        tmp_path, *arguments, *quick, "model.chat_template=true", "model.attention=eager", "hydra.run.dir=job"
    )
    job = open_results(tmp_path / "job")
    assert job.manifest["name"] == "my-phi3 ontology adapter" and "phi3-tiny" not in printed
    assert job.influence.sizes["stimulus"] == 3 * (2 + 1)  # and a neutral one for each world
    assert job.manifest["update"]["calibration"]["strength"] > 0


def test_an_altered_local_checkpoint_is_not_taken_for_the_old_one(tmp_path):
    checkpoint = tmp_path / "my-phi3"
    save_checkpoint(checkpoint, byte_level_tokenizer())
    arguments = ["model=phi3", f"model.checkpoint={checkpoint}", "dataset.worlds=2", "dataset.stimuli_per_world=2"]
    quick = [
        "model.teaching.steps=2",
        "model.minimum_background_accuracy=0",
        "tracker=none",
        "update.learning_rate=0.01",
    ]
    printed_by(tmp_path, *arguments, *quick, "hydra.run.dir=one")
    assert "found in" in printed_by(tmp_path, *arguments, *quick, "hydra.run.dir=two")
    save_checkpoint(checkpoint, byte_level_tokenizer(), tied=True)
    assert "found in" not in printed_by(tmp_path, *arguments, *quick, "hydra.run.dir=three")


@pytest.mark.parametrize("model", ["cnn", "phi3"])
def test_every_perturbation_runs_on_both_models(sweep, model):
    """On the base models that the sweep has trained."""
    size = {
        "cnn": ["dataset.stimuli=20", "dataset.probes=20"],
        "phi3": [
            "dataset.worlds=4",
            "dataset.stimuli_per_world=2",
            "model.teaching.steps=20",
            "model.minimum_background_accuracy=0",
        ],
    }
    folder = f"{model}_perturbed"
    asked = ["exclude", "noise", "relabel"]
    swept = ["-m", f"model={model}", *size[model], f"perturbation={','.join(asked)}", "tracker=none"]
    printed_by(sweep[0], *swept, f"hydra.sweep.dir={folder}")
    jobs = {job.influence.attrs["perturbation"]: job for job in open_results(sweep[0] / folder).jobs}
    assert sorted(jobs) == asked
    for perturbation, job in jobs.items():
        judged = set(job.verdicts.loc[job.verdicts["status"] == "done", "desideratum"])
        assert ("noise_invariance" in judged) == (perturbation == "noise")


def test_readme_example_prints_what_the_readme_says():
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Your own model\n\n((?:    .*\n|\n)+)", text)
    code = "\n".join(line[4:] for line in block[1].splitlines())
    with torch.random.fork_rng(), redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert f"prints `{printed.getvalue().strip()}`" in text
    assert len([line for line in code.splitlines() if line]) <= 10


def test_a_prediction_is_called_one_and_says_how_far_it_is_from_the_exact_array(tmp_path):
    small = [
        "model.training.steps=20",
        "dataset.stimuli=12",
        "dataset.probes=12",
        "desideratum=symmetry",
        "tracker=none",
    ]
    printed_by(tmp_path, "-m", "engine=first_order,auto", *small, "hydra.sweep.dir=sweep")
    first, exact = sorted(open_results(tmp_path / "sweep").jobs, key=lambda job: job.manifest["engine"] == "factored")
    assert (first.manifest["name"], exact.manifest["name"]) == ("cnn digits full first_order", "cnn digits full")
    assert first.manifest["first_order"] is None  # the exact array was not there yet
    assert first.manifest["update"]["learning_rate"] == exact.manifest["update"]["learning_rate"]
    found = exact.manifest["first_order"]
    assert set(found) == {"spearman", "pearson", "relative_error", "sign_agreement", "cells"}
    assert found["pearson"] > 0.9
    a, b = (job.influence.values.ravel() for job in (first, exact))
    assert found["relative_error"] == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b))
