"""The command line as its users meet it: exit codes and output, in a process of its own where that is the claim."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from command_line_fixtures import composed, printed_by
from hydra.core.utils import JobReturn, JobStatus

from eif_lab.commands import choices, dispatch
from eif_lab.commands.answer import SUBCOMMANDS
from eif_lab.commands.checking import to_plain_containers
from eif_lab.commands.sweep import largest_code
from eif_lab.configs import CONF
from eif_lab.errors import NotApplicable, memory_line, short_of_memory
from eif_lab.jobs.read import read_job

pytest_plugins = ["command_line_fixtures"]

QUICK = [
    "tracker=none",
    "dataset.stimuli=20",
    "dataset.probes=20",
    "model.training.steps=30",
    "update.learning_rate=0.01",
]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "eif_lab", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["model=resnet"],
            "model must be one of causal_lm, cnn, image_classifier, learner, phi3, scores, smollm2, got 'resnet'.",
        ),
        (["--multirun", "method=lora", "method.rank=8,0"], "method.rank must be at least 1, got 0. Try 8."),
        (["dataset=ontology"], "dataset must hold images for model=cnn, got 'ontology' (texts)."),
        (["seed=1", "nonsense"], "missing EQUAL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_users_mistake_is_one_line_with_exit_code_2_and_nothing_written(tmp_path, arguments, told):
    """In a process of its own; `test_bad_input` has more of them."""
    result = run(tmp_path, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and result.stdout == ""
    assert not list(tmp_path.iterdir())


UNKNOWN_USER = """
import pwd, sys
pwd.getpwuid = lambda user: {}[user]
from eif_lab.commands.dispatch import main
sys.exit(main())
"""


def test_a_home_that_is_not_there_costs_neither_lines_nor_results(tmp_path):
    """Tracked by W&B, offline, which keeps most at home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "XDG_", "HOME"))}
    job = [*QUICK, "tracker=wandb", "tracker.mode=offline", "desideratum=[symmetry]", "hydra.run.dir=job"]
    result = subprocess.run(
        [sys.executable, "-c", UNKNOWN_USER, *[one for one in job if one != "tracker=none"]],
        cwd=tmp_path,
        env=kept | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    assert result.stdout.startswith("cnn base training") and "untracked" not in result.stdout
    assert list(tmp_path.glob("job/wandb/offline-run-*/files/media/images/*.png"))


def test_a_log_that_the_disk_does_not_take_prints_no_traceback(tmp_path):
    """Whoever logs then, the job's own file or that of a tracker."""
    code = (
        "import logging; from eif_lab.commands.job import quiet_libraries; quiet_libraries()\n"
        "logging.basicConfig(handlers=[logging.FileHandler('/dev/full')], level=logging.INFO)\n"
        "logging.info('a line')\n"
    )
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError("std::bad_alloc"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ImportError("No module named 'x'"), False),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_what_libraries_raise_where_memory_is_too_little_is_told_from_the_rest(error, short):
    assert short_of_memory(error) == short
    assert len(memory_line(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("channels.channel.load", RuntimeError("DefaultCPUAllocator: can't allocate memory:\n 8 bytes")),
        ("run.write_results", pyarrow.ArrowMemoryError("malloc of size 64 failed")),
    ],
    ids=["load", "write"],
)
def test_out_of_memory_is_one_line_that_says_what_to_try_and_a_failed_job(command, monkeypatch, tmp_path, place, error):
    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"eif_lab.jobs.{place}", short)
    ended = command(lambda folder: None, f"{' '.join(QUICK)} hydra.run.dir=job")
    told = " ".join((ended.out + ended.err).split())
    assert ended.code == 1 and "Traceback" not in told
    assert told.count("out of memory (") == 1 and "Try a lower engine.memory_budget" in told
    assert "room" not in told and not (tmp_path / "job" / "traceback.txt").exists()
    assert "out of memory" in json.loads((tmp_path / "job" / "manifest.json").read_text())["reason"]


def test_help_lists_the_choices_without_loading_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['eif-lab', '--help']\n"
        "from eif_lab.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'wandb', 'xarray', 'pandas', 'numpy', 'hydra'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert (
        "* full Every parameter moves." in lines
        and "lora Low-rank adaptation (Hu et al., 2021), through PEFT." in lines
    )
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in SUBCOMMANDS)
    assert not list(tmp_path.iterdir())


def test_help_lists_choices_of_the_users_own(tmp_path, capsys):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: mine.Mine # a method of mine\n")
    assert dispatch.main(["--help", f"--config-dir={tmp_path}"]) == 0
    assert "a method of mine" in capsys.readouterr().out


def test_every_group_and_choice_says_what_it_is():
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}
    assert groups == {entry.name for entry in choices.described_entries(indented=True)}
    for group in [*groups, "hydra/launcher"]:
        assert all(choices.choices(group).values()), group


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("report", "the following arguments are required: directory. Try eif-lab report --help"),
        ("report a b", "unrecognized arguments: b. Try eif-lab report --help"),
        ("figures symetry results", "invalid choice: 'symetry'"),
        ("power --noise loud", "argument --noise: invalid float value: 'loud'. Try eif-lab power --help"),
        ("workspace --entity=", "--entity must name a user or a team, got ''"),
    ],
)
def test_a_mistake_in_the_arguments_of_a_subcommand_is_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        dispatch.main(arguments.split())
    printed = capsys.readouterr()
    assert ended.value.code == 2 and told in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_pretraining_on_a_device_that_is_none_is_refused_before_it_begins(tmp_path, capsys):
    code = dispatch.main(["pretrain", "--device", "gpu", "--output", str(tmp_path / "made"), "--steps", "1"])
    assert code == 2 and capsys.readouterr().err.startswith("device must be one that torch can use here")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_subcommand_says_what_it_takes(subcommand, capsys):
    with pytest.raises(SystemExit) as ended:
        dispatch.main([subcommand, "--help"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and printed.startswith(f"usage: eif-lab {subcommand}")
    assert SUBCOMMANDS[subcommand] in " ".join(printed.split())


def test_the_console_script_is_the_module(tmp_path):
    """Also in where modules of the user's own are looked for."""
    (tmp_path / "mine.py").write_text("from eif_lab.methods.full import Full\n\n\nclass Mine(Full):\n    pass\n")
    script = Path(sys.executable).with_name("eif-lab")
    for arguments in (["--version"], ["-c", "job", "method=lora"], ["method._target_=mine.Mine", "seed=-1"]):
        one, other = (
            subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
            for command in ([script], [sys.executable, "-m", "eif_lab"])
        )
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
        assert "mine" not in one.stderr


ON_PHI3_MINI = (
    "model.checkpoint=microsoft/Phi-3-mini-4k-instruct model.dtype=bfloat16 "
    "dataset.language=english dataset.background=known dataset.elsewhere=2"
)
PAPER = {
    "images": "model.training.steps=2000 dataset.stimuli=1000 dataset.probes=1000",
    "methods": "model.training.steps=2000 dataset.stimuli=1000 dataset.probes=1000",
    "noise": "model.training.steps=2000 dataset.stimuli=300 dataset.probes=300",
    "rates": "model.training.steps=2000 dataset.stimuli=300 dataset.probes=300",
    "statements": f"{ON_PHI3_MINI} dataset.worlds=20",
    "knowledge": f"{ON_PHI3_MINI} dataset.worlds=40",
}


@pytest.mark.parametrize("run", PAPER)
def test_the_papers_preset_is_its_sizes_on_an_accelerator(run):
    plain = f"experiment=figure_{run}"
    preset, quick = (composed(f"{plain} preset={name}") for name in ("paper", "quick"))
    assert preset == composed(f"{plain} device=cuda {PAPER[run]}") and quick == composed(plain)
    assert preset != quick


def test_the_exit_code_of_a_job_comes_back_from_whichever_process_ran_it():
    done, failed = (JobReturn(_return_value=code, status=JobStatus.COMPLETED) for code in (0, 1))
    assert largest_code(done) == 0 and largest_code([[done, failed], [done]]) == 1
    assert largest_code([]) == largest_code(None) == 0


def test_a_disk_that_is_full_as_hydra_first_writes_is_one_line_that_says_so(command, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hydra.core.utils._save_config", full)
    for arguments in ("hydra.run.dir=job", "-m hydra.sweep.dir=sweep"):
        ended = command(lambda folder: None, f"{arguments} {' '.join(QUICK)}")
        assert ended.code == 2 and "must have room" in ended.err and "--help" not in ended.err, ended
        assert len(ended.err.splitlines()) == 1


def test_one_job_writes_its_directory_and_the_same_job_again_measures_nothing(tmp_path):
    first = printed_by(tmp_path, *QUICK, "hydra.run.dir=first")
    rates = [*QUICK[:-1], "update.learning_rate=0.01,0.02"]
    again = printed_by(tmp_path, "-m", *rates, "hydra.sweep.dir=again", "desideratum=[symmetry]")
    assert "found in" not in first and again.count("found in") == 1
    assert "base training" in first and "base training" not in again
    from eif_lab import open_results

    one, (two, other) = open_results(tmp_path / "first"), open_results(tmp_path / "again").jobs
    assert one.influence.dims == ("seed", "stimulus", "step", "probe", "readout")
    assert one.influence.shape == (1, 20, 1, 20, 1)
    assert one.influence.equals(two.influence) and not one.influence.equals(other.influence)
    assert set(two.verdicts["desideratum"]) == {"symmetry"} < set(one.verdicts["desideratum"])
    manifest = one.manifest
    assert manifest["config"]["dataset"]["stimuli"] == 20 and manifest["seeds"] == [0]
    assert manifest["versions"]["torch"] and len(manifest["base_model"]["hash"]) == 16
    assert manifest["trained_parameters"]["count"] == 53002
    assert manifest["strength"]["effect"] > 0


def test_sweep_goes_on_past_what_fails_and_what_does_not_apply_and_ends_in_one_table(tmp_path, monkeypatch):
    arguments = [
        "dataset=digits,mnist,ontology",
        "tracker=none",
        "model.training.steps=30",
        "update.learning_rate=0.01",
    ]
    monkeypatch.setenv("EIF_LAB_DATA", str(tmp_path / "none"))
    printed = printed_by(tmp_path, "-m", *arguments, "hydra.sweep.dir=sweep", code=1)
    assert "Traceback" not in printed
    import pandas as pd

    from eif_lab import open_results

    sweep = open_results(tmp_path / "sweep")
    status = {job.manifest["overrides"][0]: job.manifest["status"] for job in sweep.jobs}
    assert status == {"dataset=digits": "done", "dataset=mnist": "failed", "dataset=ontology": "not applicable"}
    reasons = {job.manifest["status"]: job.manifest["reason"] for job in sweep.jobs}
    assert reasons["failed"].startswith("dataset.root must hold MNIST/raw")
    assert reasons["not applicable"].startswith("dataset must hold images for model=cnn")
    table = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert set(table["status"]) == {"done", "failed", "not applicable"}
    end = printed[printed.rindex("strength") :]
    assert "dataset.root must hold" in end and "results:" in end


def commands_with(group, choice):
    """What asks for a choice of a group, with each model that it may be for."""
    if group == "size":  # it follows from a preset and an experiment
        preset, _, experiment = choice.partition("_")
        return [f"preset={preset} experiment={experiment}"]
    if group in ("model", "experiment"):
        return [f"{group}={choice}"]
    value = f"[{choice}]" if group == "desideratum" else choice
    return [f"{group}={value} model={model}" for model in ("cnn", "phi3")]


def fits(arguments):
    """Whether choices go together, all of which are valid."""
    try:
        read_job(to_plain_containers(composed(arguments)))
    except NotApplicable:
        return False
    return True


def test_every_config_file_composes_into_valid_options(monkeypatch):
    """Each choice of each group, with the model that it is for, as if every package were installed."""
    monkeypatch.setattr("eif_lab.jobs.workers.find_spec", bool)
    files = [file for file in CONF.glob("*/*.yaml") if file.parent.name != "hydra"]
    assert len(files) > 25
    for file in files:
        assert sum([fits(one) for one in commands_with(file.parent.name, file.stem)]), file


def test_dataset_follows_the_model_unless_given():
    names = {
        arguments: composed(arguments).dataset._target_.rpartition(".")[2]
        for arguments in (
            "",
            "model=phi3",
            "model=cnn dataset=mnist",
            "experiment=phi3_mini",
            "experiment=cnn_mnist",
            "experiment=cnn_mnist dataset=digits",
        )
    }
    assert list(names.values()) == ["Digits", "Ontology", "MNIST", "Ontology", "MNIST", "Digits"]


def test_config_files_and_dataclasses_agree_on_every_default():
    """A file states each option of its class, with the class's own default."""
    import dataclasses

    import yaml

    from eif_lab.options import build, choice

    for group in ("dataset", "model", "method", "perturbation", "engine", "tracker", "desideratum"):
        for path in (CONF / group).glob("*.yaml"):
            given = yaml.safe_load(path.read_text())
            if "defaults" in given:
                continue
            chosen = choice(f"{group}.{path.stem}" if group == "desideratum" else group, given)
            fixed = {name for name, value in given.items() if "${" not in str(value)} - {"_target_"}
            default = build(type(chosen), {}, group)
            assert {n: getattr(chosen, n) for n in fixed} == {n: getattr(default, n) for n in fixed}, path
            assert {name for name in given if name != "_target_"} == {f.name for f in dataclasses.fields(chosen)}, path


def test_manifest_is_json_that_names_the_choice_of_each_group(tmp_path):
    printed_by(tmp_path, *QUICK, "method=adapter", "hydra.run.dir=job")
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert manifest["name"] == "cnn digits adapter" and manifest["overrides"][:1] == ["tracker=none"]
    assert "blocks.*.*.down.weight (2)" in manifest["trained_parameters"]["names"]
