"""A folder holds one config's job: names that nobody gave are made unique, and given ones are refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eif_lab import open_results
from eif_lab.commands.output import Output

pytest_plugins = ["command_line_fixtures"]

SMALL = "dataset.stimuli=6 dataset.probes=6 update.learning_rate=0.01 desideratum=[symmetry] tracker=none"
SAME_SECOND = "outputs/${now:%Y}"
"""A name that all commands of a year share, as those of a second share the default."""


def nothing(folder):
    """Nothing is there."""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def at_once(folder: Path, commands: list[list[str]]) -> list[subprocess.CompletedProcess]:
    """Run commands side by side, and wait for all of them."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "eif_lab", *arguments, *SMALL.split(), "model.training.steps=2", "cache=cache"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in commands
    ]
    told = [process.communicate(timeout=300) for process in processes]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *printed)
        for process, printed in zip(processes, told)
    ]


def test_jobs_and_sweeps_begun_in_the_same_second_have_folders_of_their_own(tmp_path):
    jobs = [[f"seed={seed}", f"hydra.run.dir={SAME_SECOND}"] for seed in (1, 2)]
    sweeps = [["-m", f"seed={seed}", f"hydra.sweep.dir={SAME_SECOND}"] for seed in (3, 4)]
    ended = at_once(tmp_path, [*jobs, *sweeps])
    assert [one.returncode for one in ended] == [0] * 4, [one.stderr for one in ended]
    folders = sorted((tmp_path / "outputs").iterdir())
    assert len(folders) == 4
    opened = [open_results(folder) for folder in folders]
    assert sorted(job.manifest["seeds"][0] for one in opened for job in getattr(one, "jobs", [one])) == [1, 2, 3, 4]


def test_status_of_a_sweep_in_a_process_of_its_own_prints_the_command_that_goes_on(command, tmp_path):
    """Which has not loaded what running the sweep loads."""
    assert command(nothing, f"-m method=glob(l*) seed=1 {SMALL} hydra.sweep.dir=sweep").code == 0
    (tmp_path / "sweep" / "0" / "manifest.json").unlink()
    result = subprocess.run(
        [sys.executable, "-m", "eif_lab", "status", "sweep"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0 and "go on: eif-lab -m" in result.stdout, result
    assert "hydra.sweep.dir=sweep" in result.stdout


def test_status_imports_no_package_that_a_sweeps_folder_names(tmp_path):
    (tmp_path / "colleague").mkdir()
    (tmp_path / "colleague" / "__init__.py").write_text("open('ran', 'w')")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").write_text(
        "hydra:\n"
        "  runtime: {config_sources: [{provider: main, schema: pkg, path: colleague}]}\n"
        "  sweeper: {_target_: hydra_plugins.eif_lab_sweeper.CheckedSweeper, params: null}\n"
        "  overrides: {task: ['method=glob(*)'], hydra: []}\n"
    )
    command = [sys.executable, "-m", "eif_lab", "status", "sweep"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert not (tmp_path / "ran").exists() and "Traceback" not in result.stderr, result


def test_two_sweeps_with_one_given_folder_do_not_mix(tmp_path):
    ended = at_once(tmp_path, [["-m", f"seed={seed}", "hydra.sweep.dir=sweep"] for seed in (1, 2)])
    assert sorted(one.returncode for one in ended) == [0, 2], [one.stderr for one in ended]
    refused = next(one for one in ended if one.returncode == 2)
    assert refused.stderr.startswith("hydra.sweep.dir must be a folder of this job alone"), refused.stderr
    [job] = open_results(tmp_path / "sweep").jobs
    kept = (tmp_path / "sweep" / "0" / ".hydra" / "overrides.yaml").read_text()
    assert f"seed={job.manifest['seeds'][0]}" in kept


@pytest.mark.parametrize("ended", ["done", "interrupted"])
def test_a_given_folder_that_holds_another_job_is_refused_and_stays_as_it_is(command, tmp_path, ended):
    assert command(nothing, f"{SMALL} seed=1 hydra.run.dir=job").code == 0
    if ended == "interrupted":
        (tmp_path / "job" / "manifest.json").unlink()
    before = contents(tmp_path / "job")
    other = command(nothing, f"{SMALL} seed=2 hydra.run.dir=job")
    assert (other.code, len(other.err.splitlines())) == (2, 1), other
    assert "hydra.run.dir must be a folder of this job alone, it holds one with data_seed=1 where 2" in other.err
    assert contents(tmp_path / "job") == before
    assert command(nothing, f"{SMALL} seed=1 hydra.run.dir=job").code == 0


def test_a_sweep_may_grow_in_its_folder_but_not_change(command, tmp_path):
    swept = f"-m {SMALL} hydra.sweep.dir=sweep"
    assert command(nothing, f"{swept} seed=1,2").code == 0
    before = contents(tmp_path / "sweep")
    other = command(nothing, f"{swept} seed=2,1")
    assert (other.code, len(other.err.splitlines())) == (2, 1), other
    assert other.err.startswith("hydra.sweep.dir must be a folder of this job alone") and "sweep/0" in other.err
    assert contents(tmp_path / "sweep") == before
    grown = command(nothing, f"{swept} seed=1,2,3")
    assert grown.code == 0 and grown.out.count("is done: remove it") == 2
    assert len(open_results(tmp_path / "sweep").jobs) == 3


def test_a_job_and_a_sweep_are_not_put_into_one_folder(command, tmp_path):
    assert command(nothing, f"{SMALL} hydra.run.dir=job").code == 0
    assert command(nothing, f"-m {SMALL} hydra.sweep.dir=sweep").code == 0
    before = contents(tmp_path)
    for arguments, told in (
        (f"-m {SMALL} hydra.sweep.dir=job", "hydra.sweep.dir must be a folder for a sweep, it holds a job"),
        (f"{SMALL} hydra.run.dir=sweep", "hydra.run.dir must be a folder for a job, it holds a sweep"),
    ):
        refused = command(nothing, arguments)
        assert (refused.code, len(refused.err.splitlines())) == (2, 1) and refused.err.startswith(told), refused
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["manifest.json", "influence.zarr", "verdicts.parquet"])
def test_files_of_the_users_own_are_not_written_over(command, tmp_path, name):
    mine = tmp_path / "mine" / name / "kept" if name.endswith("zarr") else tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text('{"name": "my web app"}')
    refused = command(nothing, f"{SMALL} hydra.run.dir=mine")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1) and refused.left == [], refused
    assert refused.err.startswith(f"hydra.run.dir must be a folder without {name}, which this job would write over")
    assert mine.read_text() == '{"name": "my web app"}'


def test_a_folder_that_its_last_holder_removed_is_made_again(tmp_path):
    output = Output.claim(tmp_path / "job", unique=False)
    (tmp_path / "job").rmdir()
    output.hold("job.lock", "runs this job")
    assert (tmp_path / "job" / "job.lock").exists()


def test_a_table_that_the_disk_does_not_take_is_printed_all_the_same(command, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eif_lab.results.sweep.write_frame", full)
    ended = command(nothing, f"-m {SMALL} hydra.sweep.dir=sweep")
    assert ended.code == 1 and "corrected over the sweep" in ended.out and "results: " in ended.out
    assert ended.err.startswith("the table is not stored: ") and len(ended.err.splitlines()) == 1


def test_how_a_job_is_run_does_not_make_it_another_job(command):
    assert command(nothing, f"{SMALL} hydra.run.dir=job").code == 0
    assert command(nothing, f"{SMALL} tracker=csv hydra.run.dir=job").code == 0


def test_of_a_mistake_only_what_it_made_is_removed(command, tmp_path):
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    mistaken = command(nothing, f"{SMALL} device=cuda:99 hydra.run.dir=mine/empty/job")
    assert (mistaken.code, mistaken.left) == (2, []), mistaken
    assert (tmp_path / "mine" / "empty").is_dir()


@pytest.mark.parametrize("new", [True, False])
def test_what_another_process_wrote_while_the_folder_was_waited_for_is_not_this_ones(tmp_path, new):
    if not new:
        (tmp_path / "job").mkdir()
    output = Output.claim(tmp_path / "job", unique=False)
    (tmp_path / "job" / ".hydra").mkdir()
    output.hold("job.lock", "runs this job")
    output.remove_written({".hydra"})
    output.release()
    assert (tmp_path / "job" / ".hydra").is_dir()


def test_a_folder_that_was_never_held_is_left_alone(tmp_path):
    (tmp_path / "own").mkdir()
    Output.claim(tmp_path / "own", unique=False).release()
    assert (tmp_path / "own").is_dir()


def test_what_stood_in_a_folder_stays_after_a_mistake(tmp_path):
    job = tmp_path / "job"
    for folder in ("wandb", "outputs/cache"):
        (job / folder).mkdir(parents=True)
    output = Output.claim(job, unique=False)
    for name in (".hydra", "new"):
        (job / name).mkdir()
    output.remove_written({".hydra", "wandb", "tracker.csv"})
    assert sorted(path.name for path in job.iterdir()) == ["new", "outputs", "wandb"]


TEXTS = [
    {"kind": "stimulus", "id": "0", "prompt": "a dax is a", "target": "bird"},
    {"kind": "probe", "id": "1", "prompt": "a dax can", "target": "fly"},
    {"kind": "probe", "id": "2", "prompt": "a dax can", "target": "swim"},
]
TINY = "model=phi3 dataset=jsonl dataset.path=facts.jsonl update.learning_rate=0.01 hydra.run.dir=job"


def write_texts(folder: Path, lines: list[dict]) -> None:
    (folder / "facts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_finished_job_whose_data_changed_is_run_again(command, tmp_path):
    assert command(lambda folder: write_texts(folder, TEXTS), TINY).code == 0
    again = command(nothing, TINY)
    assert again.code == 0 and "is done" in again.out
    more = [*TEXTS, {"kind": "probe", "id": "3", "prompt": "a dax has", "target": "wings"}]
    changed = command(lambda folder: write_texts(folder, more), TINY)
    assert changed.code == 0 and open_results(tmp_path / "job").influence.sizes["probe"] == 3


def test_a_finished_job_whose_checkpoint_changed_is_run_again(command, tmp_path, small_checkpoint):
    from safetensors.torch import load_file, save_file

    def files(folder: Path) -> None:
        write_texts(folder, TEXTS)
        shutil.copytree(small_checkpoint, folder / "tiny")

    asked = f"{TINY} model.checkpoint=tiny"
    assert command(files, asked).code == 0
    weights = tmp_path / "tiny" / "model.safetensors"
    values = load_file(weights)
    name = next(iter(values))
    before = open_results(tmp_path / "job").manifest["base_model"]["hash"]
    save_file({**values, name: values[name] + 0.1}, weights, metadata={"format": "pt"})
    assert command(nothing, asked).code == 0
    assert open_results(tmp_path / "job").manifest["base_model"]["hash"] != before


def test_results_are_kept_when_the_same_job_cannot_be_run_any_more(command, tmp_path):
    swept = f"-m {TINY.replace('hydra.run.dir=job', '')} hydra.sweep.dir=sweep"
    assert command(lambda folder: write_texts(folder, TEXTS), swept).code == 0
    before = contents(tmp_path / "sweep" / "0" / "influence.zarr")
    (tmp_path / "facts.jsonl").unlink()
    gone = command(nothing, swept)
    assert gone.code == 1 and "are kept" in gone.err, gone
    assert contents(tmp_path / "sweep" / "0" / "influence.zarr") == before
    assert open_results(tmp_path / "sweep").jobs[0].manifest["status"] == "done"
