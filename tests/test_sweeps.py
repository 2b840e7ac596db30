"""Sweeps from the command line: what is a job of one, what Hydra's syntax asks for, and how one goes on."""

from __future__ import annotations

import re
import shlex
import sys

import pandas as pd
import pytest
from hydra.core.plugins import Plugins

from eif_lab.commands import dispatch, status
from eif_lab.commands.compose import Command
from eif_lab.commands.job import SweepPace
from eif_lab.configs import CONF
from eif_lab.errors import ConfigError, NotApplicable

pytest_plugins = ["command_line_fixtures"]

SMALL = "dataset.stimuli=6 dataset.probes=6 update.learning_rate=0.1 model.channels=[4] model.hidden=8"


def nothing(folder):
    """Nothing is there."""


def test_a_failing_sweep_whose_folders_hold_slashes_ends_in_its_table_and_exit_code_1(command, tmp_path):
    subdir = "'hydra.sweep.subdir=models/${seed}'"
    ended = command(nothing, f"-m seed=0,1 {SMALL} dataset=mnist dataset.root=none hydra.sweep.dir=sweep {subdir}")
    assert ended.code == 1 and "results:" in ended.out, ended
    table = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert [*table["status"]] == ["failed", "failed"]
    assert sorted(map(str, table["path"]))[0] == "models/0"


LEARNERS = "model=learner dataset=negation dataset.worlds=2 dataset.stimuli_per_world=1"


def test_a_sweep_tells_which_job_of_how_many_begins_and_the_time_left_and_ends_in_the_next_command(command):
    arguments = f"-m {LEARNERS} model.rule=perfect,format,faint hydra.sweep.dir=sweep"
    first, again = command(nothing, arguments), command(nothing, arguments)
    places = re.findall(r"^job (\d of \d)(, about \d+ s left)?$", first.out, re.M)
    assert [place for place, _ in places] == ["1 of 3", "2 of 3", "3 of 3"] and not places[0][1] and places[2][1]
    assert "left" not in "".join(re.findall(r"^job .*", again.out, re.M))  # what is found again took no time
    [last] = re.findall(r"^results: (.*?)   look at them: (.*)$", first.out, re.M)
    assert shlex.split(last[1]) == ["eif-lab", "report", last[0]] and dispatch.main(shlex.split(last[1])[1:]) == 0


def test_a_sweep_with_a_failed_job_ends_in_the_command_that_tells_of_it(command):
    ended = command(nothing, f"-m seed=0,1 {SMALL} dataset=mnist dataset.root=none hydra.sweep.dir=sweep")
    [last] = re.findall(r"^results: .*   go on: (.*)$", ended.out, re.M)
    assert dispatch.main(shlex.split(last)[1:]) == 0 and shlex.split(last)[1] == "status"


def test_the_time_left_is_that_of_as_many_jobs_as_took_the_mean_time():
    pace = SweepPace(12, alone=True, seconds=[50.0, 70.0])
    assert pace.line(2) == "job 3 of 12, about 10 min 00 s left"
    assert SweepPace(12, alone=False, seconds=[50.0]).line(2) == "job 3 of 12"
    assert SweepPace(0, alone=True, seconds=[50.0]).line(2) == "job 3"


# Completion in a shell


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("eif-lab sta", {"status"}),
        ("eif-lab method=l", {"method=lora"}),
        ("eif-lab method=lora method.r", {"method.rank="}),
        ("eif-lab re", {"report", "readout."}),
        ("eif-lab method=lora sta", set()),
    ],
)
def test_the_shell_is_offered_subcommands_choices_and_options(isolated, capfd, typed, offered):
    isolated.setenv("COMP_LINE", typed)
    isolated.setenv("COMP_POINT", str(len(typed)))
    assert dispatch.main(["-sc", "query=bash"]) == 0
    answer = set(capfd.readouterr().out.split())
    assert offered <= answer and ("status" in answer) == ("status" in offered)


def test_what_installs_completion_is_printed_for_the_command(isolated, capfd):
    isolated.setattr(sys, "argv", ["eif-lab"])
    assert dispatch.main(["-sc", "install=bash"]) == 0
    assert re.search("complete .* eif-lab$", capfd.readouterr().out, re.M)


# Configs of one's own


def own(folder):
    """A method of one's own, with a rank of nothing, and a tree of configs above the package's own."""
    (folder / "mine" / "method").mkdir(parents=True)
    (folder / "mine" / "method" / "low.yaml").write_text("_target_: eif_lab.methods.lora.LoRA\nrank: 0\n")
    (folder / "tree").mkdir()
    top = f"defaults: [config, _self_]\nhydra: {{searchpath: ['file://{CONF}']}}\nseed: -3\n"
    (folder / "tree" / "mine.yaml").write_text(top)
    (folder / "tree" / "broken.yaml").write_text("a: [\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-m --config-dir mine method=full,low", "method.rank must be at least 1, got 0"),
        ("-m method=full,low 'hydra.searchpath=[file://mine]'", "method.rank must be at least 1, got 0"),
        ("--config-dir mine method=lwo", "method must be one of adapter, full, ia3, lora, low, peft"),
        ("--config-dir mine method=low method.rnak=2", "got '2'. Did you mean method.rank?"),
        ("--config-path {}/tree --config-name mine", "seed must be at least 0, got -3"),
        ("--config-path {}/tree --config-name mine -m seed=1,-4", "seed must be at least 0, got -4"),
        ("--config-path {}/tree --config-name broken", "broken.yaml"),
        ("--config-path {}/nowhere", "nowhere"),
        ("'hydra.searchpath=[file://nowhere]'", "hydra.searchpath must name folders or packages that exist"),
    ],
)
def test_a_mistake_in_configs_of_ones_own_is_one_line_before_anything_is_written(command, tmp_path, arguments, told):
    ended = command(own, arguments.format(tmp_path))
    assert (ended.code, len(ended.err.splitlines()), ended.out) == (2, 1, ""), ended
    assert told in ended.err
    assert all("mine" in str(path) or "tree" in str(path) for path in ended.left)


def launched(monkeypatch, command):
    """The overrides of the jobs that Hydra would launch."""
    batches = []
    basic = Plugins.instance().class_name_to_class["hydra._internal.core_plugins.basic_launcher.BasicLauncher"]
    monkeypatch.setattr(basic, "launch", lambda self, batch, initial_job_idx: batches.append(batch) or [])
    command.run(lambda config: None)
    return [list(job) for batch in batches for job in batch]


@pytest.mark.parametrize("flags", ["", "--config-dir mine", "--config-path {}/tree --config-name mine"])
def test_status_prints_a_command_that_goes_on_with_configs_of_ones_own(isolated, tmp_path, capsys, flags):
    own(tmp_path)
    given = shlex.split(f"{flags.format(tmp_path)} -m seed=1,2 tracker=none 'cache=a b'")
    command = Command([*given, "hydra.sweep.dir='a (b)'"])
    assert launched(isolated, command) == [job for job, _ in command.jobs()]
    assert status.main(["a (b)"]) == 0
    printed = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(printed.removeprefix("go on: "))
    assert words[0] == "eif-lab"
    again = Command(words[1:])
    assert (again.jobs(), again.swept) == (command.jobs(), True)
    isolated.chdir(CONF)
    assert status.main([str(tmp_path / "a (b)")]) == 0
    assert f"cd {tmp_path} && " in capsys.readouterr().out


# Hydra's syntax of sweeps

SYNTAX = {
    "method=glob(l*)": ["method=lora"],
    "method=glob([f*,l*],exclude=f*)": ["method=lora"],
    "method=choice(full,lora)": ["method=full", "method=lora"],
    "seed=range(3)": ["seed=0", "seed=1", "seed=2"],
    "update.learning_rate=range(0,1,0.5)": ["update.learning_rate=0.0", "update.learning_rate=0.5"],
    "seed=sort(3,1,2)": ["seed=1", "seed=2", "seed=3"],
    "seed=sort(range(3),reverse=true)": ["seed=2", "seed=1", "seed=0"],
    "seed=shuffle(range(30))": None,
    "readout=shuffle([rank],[prob],[log_prob],[correct],[log_odds])": None,
    "seed=tag(a,choice(1,2))": ["seed=1", "seed=2"],
    "readout=[rank],[prob,rank]": ["readout=[rank]", "readout=[prob,rank]"],
    "seed=int(choice('1','2'))": ["seed=1", "seed=2"],
}


@pytest.mark.parametrize("syntax", SYNTAX)
def test_what_is_checked_is_what_is_launched_and_what_status_counts(isolated, syntax):
    command = Command(["-m", syntax, "tracker=none", "hydra.sweep.dir=sweep"])
    jobs = [job for job, _ in command.jobs()]
    assert launched(isolated, command) == jobs
    assert status.requested_jobs(status.Path("sweep"))[0] == list(map(tuple, jobs))
    if SYNTAX[syntax] is None:
        assert jobs != sorted(jobs) and launched(isolated, Command(command.overrides)) == jobs
    else:
        assert [job[0] for job in jobs] == SYNTAX[syntax]


def test_an_interpolation_is_each_jobs_own(isolated):
    command = Command(["-m", "seed=1,2", "cache=${seed}/x", "tracker=none", "hydra.sweep.dir=sweep"])
    jobs = command.jobs()
    assert [options.cache for _, options in jobs] == ["1/x", "2/x"]
    assert launched(isolated, command) == [job for job, _ in jobs]
    assert status.requested_jobs(status.Path("sweep"))[0] == [tuple(job) for job, _ in jobs]


def test_an_engine_that_does_not_follow_an_optimizer_is_left_out_of_a_sweep(isolated):
    command = Command(["-m", "update=sgd,adam", "engine=auto,first_order,factored,stacked", "tracker=none"])
    left_out = {tuple(job[:2]): str(options) for job, options in command.jobs() if isinstance(options, NotApplicable)}
    assert set(left_out) == {("update=adam", f"engine={name}") for name in ("first_order", "factored")}
    assert all("it follows sgd, not adam" in reason for reason in left_out.values())


def test_a_sweep_is_one_without_its_flag_and_its_jobs_are_checked(isolated):
    command = Command(["hydra.mode=MULTIRUN", "seed=0,1"])
    assert len(command.jobs()) == 2
    with pytest.raises(ConfigError, match=r"seed must be at least 0, got -1"):
        Command(["hydra.mode=MULTIRUN", "seed=0,-1"]).jobs()


def test_what_the_sweeper_cannot_do_is_one_line(command):
    ended = command(nothing, "-m 'update.learning_rate=interval(0,1)'")
    assert ended.code == 2 and ended.left == [] and len(ended.err.splitlines()) == 1
    assert ended.err.startswith("update.learning_rate must be a list, range or glob"), ended.err


def test_paths_mean_what_they_meant_on_the_command_line_wherever_a_job_runs(command, tmp_path):
    there = f"{SMALL} hydra.job.chdir=true cache=mine/cache hydra.sweep.dir=sweep"
    ended = command(nothing, f"-m seed=0 {there}")
    assert ended.code == 0 and "found in" not in ended.out, ended
    assert [path.name for path in (tmp_path / "sweep").rglob("cache")] == []
    assert (tmp_path / "sweep" / "sweep.parquet").is_file() and any((tmp_path / "mine/cache/influence").iterdir())
    again = command(nothing, f"{SMALL} cache=mine/cache hydra.run.dir=job hydra.job.chdir=true")
    assert again.code == 0 and "found in mine/cache" in again.out and (tmp_path / "job" / "manifest.json").is_file()
