import csv
import importlib.util
import io
import json
import logging
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb
import xarray as xr
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from wandb_runs import inspect

from eif_lab import annotate, load_task
from eif_lab.commands import report
from eif_lab.desiderata.verdict import Finding
from eif_lab.errors import ConfigError
from eif_lab.jobs import judge
from eif_lab.jobs import run as jobs_run
from eif_lab.jobs.read import read_job
from eif_lab.jobs.record import Record
from eif_lab.results.job import write_job
from eif_lab.results.scalars import (
    BY_CLASS,
    BY_RELATION,
    CHARTS,
    FINDINGS,
    HEAT_MAP,
    MEDIA,
    NAMED,
    SCORECARD,
    VERDICTS,
    config_key,
    summarise,
    summary_keys,
)
from eif_lab.results.summary import relation_means
from eif_lab.results.trackers.csv import Csv
from eif_lab.results.trackers.heat_map import heat_map
from eif_lab.results.trackers.none import NoTracker
from eif_lab.results.trackers.tensorboard import TensorBoard
from eif_lab.results.trackers.wandb import LONGEST_NAME, LONGEST_TAG, MODES, NOT_IN_NAMES, Wandb

CONF = Path(__file__).parents[2] / "conf" / "tracker"


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """No key, no mode, and W&B's own folders below the test's."""
    for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb_home" / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def read_summary(file):
    return json.loads(inspect(file, "--summary"))


def read_records(file):
    return [json.loads(line) for line in inspect(file).splitlines()]


def run_files(directory):
    return sorted(Path(directory).glob("wandb/offline-run-*/*.wandb"))


def arguments(directory, name="model=cnn,method=lora", **config):
    fields = {"name": name, "group": "sweep 1", "tags": ["cnn"], "config": config, "directory": Path(directory)}
    return fields | {"run_id": f"{zlib.crc32(f'{directory}{name}'.encode()):08x}"}


def start(directory, **config):
    return Wandb(mode="offline", tags=["mine"]).start(**arguments(directory, **config))


def test_four_runs_in_one_process_hold_only_their_own_config(tmp_path, capfd):
    configs = {}
    for model in ("cnn", "phi3"):
        for method in ("lora", "full"):
            name = f"model={model},method={method}"
            configs[name] = {"model": {"name": model, f"only_{model}": 1}, "method": {"name": method, "rank": None}}
            directory = tmp_path / f"{model}_{method}"
            directory.mkdir()
            tracker = Wandb(mode="offline", project="lab", tags=["mine"])
            asked = arguments(directory, name, **configs[name]) | {"tags": [model, "mine"]}
            with tracker.start(**asked) as run:
                run.progress(1, 4, 2.5, {"direct": len(configs)})
    files = [file for directory in sorted(tmp_path.iterdir()) for file in run_files(directory)]
    assert len(files) == 4
    told = {}
    for file in files:
        records = {record["type"]: record[record["type"]] for record in read_records(file)}
        started, name = records["run"], records["run"]["display_name"]
        told[name] = {key: value for key, value in started["config"]["update"].items() if key != "_wandb"}
        assert started["project"] == "lab" and started["run_group"] == "sweep 1"
        assert sorted(started["tags"]) == sorted(["mine", name.split(",")[0].removeprefix("model=")])
        assert records["history"]["item"]["running/direct"] == list(configs).index(name) + 1
        assert records["exit"]["exit_code"] == 0
    assert told == configs
    assert capfd.readouterr() == ("", "")  # the console stays the job's own


def test_progress_is_logged_point_by_point(tmp_path):
    points = [(2, 10, 4.0, {"direct": 0.5}), (6, 10, 5.0, {"direct": 0.25, "entailed": -1.0})]
    with start(tmp_path) as run:
        for point in points:
            run.progress(*point)
    history = [r["history"]["item"] for r in read_records(*run_files(tmp_path)) if r["type"] == "history"]
    assert [h["stimuli_done"] for h in history] == [2, 6]
    assert [h["share_done"] for h in history] == [0.2, 0.6]
    assert [h["stimuli_per_second"] for h in history] == [4.0, 5.0]
    assert [h["running/direct"] for h in history] == [0.5, 0.25]
    assert history[1]["running/entailed"] == -1.0


STRENGTH = Finding("strength", 1.25, 1.0, 1.5, 0.01, 60, "stimuli", 0)


def summary_of(verdicts):
    return summarise(STRENGTH, verdicts, pairs_per_second=7.0, seconds=2.5)


def read_table(directory, value):
    table = json.loads((run_files(directory)[0].parent / "files" / value["path"]).read_text())
    return [dict(zip(table["columns"], row)) for row in table["data"]]


def test_finish_hands_over_pictures_tables_summary_and_array(tmp_path, make_influence, make_verdict):
    influence = make_influence()
    verdicts = [
        make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01), (0.6, 0.4, 0.9, 0.02)),
        make_verdict("sparsity", (np.nan,) * 4),
    ]
    write_job(tmp_path, {"name": "j", "status": "done"}, influence, verdicts, {})
    with start(tmp_path, seed=3) as run:
        run.finish(influence, verdicts, told := summary_of(verdicts))
    summary = read_summary(*run_files(tmp_path))["summary"]
    undefined = {key for key, value in told.items() if value != value}
    places = ("sparsity", "sparsity/statistic_0")
    assert undefined == {f"{w}/{at}" for w in ("effect", "low", "high", "p_value", "p_violated") for at in places}
    assert {key: summary[key] for key in told.keys() - undefined} == {k: told[k] for k in told.keys() - undefined}

    assert summary[HEAT_MAP]["_type"] == "image-file" and "log_prob [nat]" in summary[HEAT_MAP]["caption"]
    rows = read_table(tmp_path, summary[BY_RELATION])
    reference = relation_means(influence)
    assert [row["relation"] for row in rows] == reference["relation"].tolist()
    assert [row["mean"] for row in rows] == pytest.approx(reference["mean"].tolist())
    assert len(read_table(tmp_path, summary[BY_CLASS])) == 2 * 3 * 2
    rows = read_table(tmp_path, summary[VERDICTS])
    assert [(r["desideratum"], r["statistic"], r["effect"], r["finding_p_value"], r["verdict"]) for r in rows[:2]] == [
        ("symmetry", "statistic_0", 0.5, 0.01, "satisfied"),
        ("symmetry", "statistic_1", 0.6, 0.02, "satisfied"),
    ]

    artifacts = [r["artifact"] for r in read_records(*run_files(tmp_path)) if r["type"] == "artifact"]
    (array,) = [artifact for artifact in artifacts if artifact["type"] == "influence"]
    logged = {Path(entry["local_path"]) for entry in array["manifest"]["contents"]}
    assert logged == {file for file in (tmp_path / "influence.zarr").rglob("*") if file.is_file()}


def test_artifact_names_are_valid_and_tell_jobs_apart(tmp_path, make_influence):
    names = []
    for k, name in enumerate(["a=1,b=[2, 3]/ü" * 20, "a=1,b=[2, 3]/ü" * 20]):
        directory = tmp_path / str(k)
        write_job(directory, {"name": "j", "status": "done"}, make_influence(), [], {})
        with Wandb(mode="offline").start(**arguments(directory, name=name, seed=k)) as run:
            run.finish(make_influence(), [], {})
        records = read_records(*run_files(directory))
        names += [
            r["artifact"]["name"] for r in records if r["type"] == "artifact" and r["artifact"]["type"] == "influence"
        ]
    assert len(set(names)) == 2
    assert all(len(name) <= 128 for name in names)


def test_job_that_fails_is_marked_and_its_error_goes_on(tmp_path, capfd):
    with pytest.raises(ValueError, match="no such thing"), start(tmp_path) as run:
        run.progress(1, 2, 1.0, {})
        raise ValueError("no such thing\nmore")
    summary = read_summary(*run_files(tmp_path))
    assert summary["state"] == "failed" and summary["exit_code"] == 1
    assert summary["summary"]["reason"] == "ValueError: no such thing"
    assert capfd.readouterr() == ("", "")


def test_run_after_one_that_failed_is_its_own(tmp_path):
    with pytest.raises(KeyboardInterrupt), start(tmp_path / "a", seed=1):
        raise KeyboardInterrupt
    with start(tmp_path / "b", seed=2):
        pass
    assert read_summary(*run_files(tmp_path / "b"))["config"] == {"seed": 2}


def test_run_that_somebody_left_open_does_not_swallow_the_job(tmp_path):
    other = wandb.init(mode="offline", dir=tmp_path, config={"other": 1}, settings=wandb.Settings(silent=True))
    try:
        with start(tmp_path / "job", seed=2):
            pass
    finally:
        other.finish()
    assert read_summary(*run_files(tmp_path / "job"))["config"] == {"seed": 2}


def test_trouble_in_the_tracker_is_one_line_and_costs_nothing(tmp_path, make_influence, caplog):
    with caplog.at_level(logging.WARNING), start(tmp_path) as run:
        run.finish(make_influence(), [], {"strength": 1.0})  # nothing was written to the job's directory
        run.progress(1, 2, 1.0, {})
    (line,) = own_lines(caplog)
    assert "influence.zarr is not there" in line
    assert read_summary(*run_files(tmp_path))["state"] == "finished"


def test_tracker_that_cannot_start_leaves_the_job_untracked(tmp_path, caplog, make_influence):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING), start(tmp_path / "file") as run:
        run.progress(1, 2, 1.0, {})
        run.finish(make_influence(), [], {})
    (line,) = own_lines(caplog)
    assert line.startswith("W&B cannot start (FileExistsError: ") and line.endswith("goes on untracked")


@pytest.fixture
def track(monkeypatch, caplog, capfd):
    """Run a job under an environment that W&B reads anew; the lines that it logs. Nothing else may be printed."""

    def run(directory, environment, finish=None, **options):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()
        caplog.clear()
        with Wandb(**options).start(**arguments(directory, name="j", a=1)) as run:
            run.progress(1, 2, 1.0, {})
            if finish is not None:
                run.finish(finish, [], {})
        wandb.teardown()
        assert capfd.readouterr() == ("", "")
        return own_lines(caplog)

    yield run
    wandb.teardown()


def own_lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("eif_lab")]


def test_auto_is_offline_without_a_key(tmp_path, track):
    assert track(tmp_path, {}) == []
    assert read_summary(*run_files(tmp_path))["config"] == {"a": 1}


KEY = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize("source", ["environment", "netrc"])
def test_auto_with_a_key_tries_the_server_and_falls_back_with_one_line(tmp_path, track, source):
    environment = dict(KEY)
    if source == "netrc":
        del environment["WANDB_API_KEY"]
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1:9\n login user\n password {'a' * 40}\n")
        (tmp_path / "netrc").chmod(0o600)
    (line,) = track(tmp_path / "job", environment)
    assert line.startswith("W&B is not reachable (http://127.0.0.1:9, ") and line.endswith("j is tracked offline")
    assert read_summary(*run_files(tmp_path / "job"))["config"] == {"a": 1}


def test_wandb_mode_is_honoured(tmp_path, track):
    assert track(tmp_path / "offline", {**KEY, "WANDB_MODE": "offline"}) == []
    assert len(run_files(tmp_path / "offline")) == 1
    assert track(tmp_path / "disabled", {"WANDB_MODE": "disabled"}) == []
    assert run_files(tmp_path / "disabled") == []


@pytest.mark.parametrize("home", ["unset", "not to be made"])
def test_a_home_that_is_not_there_costs_neither_lines_nor_the_run(tmp_path, track, monkeypatch, make_influence, home):
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.delenv(f"WANDB_{name}_DIR")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    (tmp_path / "file").touch()
    environment = {"HOME": str(tmp_path / "file" / "home")} if home == "not to be made" else {}
    write_job(tmp_path / "job", {"name": "j", "status": "done"}, make_influence(), [], {})
    assert track(tmp_path / "job", environment, finish=make_influence()) == []
    told = read_summary(*run_files(tmp_path / "job"))
    assert told["state"] == "finished" and HEAT_MAP in told["summary"]
    assert "WANDB_DATA_DIR" not in os.environ


def test_online_without_a_key_neither_asks_nor_waits(tmp_path, track):
    (line,) = track(tmp_path / "job", {}, mode="online")
    assert "no key, `wandb login` stores one" in line
    assert len(run_files(tmp_path / "job")) == 1


class Unhelpful(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_server_that_answers_with_errors_is_given_up_after_the_timeout(tmp_path, track):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Unhelpful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {**KEY, "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}"}
        (line,) = track(tmp_path / "job", environment, init_timeout=1.0)
        server.shutdown()
    assert line.startswith("W&B is not reachable (") and line.endswith("j is tracked offline")
    assert read_summary(*run_files(tmp_path / "job"))["config"] == {"a": 1}


SILENT = """
import sys
from pathlib import Path
import numpy as np, xarray as xr
from eif_lab.results.job import write_job
from eif_lab.results.sweep import open_results
from eif_lab.console.tables import print_job
from eif_lab.results.trackers.none import NoTracker
import eif_lab.results.trackers.wandb
directory = Path(sys.argv[1])
array = xr.DataArray(np.ones((1, 2, 1, 2, 1)), dims=("seed", "stimulus", "step", "probe", "readout"))
with NoTracker().start(name="j", group="g", tags=[], config={}, directory=directory, run_id="0") as run:
    run.progress(1, 2, 1.0, {})
    write_job(directory, {"name": "j", "status": "done"}, array, [], {})
    run.finish(array, [], {})
print_job(open_results(directory))
assert "wandb" not in sys.modules
"""

LIGHT = """
import sys
import eif_lab.results.trackers.csv, eif_lab.results.trackers.none
import eif_lab.results.trackers.tensorboard, eif_lab.results.trackers.wandb
heavy = {"torch", "pandas", "xarray", "scipy", "wandb", "rich", "tensorboard"} & set(sys.modules)
assert not heavy, heavy
"""


def test_no_tracker_works_without_wandb_being_imported(tmp_path):
    subprocess.run([sys.executable, "-c", SILENT, str(tmp_path)], check=True)
    assert not (tmp_path / "wandb").exists()


def test_options_are_imported_without_anything_heavy():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_no_tracker_lets_errors_pass(tmp_path):
    with pytest.raises(ValueError), NoTracker().start(**arguments(tmp_path)):
        raise ValueError


TRACKERS = [("wandb", Wandb), ("none", NoTracker), ("csv", Csv), ("tensorboard", TensorBoard)]


@pytest.mark.parametrize(("name", "options"), TRACKERS)
def test_config_file_holds_every_option_with_its_default(name, options):
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    target = config.pop("_target_")
    assert target == f"{options.__module__}.{options.__qualname__}"
    assert OmegaConf.to_container(OmegaConf.structured(options)) == config
    assert OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(options), config)) == options()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "live"}, "tracker.mode must be one of auto, online, offline, got 'live'"),
        ({"init_timeout": 0}, "tracker.init_timeout must be above 0, got 0"),
        ({"finish_timeout": -1.0}, "tracker.finish_timeout must be above 0, got -1.0"),
        ({"project": "a/b"}, r"tracker.project must hold none of / \\ # \? % :, got 'a/b'"),
        ({"project": ""}, "tracker.project must have 1 to 128 characters, got ''"),
        ({"project": "p" * 129}, "tracker.project must have 1 to 128 characters"),
        ({"entity": "me/eif_lab"}, "tracker.entity must hold none of .*, got 'me/eif_lab'"),
        ({"entity": ""}, "tracker.entity must have 1 to 128 characters, got ''. Try null"),
        ({"run_group": "g" * 129}, "tracker.run_group must have 1 to 128 characters"),
        ({"tags": ["fine", ""]}, "tracker.tags must each have 1 to 64 characters, got ''"),
        ({"tags": ["fine", "t" * 65]}, "tracker.tags must each have 1 to 64 characters, got 'ttt"),
    ],
)
def test_wrong_option_is_one_clear_line(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Wandb(**wrong)


def test_a_mode_of_the_environment_that_wandb_does_not_know_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ConfigError, match=r"WANDB_MODE must be one of online, .*, got 'ofline'"):
        Wandb()
    Wandb(mode="offline")  # which does not ask for it


def test_what_wandb_is_held_to_is_what_wandb_itself_admits(monkeypatch):
    for name in MODES:
        wandb.Settings(mode=name)
    longest = "p" * LONGEST_NAME
    wandb.Settings(project=longest, run_tags=["t" * LONGEST_TAG])
    for name in [longest + "p", *NOT_IN_NAMES]:
        with pytest.raises(wandb.errors.UsageError):
            wandb.Settings(project=name)
    with pytest.raises(ValueError, match="between 1 and 64"):
        wandb.Settings(run_tags=["t" * (LONGEST_TAG + 1)])


def test_long_names_that_a_job_brings_keep_its_run_and_stay_apart(tmp_path, caplog):
    checkpoint = "a-checkpoint-whose-folder-says-how-it-was-trained-and-on-what-and-" + "when-" * 30
    for number in range(2):
        asked = arguments(tmp_path / str(number), name=f"{checkpoint}{number} digits")
        asked |= {"group": f"{checkpoint}{number}", "tags": ["t" * LONGEST_TAG, "", f"{checkpoint}{number}"]}
        with Wandb(mode="offline").start(**asked):
            pass
    told = [
        next(record["run"] for record in read_records(*run_files(tmp_path / str(number))) if record["type"] == "run")
        for number in range(2)
    ]
    for run in told:
        assert len(run["tags"]) == 2 and "t" * LONGEST_TAG in run["tags"]
    cut = [{run["display_name"], run["run_group"], *run["tags"]} - {"t" * LONGEST_TAG} for run in told]
    assert not cut[0] & cut[1] and all(name.startswith("a-checkpoint-whose") for name in cut[0])
    assert own_lines(caplog) == []


def test_a_job_whose_name_is_longer_than_a_files_is_in_tensorboard(tmp_path, caplog):
    for last in "ab":
        with TensorBoard().start(**arguments(tmp_path, name="é" * 200 + last)) as run:
            run.progress(1, 2, 1.0, {})
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2 and own_lines(caplog) == []


# --- What runs carry ------------------------------------------------------------------------------------------------


def test_summary_has_every_key_of_the_list_with_the_first_findings_numbers(make_verdict):
    verdicts = [
        make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01), (0.6, 0.4, 0.9, 0.02)),
        make_verdict("sparsity", (0.0, -0.1, 0.05, 0.99)),
        make_verdict("logic", (0.2, 0.0, 0.8, 0.3)),
    ]
    summary = summary_of(verdicts)
    named = summary_keys(["symmetry", "sparsity", "logic"])
    assert list(summary)[: len(named)] == named
    for verdict in verdicts:
        for finding in verdict.findings:
            place = f"{verdict.desideratum}/{finding.statistic}"
            told = [summary[f"{what}/{place}"] for what in ("effect", "low", "high", "p_value", "p_violated", "chance")]
            held = (finding.effect, finding.low, finding.high, finding.p_value, finding.p_violated, finding.chance)
            np.testing.assert_equal(told, held)
    ends = [summary[key] for key in ("strength", "low/strength", "high/strength")]
    assert ends == [STRENGTH.effect, STRENGTH.low, STRENGTH.high]
    for verdict in verdicts:
        first, name = verdict.findings[0], verdict.desideratum
        told = [summary[f"{what}/{name}"] for what in ("verdict", "effect", "low", "high", "p_value", "n")]
        assert told == [verdict.outcome(), first.effect, first.low, first.high, verdict.p_value, first.n]
        told = [summary[f"{what}/{name}"] for what in ("p_violated", "threshold", "chance")]
        assert told == [verdict.p_violated, first.threshold, first.chance]
    assert [summary[f"how/{verdict.desideratum}"] for verdict in verdicts] == ["", "absent", ""]
    assert [summary[f"score/{verdict.desideratum}"] for verdict in verdicts] == [1, -1, 0]


MEASURED = {
    "base_model": {"name": "cnn", "hash": "0"},
    "trained_parameters": {"names": ["head.weight"], "count": 1, "total": 2, "tensors": 1},
    "update": {"optimizer": "sgd", "steps": 1, "learning_rate": 0.1, "calibration": None},
    "strength": STRENGTH,
    "unit": "nat",
    "engine": "factored",
    "diverged": 0,
    "unmoved": 0,
    "stimuli": 6,
    "probes": 8,
    "measuring_seconds": 1.0,
    "pairs_per_second": 48.0,
}


def test_job_writes_the_keys_of_the_list_and_names_its_choices(tmp_path, monkeypatch, make_influence, make_verdict):
    """The pipeline, with what it measures and judges made up, and what W&B holds of the job afterwards."""
    verdicts = [make_verdict(name, (0.5, 0.2, 0.8, 0.01)) for name in ("symmetry", "logic")]

    def measure(job, inputs, run, left):
        run.progress(6, 6, 3.0, {"mean_absolute_influence": 1.0})
        return make_influence(), Record(**MEASURED)

    monkeypatch.setattr(jobs_run, "checked_inputs", lambda job: "all that is needed")
    monkeypatch.setattr(jobs_run, "measure", measure)
    monkeypatch.setattr(judge, "evaluate_all", lambda *arguments: (verdicts, {"negation": "no text"}))
    with initialize_config_dir(str(CONF.parent), version_base="1.3"):
        composed = compose("config", ["method=adapter", f"cache={tmp_path / 'cache'}"])
    config = OmegaConf.to_container(composed, resolve=True)
    jobs_run.run_job(read_job(config), config, tmp_path / "job", "sweep 1", [])
    run = read_summary(*run_files(tmp_path / "job"))
    known = {key for key in summary_keys(["symmetry", "logic"]) if not key.startswith("p_")}  # too few units for those
    assert {*known, *CHARTS, *MEDIA} <= set(run["summary"])
    assert run["summary"]["pairs_per_second"] == 48.0 and run["summary"]["seconds"] > 0
    names = dict(zip(NAMED, ("cnn", "digits", "adapter", "include"), strict=True))
    assert {part: run["config"][config_key(part)] for part in NAMED} == names


# --- A sweep as a whole ---------------------------------------------------------------------------------------------


@pytest.fixture
def tracked_sweep(tmp_path, make_verdict):
    """Two jobs tracked by W&B: what one satisfies by itself, it does not after the correction over both."""
    task = load_task("ontology", worlds=6, stimuli_per_world=1)
    shape = (1, len(task.stimuli), 1, len(task.probes), 1)
    blank = xr.DataArray(np.zeros(shape), dims=("seed", "stimulus", "step", "probe", "readout"))
    blank = blank.assign_coords(seed=[0], step=[1], readout=["log_prob"])
    array = annotate(blank, task).assign_attrs(dataset="ontology")
    tracker = {"_target_": "eif_lab.results.trackers.wandb.Wandb", "mode": "offline", "project": "lab"}
    logic = {"logic": {"_target_": "eif_lab.desiderata.logic.Logic"}}
    config = {"dataset": {"name": "ontology"}, "desideratum": logic, "tracker": tracker}
    for name, p in (("lucky", 0.04), ("plain", 0.9)):
        manifest = {"name": name, "status": "done", "config": config, "strength": {"effect": 2.0}, "unit": "nat"}
        write_job(tmp_path / "swept" / name, manifest, array, [make_verdict("logic", (0.2, 0.1, 0.3, p))], {})
    write_job(tmp_path / "swept" / "lost", {"name": "lost", "status": "failed", "reason": "no memory"}, None, [], {})
    return tmp_path / "swept"


def test_a_sweeps_run_has_the_corrected_verdicts_beside_the_learners(tracked_sweep, capsys):
    assert report.main([str(tracked_sweep), "--track"]) == 0
    assert capsys.readouterr().err == ""
    (file,) = run_files(tracked_sweep)
    records = {record["type"]: record[record["type"]] for record in read_records(file)}
    assert records["run"]["display_name"] == "sweep swept" and records["run"]["run_group"] == "swept"
    assert records["run"]["project"] == "lab" and records["run"]["tags"] == ["sweep"]
    summary = read_summary(file)["summary"]
    rows = {row["job"]: row for row in read_table(tracked_sweep, summary[SCORECARD])}
    jobs, learners = ["lost", "lucky", "plain"], ["perfect (ontology)", "bag of words (ontology)"]
    assert list(rows) == jobs + learners
    assert [row["kind"] for row in rows.values()] == ["job"] * 3 + ["reference learner"] * 2
    assert [rows[job]["status"] for job in jobs] == ["failed", "done", "done"]
    assert [rows[job]["logic"] for job in jobs] == [None, "inconclusive", "inconclusive"]
    assert (rows["lucky"]["effect/logic"], rows["lucky"]["strength"]) == (0.2, 2.0)
    found = read_table(tracked_sweep, summary[FINDINGS])
    lucky = next(row for row in found if row["job"] == "lucky")
    assert (lucky["verdict"], lucky["verdict_alone"], lucky["chance"]) == ("inconclusive", "satisfied", 0.0)
    assert lucky["p_adjusted"] == pytest.approx(0.08)
    bars = read_table(tracked_sweep, summary["beside_learners/logic_table"])
    assert [row["job"] for row in bars] == jobs[1:] + learners
    assert [row["statistic"] for row in bars] == ["statistic_0"] * 2 + ["reach"] * 2  # a gain would grow with strength
    assert bars[2]["effect"] > 0.5


def test_what_has_no_run_of_a_sweep_is_told_in_one_line(tracked_sweep, capsys):
    assert report.main([str(tracked_sweep / "lucky"), "--track"]) == 2
    assert "--track must be given for a sweep" in capsys.readouterr().err
    assert record_by_none(tracked_sweep) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and "Try tracker=wandb" in told and run_files(tracked_sweep) == []


def record_by_none(sweep):
    """Ask for a record of a sweep whose only job that is left had no tracker."""
    for name in ("lucky", "plain"):
        shutil.rmtree(sweep / name)
    config = {"tracker": {"_target_": "eif_lab.results.trackers.none.NoTracker"}}
    write_job(sweep / "quiet", {"name": "quiet", "status": "failed", "reason": "", "config": config}, None, [], {})
    return report.main([str(sweep), "--track"])


# --- CSV ------------------------------------------------------------------------------------------------------------


def read_rows(directory):
    with (directory / "tracker.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_holds_one_value_a_row_of_all_that_was_told(tmp_path, make_influence, make_verdict):
    verdicts = [make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01)), make_verdict("sparsity", (np.nan,) * 4)]
    config = {"model": {"name": 'a, "b"', "channels": [1, 2]}, "seed": 0, "method_name": "näg\nx"}
    with Csv().start(**arguments(tmp_path, name="j", **config)) as run:
        run.progress(2, 8, 4.0, {"direct": 0.1 + 0.2})
        assert [row["key"] for row in read_rows(tmp_path)][-1] == "running/direct"  # readable while the job runs
        run.progress(8, 8, 5.0, {"direct": -1.0})
        run.finish(make_influence(), verdicts, summary_of(verdicts))
    frame = pd.read_csv(tmp_path / "tracker.csv", dtype=str)
    assert set(frame["job"]) == {"j"} and set(frame["sweep"]) == {"sweep 1"}
    assert not frame.duplicated(["job", "kind", "stimuli_done", "key"]).any()
    rows = read_rows(tmp_path)
    fields = {kind: {r["key"]: r["value"] for r in rows if r["kind"] == kind} for kind in ("config", "summary", "end")}
    assert fields["config"] == {
        "model.name": 'a, "b"',
        "model.channels": "[1, 2]",
        "seed": "0",
        "method_name": "näg\nx",
    }
    assert fields["summary"] == {key: str(value) for key, value in summary_of(verdicts).items()}
    assert fields["end"] == {"status": "finished"}
    points = [(r["stimuli_done"], float(r["value"])) for r in rows if r["key"] == "running/direct"]
    assert points == [("2", 0.1 + 0.2), ("8", -1.0)]
    assert [float(r["value"]) for r in rows if r["key"] == "stimuli_per_second"] == [4.0, 5.0]


def test_csv_of_a_job_that_fails_says_why(tmp_path):
    with pytest.raises(ValueError), Csv().start(**arguments(tmp_path)) as run:
        run.progress(1, 2, 1.0, {})
        raise ValueError("no such thing\nmore")
    end = {row["key"]: row["value"] for row in read_rows(tmp_path) if row["kind"] == "end"}
    assert end == {"status": "failed", "reason": "ValueError: no such thing"}


@pytest.mark.parametrize("tracker", [Csv(), TensorBoard()], ids=["CSV", "TensorBoard"])
def test_trackers_that_cannot_write_leave_the_job_untracked_with_one_line(tmp_path, caplog, make_influence, tracker):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING), tracker.start(**arguments(tmp_path / "file", name="j")) as run:
        run.progress(1, 2, 1.0, {})
        run.finish(make_influence(), [], {})
    (line,) = own_lines(caplog)
    assert " cannot start (" in line and line.endswith("j goes on untracked")


def test_tracker_that_breaks_says_so_once_and_the_job_goes_on(tmp_path, caplog, make_influence):
    with caplog.at_level(logging.WARNING), Csv().start(**arguments(tmp_path, name="j")) as run:
        run.file.close()  # as a full disk would, every write fails from here on
        run.progress(1, 2, 1.0, {})
        run.finish(make_influence(), [], {"strength": 1.0})
    (line,) = own_lines(caplog)
    assert line.startswith("CSV failed (ValueError: ") and line.endswith("j goes on untracked")


def test_a_full_disk_is_told_once_by_the_tracker(tmp_path, caplog):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with caplog.at_level(logging.WARNING), Csv().start(**arguments(tmp_path, name="j")) as run:
        run.file.flush()
        os.dup2(os.open("/dev/full", os.O_WRONLY), run.file.fileno())
        run.progress(1, 2, 1.0, {})
    (line,) = own_lines(caplog)
    assert line.startswith("CSV failed (OSError: [Errno 28]") and line.endswith("j goes on untracked")


# --- TensorBoard ----------------------------------------------------------------------------------------------------


def read_events(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    return events.Reload()


def texts(events):
    return {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}


def test_tensorboard_shows_charts_heat_map_verdicts_and_scorecard(tmp_path, make_influence, make_verdict):
    influence = make_influence()
    verdicts = [make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01)), make_verdict("sparsity", (0.0, -0.1, 0.05, 0.99))]
    names = {config_key("model"): "cnn", config_key("method"): "lora"}
    with TensorBoard().start(**arguments(tmp_path, name="a/b lora", seed=3, **names)) as run:
        run.progress(2, 10, 4.0, {"direct": 0.5})
        run.progress(6, 10, 5.0, {"direct": 0.25})
        run.finish(influence, verdicts, summary_of(verdicts))
    events = read_events(tmp_path / "tensorboard" / "a-b lora")
    points = [(event.step, event.value) for event in events.Scalars("stimuli_per_second")]
    assert points == [(2, 4.0), (6, 5.0)]
    assert [event.value for event in events.Scalars("running/direct")] == [0.5, 0.25]
    numbers = {key: value for key, value in summary_of(verdicts).items() if not isinstance(value, str)}
    assert {key: events.Scalars(key)[-1].value for key in numbers} == pytest.approx(numbers)

    shown = np.asarray(Image.open(io.BytesIO(events.Images(HEAT_MAP)[0].encoded_image_string)))
    assert (shown == heat_map(influence)[0]).all()
    told = texts(events)
    table = told[f"{VERDICTS}/text_summary"].splitlines()
    assert table[0].startswith("| desideratum | verdict |") and len(table) == 2 + len(verdicts)
    assert table[2].startswith("| symmetry | satisfied |") and table[3].startswith("| sparsity | violated |")
    assert '"seed": 3' in told["config/text_summary"]

    stored = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(stored).session_start_info
    assert {key: value.string_value for key, value in start.hparams.items()} == {"model": "cnn", "method": "lora"}


def test_tensorboard_of_a_job_that_fails_says_why(tmp_path):
    with pytest.raises(ValueError), TensorBoard().start(**arguments(tmp_path, name="j")) as run:
        run.progress(1, 2, 1.0, {})
        raise ValueError("no such thing\nmore")
    assert texts(read_events(tmp_path / "tensorboard" / "j"))["reason/text_summary"] == "ValueError: no such thing"


def test_absent_tensorboard_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"tracker must be one whose package is installed, got 'tensorboard'\. Try pip"
    ):
        TensorBoard()
