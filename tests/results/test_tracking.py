import json
import logging
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import wandb
import yaml
from omegaconf import OmegaConf

from eif_lab.results.store import write_job
from eif_lab.results.summary import relation_means
from eif_lab.results.trackers.none import NoTracker
from eif_lab.results.trackers.wandb import Wandb
from eif_lab.schema import ConfigError

CONF = Path(__file__).parents[2] / "conf" / "tracker"


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """No key, no mode, and W&B's own folders below the test's."""
    for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "ENTITY", "RUN_GROUP", "TAGS", "NAME"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb_home" / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def inspect(file, *options):
    """What W&B's own reader says about an offline run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_summary(file):
    return json.loads(inspect(file, "--summary"))


def read_records(file):
    return [json.loads(line) for line in inspect(file).splitlines()]


def run_files(directory):
    return sorted(Path(directory).glob("wandb/offline-run-*/*.wandb"))


def arguments(directory, name="model=cnn,method=lora", **config):
    return {"name": name, "group": "sweep 1", "tags": ["cnn"], "config": config, "directory": Path(directory)}


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
            with tracker.start(
                name=name, group="sweep 1", tags=[model, "mine"], config=configs[name], directory=directory
            ) as run:
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
        run.finish(influence, verdicts, {"direct_influence": 1.25, "pairs_per_second": 7.0})
    summary = read_summary(*run_files(tmp_path))["summary"]
    assert summary["verdict/symmetry"] == "satisfied" and summary["verdict/sparsity"] == "inconclusive"
    assert summary["effect/symmetry"] == 0.5
    assert summary["direct_influence"] == 1.25 and summary["pairs_per_second"] == 7.0

    assert summary["influence"]["_type"] == "image-file" and "log_prob [nat]" in summary["influence"]["caption"]
    rows = read_table(tmp_path, summary["mean_by_relation"])
    reference = relation_means(influence)
    assert [row["relation"] for row in rows] == reference["relation"].tolist()
    assert [row["mean"] for row in rows] == pytest.approx(reference["mean"].tolist())
    assert len(read_table(tmp_path, summary["mean_by_class"])) == 2 * 3 * 2
    rows = read_table(tmp_path, summary["verdicts"])
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
        run.finish(make_influence(), [], {"direct_influence": 1.0})  # nothing was written to the job's directory
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

    def run(directory, environment, **options):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()
        caplog.clear()
        with Wandb(**options).start(**arguments(directory, name="j", a=1)) as run:
            run.progress(1, 2, 1.0, {})
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
from eif_lab.results.store import open_results, write_job
from eif_lab.results.table import print_job
from eif_lab.results.trackers.none import NoTracker
import eif_lab.results.trackers.wandb
directory = Path(sys.argv[1])
array = xr.DataArray(np.ones((1, 2, 1, 2, 1)), dims=("seed", "stimulus", "step", "probe", "readout"))
with NoTracker().start(name="j", group="g", tags=[], config={}, directory=directory) as run:
    run.progress(1, 2, 1.0, {})
    write_job(directory, {"name": "j", "status": "done"}, array, [], {})
    run.finish(array, [], {})
print_job(open_results(directory))
assert "wandb" not in sys.modules
"""

LIGHT = """
import sys
import eif_lab.results.trackers.none, eif_lab.results.trackers.wandb
heavy = {"torch", "pandas", "xarray", "scipy", "wandb", "rich"} & set(sys.modules)
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


@pytest.mark.parametrize(("name", "options"), [("wandb", Wandb), ("none", NoTracker)])
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
    ],
)
def test_wrong_option_is_one_clear_line(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Wandb(**wrong)
