import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections import OrderedDict
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eif_lab.commands.sweep import sweep_table
from eif_lab.console.tables import page, print_sweep
from eif_lab.errors import ConfigError
from eif_lab.files.checksums import SUMS
from eif_lab.results import arrays
from eif_lab.results.arrays import CHUNK_BYTES, open_array, write_array
from eif_lab.results.cache import ArrayCache, array_key
from eif_lab.results.job import JobResults, finished_job, open_job, write_job
from eif_lab.results.manifest import FORMAT
from eif_lab.results.provenance import git_state, package_versions, provenance
from eif_lab.results.rows import verdict_frame
from eif_lab.results.sweep import SweepResults, open_results, write_sweep

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREES = st.dictionaries(
    st.text(), st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), max_size=4
)


def test_written_array_reads_back_identical_without_a_warning(tmp_path, make_influence):
    influence = make_influence()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_array(tmp_path / "a.zarr", influence)
        found = open_array(tmp_path / "a.zarr").load()
    xr.testing.assert_identical(found, influence)
    assert found.values.tobytes() == influence.values.tobytes()
    assert {name: str(c.dtype) for name, c in found.coords.items()} == {
        name: str(c.dtype) for name, c in influence.coords.items()
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf])
def test_constant_array_keeps_its_bits(tmp_path, make_influence, value, dtype):
    influence = xr.full_like(make_influence(), value, dtype=dtype)
    write_array(tmp_path / "a.zarr", influence)
    found = open_array(tmp_path / "a.zarr")
    assert found.dtype == influence.dtype
    assert found.values.tobytes() == influence.values.tobytes()


def test_array_read_from_disk_can_be_written_again(tmp_path, make_influence):
    write_array(tmp_path / "a.zarr", make_influence())
    write_array(tmp_path / "b.zarr", open_array(tmp_path / "a.zarr").isel(stimulus=slice(0, 4)))
    xr.testing.assert_identical(open_array(tmp_path / "b.zarr").load(), make_influence().isel(stimulus=slice(0, 4)))


def test_large_array_is_cut_between_stimuli_only(tmp_path, monkeypatch, make_influence):
    influence = make_influence(stimuli=10)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 3 * influence.isel(stimulus=0).nbytes)
    write_array(tmp_path / "a.zarr", influence)
    grid = json.loads((tmp_path / "a.zarr" / "influence" / "zarr.json").read_text())["chunk_grid"]
    assert grid["configuration"]["chunk_shape"] == [2, 3, 2, 8, 2]
    xr.testing.assert_identical(open_array(tmp_path / "a.zarr").load(), influence)
    assert CHUNK_BYTES <= 16 * 2**20


def test_nothing_is_pickled(tmp_path, make_influence):
    write_array(tmp_path / "a.zarr", make_influence())
    kinds = {json.loads(f.read_text()).get("data_type") for f in (tmp_path / "a.zarr").glob("*/zarr.json")}
    assert kinds == {"float64", "int64", "string"}


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_key_ignores_the_order_of_names(tree):
    backwards = OrderedDict(reversed(tree.items()))
    assert array_key(backwards) == array_key(tree)
    assert re.fullmatch("[0-9a-f]{16}", array_key(tree))


@settings(max_examples=40, deadline=None)
@given(TREES, TREES)
def test_keys_agree_exactly_where_the_json_does(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (array_key(one) == array_key(other)) == same


def test_key_changes_with_any_value_name_or_kind_of_number():
    trees = [
        {"steps": 1, "update": {"rate": 0.1}},
        {"steps": 2, "update": {"rate": 0.1}},
        {"steps": 1.0, "update": {"rate": 0.1}},
        {"steps": True, "update": {"rate": 0.1}},
        {"steps": "1", "update": {"rate": 0.1}},
        {"steps": None, "update": {"rate": 0.1}},
        {"step": 1, "update": {"rate": 0.1}},
        {"steps": 1, "update": {"rate": float(np.nextafter(0.1, 1))}},
        {"steps": 1, "update": {"rate": [0.1]}},
        {"steps": 1, "rate": 0.1},
    ]
    assert len({array_key(tree) for tree in trees}) == len(trees)


@pytest.mark.parametrize(
    "foreign", [np.int64(3), np.zeros(2), Path("a"), {1, 2}, b"x", float("nan"), float("inf"), Enum("E", "A").A]
)
def test_key_refuses_what_json_cannot_hold_and_says_where(foreign):
    with pytest.raises(TypeError, match=re.escape("determinants.update[1].x")):
        array_key({"update": [0, {"x": foreign}]})
    with pytest.raises(TypeError, match=r"determinants\.update must have text as keys, got 3"):
        array_key({"update": {3: 1}})


def test_cache_finds_what_was_put_and_nothing_else(tmp_path, make_influence):
    cache = ArrayCache(tmp_path / "cache")
    assert cache.find("k") is None
    cache.put("k", make_influence())
    xr.testing.assert_identical(cache.find("k"), make_influence())
    assert cache.find("other") is None
    assert [p.name for p in cache.root.iterdir()] == ["k"]


def test_second_put_keeps_the_array_that_stands_there(tmp_path, make_influence):
    cache = ArrayCache(tmp_path)
    cache.put("k", make_influence(random=1))
    cache.put("k", make_influence(random=2))
    xr.testing.assert_identical(cache.find("k"), make_influence(random=1))


def data_chunk(root):
    return max((f for f in root.rglob("*") if f.is_file() and "/influence/c/" in f.as_posix()), key=str)


@pytest.mark.parametrize("harm", ["truncated", "altered", "missing", "metadata", "checksum"])
def test_damaged_entry_is_absent_with_one_line_and_can_be_put_again(tmp_path, make_influence, caplog, harm):
    cache = ArrayCache(tmp_path)
    cache.put("k", make_influence())
    chunk = data_chunk(tmp_path / "k")
    if harm == "truncated":
        chunk.write_bytes(chunk.read_bytes()[:-7])
    elif harm == "altered":
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
    elif harm == "missing":
        chunk.unlink()
    elif harm == "metadata":
        file = tmp_path / "k" / "influence.zarr" / "influence" / "zarr.json"
        file.write_text(file.read_text().replace("after minus before", "before minus after"))
    else:
        (tmp_path / "k" / SUMS).unlink()
    with caplog.at_level(logging.WARNING):
        assert cache.find("k") is None
    assert len(caplog.records) == 1 and str(tmp_path / "k") in caplog.text
    cache.put("k", make_influence())
    xr.testing.assert_identical(cache.find("k"), make_influence())
    assert [p.name for p in tmp_path.iterdir()] == ["k"]


def test_interrupted_put_leaves_nothing(tmp_path, make_influence, monkeypatch):
    cache = ArrayCache(tmp_path)

    def interrupt(path):
        assert data_chunk(path).stat().st_size  # the array is all there: only the last step is missing
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("eif_lab.results.cache.write_sums", interrupt)
        cache.put("k", make_influence())
    assert list(tmp_path.iterdir()) == []
    assert cache.find("k") is None


KILLED = """
import os, sys, xarray as xr
from eif_lab.results import cache
cache.write_sums = lambda path: os._exit(9)
array = xr.DataArray([[[[[1.0]]]]], dims=("seed", "stimulus", "step", "probe", "readout"))
cache.ArrayCache(sys.argv[1]).put("k", array)
"""


def test_killed_put_is_not_found(tmp_path, make_influence):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == 9
    cache = ArrayCache(tmp_path)
    assert cache.find("k") is None
    cache.put("k", make_influence())
    xr.testing.assert_identical(cache.find("k"), make_influence())


RACER = """
import sys, numpy as np, xarray as xr
from eif_lab.results.cache import ArrayCache
root, value = sys.argv[1], float(sys.argv[2])
array = xr.DataArray(np.full((1, 50, 1, 50, 1), value), dims=("seed", "stimulus", "step", "probe", "readout"))
print("ready", flush=True)
sys.stdin.readline()
for k in range(8):
    ArrayCache(root).put(f"k{k}", array)
"""


def test_concurrent_puts_leave_one_valid_array(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), value],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for value in ("1", "2")
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=60)
        assert racer.returncode == 0
    cache = ArrayCache(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"k{k}" for k in range(8))
    for k in range(8):
        values = np.unique(cache.find(f"k{k}"))
        assert values.size == 1 and values[0] in (1.0, 2.0)


def test_two_processes_repair_one_damaged_entry(tmp_path, make_influence):
    cache = ArrayCache(tmp_path)
    cache.put("k", make_influence())
    data_chunk(tmp_path / "k").write_bytes(b"")
    late = ArrayCache(tmp_path)
    late._discard(tmp_path / "k")  # another process was quicker
    cache._discard(tmp_path / "k")
    cache.put("k", make_influence())
    late.put("k", make_influence(random=1))
    xr.testing.assert_identical(cache.find("k"), make_influence())


def test_unwritable_cache_raises(tmp_path, make_influence):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        ArrayCache(tmp_path / "file").put("k", make_influence())
    (tmp_path / "k").write_text("no folder")
    with pytest.raises(OSError):
        ArrayCache(tmp_path).put("k", make_influence())


def manifest(name="job", status="done", **more):
    return {"name": name, "status": status, **more}


def test_job_reads_back_what_was_written(tmp_path, make_influence, make_verdict):
    verdicts = [
        make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01), (0.05, 0.0, 0.2, 0.2)),
        make_verdict("sparsity", (np.nan, np.nan, np.nan, np.nan), note="about nothing"),
    ]
    absent = {"noise_invariance": "perturbation must be noise"}
    given = manifest(
        config={"a": {"b": [1, 2.5, None]}}, overrides=["a.b=1"], seeds=[0, 1], direct_influence=np.float32(0.5)
    )
    write_job(tmp_path / "job", given, make_influence(), verdicts, absent)
    job = open_results(tmp_path / "job")
    assert isinstance(job, JobResults)
    xr.testing.assert_identical(job.influence.load(), make_influence())
    pd.testing.assert_frame_equal(job.verdicts, verdict_frame(verdicts, absent))
    assert {name: job.manifest[name] for name in given if name != "direct_influence"} == {
        name: value for name, value in given.items() if name != "direct_influence"
    }
    assert job.manifest.direct_influence.effect == 0.5
    required = (
        "reason git_commit git_dirty versions python platform device base_model trained_parameters seconds created"
    )
    assert set(required.split()) <= set(job.manifest)


def test_influence_is_read_when_asked_for_and_needs_no_dask(tmp_path, make_influence):
    write_job(tmp_path / "job", manifest(), make_influence(), [], {})
    job = open_results(str(tmp_path / "job"))
    first = job.influence.isel(stimulus=0).values
    assert np.array_equal(first, make_influence().isel(stimulus=0).values)
    assert job.influence.chunks is None
    chunk = data_chunk(tmp_path / "job")
    lazily = open_results(tmp_path / "job").influence
    chunk.write_bytes(b"no zstd")
    with pytest.raises(Exception):  # noqa: B017 - whatever the codec raises: the chunk was not read before
        lazily.load()


def test_manifest_is_strict_json(tmp_path):
    write_job(tmp_path / "job", manifest(direct_influence=float("nan"), path=tmp_path), None, [], {})

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    record = json.loads((tmp_path / "job" / "manifest.json").read_text(), parse_constant=refuse)
    assert record["direct_influence"] is None and record["path"] == str(tmp_path)


def test_job_cut_off_before_its_manifest_is_not_done(tmp_path, make_influence, make_verdict, monkeypatch):
    write_job(tmp_path / "job", manifest(), make_influence(), [], {})

    def interrupt(self, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pd.DataFrame, "to_parquet", interrupt)
        write_job(tmp_path / "job", manifest(), make_influence(random=1), [make_verdict("symmetry", (1, 1, 1, 0))], {})
    with pytest.raises(ConfigError, match="results path must be a job"):
        open_results(tmp_path / "job")
    write_job(tmp_path / "job", manifest(), make_influence(random=1), [], {})
    xr.testing.assert_identical(open_results(tmp_path / "job").influence.load(), make_influence(random=1))


def test_job_that_failed_leaves_no_array_of_an_earlier_try(tmp_path, make_influence):
    write_job(tmp_path / "job", manifest(), make_influence(), [], {})
    write_job(tmp_path / "job", manifest(status="failed", reason="RuntimeError: out of memory"), None, [], {})
    job = open_results(tmp_path / "job")
    assert len(job.verdicts) == 0 and list(job.verdicts) == list(verdict_frame([], {}))
    with pytest.raises(ConfigError, match=r"must hold influence.zarr.*failed RuntimeError: out of memory"):
        _ = job.influence


@pytest.mark.parametrize("wrong", [{}, {"name": "a"}, {"name": "a", "status": "ok"}, {"name": "", "status": "done"}])
def test_manifest_without_name_or_status_is_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ValueError, match="a manifest needs a name and a status"):
        write_job(tmp_path / "job", wrong, None, [], {})
    assert not (tmp_path / "job").exists()


def test_sweep_is_the_jobs_below_at_any_depth_and_nothing_in_them_or_hidden(tmp_path, make_influence):
    for name, place in (("b", "models/b/0"), ("a", "dir_a"), ("copy", "dir_a/old"), ("hidden", ".kept/0")):
        write_job(tmp_path / place, manifest(name), make_influence() if name == "a" else None, [], {})
    (tmp_path / "half_done").mkdir()
    (tmp_path / "models" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "dir_a")
    sweep = open_results(tmp_path)
    assert isinstance(sweep, SweepResults)
    assert [job.manifest["name"] for job in sweep.jobs] == ["a", "b"]


def test_path_that_is_no_result_is_one_clear_line(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"results path must be a job .* or a sweep .*, got '.*'\. Give"):
            open_results(path)


def test_result_of_a_newer_format_is_refused(tmp_path):
    write_job(tmp_path / "job", manifest(format=FORMAT + 1), None, [], {})
    told = rf"format must be at most {FORMAT}, got {FORMAT + 1}\. Upgrade eif_lab\."
    for path in (tmp_path, tmp_path / "job"):
        with pytest.raises(ConfigError, match=told):
            open_results(path)


def test_every_flipped_bit_of_a_manifest_is_told(tmp_path, make_influence):
    write_job(tmp_path, {**manifest(), "config": {"seed": 1, "digest": ""}, "array": "k"}, make_influence(), [], {})
    assert finished_job(tmp_path, {"seed": 1, "digest": ""}, "k") is not None
    file = tmp_path / "manifest.json"
    content = file.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            with pytest.raises(ConfigError, match="manifest"):
                open_results(tmp_path)


def test_a_manifest_from_before_there_were_digests_is_opened_but_its_job_is_not_believed_to_be_done(
    tmp_path, make_influence
):
    write_job(tmp_path, {**manifest(), "config": {}, "array": "k"}, make_influence(), [], {})
    told = json.loads((tmp_path / "manifest.json").read_text())
    old = {name: value for name, value in told.items() if name != "digest"} | {"format": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    assert open_results(tmp_path).manifest["status"] == "done"
    assert finished_job(tmp_path, told["config"], "k") is None


def test_a_job_is_finished_only_for_the_array_config_and_packages_that_it_has(tmp_path, make_influence, monkeypatch):
    write_job(tmp_path, {**manifest(), "config": {"seed": 1}, "array": "k"}, make_influence(), [], {})
    assert finished_job(tmp_path, {"seed": 1}, "k") is not None
    assert finished_job(tmp_path, {"seed": 1}, "another key") is None
    assert finished_job(tmp_path, {"seed": 2}, "k") is None
    monkeypatch.setattr("eif_lab.results.job.package_versions", lambda: {"torch": "0"})
    assert finished_job(tmp_path, {"seed": 1}, "k") is None


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_broken_manifest_is_one_clear_line(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=r"manifest.json must be a job's manifest.* Run the job again\."):
        open_results(tmp_path)


def test_provenance_tells_the_versions_that_are_loaded():
    versions = package_versions()
    assert versions["xarray"] == xr.__version__
    assert {"torch", "zarr", "wandb", "hydra-core"} <= set(versions)
    assert "ruff" not in versions  # development tools do not decide a result


def test_provenance_is_found_out_once_for_all_jobs_of_a_process(monkeypatch):
    first = provenance()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("git was asked again"))
    monkeypatch.setattr("importlib.metadata.version", lambda _: pytest.fail("a package was looked up again"))
    first["versions"].clear()
    assert provenance()["versions"] and provenance()["git_commit"] == first["git_commit"]


def git(directory, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(["git", "-C", directory, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_git_state_is_that_of_the_code_and_not_of_the_folder_around_it(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    unknown = {"git_commit": None, "git_dirty": None}
    assert git_state(code) == unknown
    git(tmp_path, "init", "-q")
    (tmp_path / "other.txt").write_text("x")
    (tmp_path / ".gitignore").write_text("installed/\n")
    (code / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    assert git_state(code) == unknown  # no commit yet
    git(tmp_path, "commit", "-q", "-m", "m")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(code) == {"git_commit": commit, "git_dirty": False}
    (tmp_path / "other.txt").write_text("y")
    assert git_state(code) == {"git_commit": commit, "git_dirty": True}
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "a.py").write_text("1")
    assert git_state(tmp_path / "installed") == unknown


def test_what_a_killed_process_left_of_a_file_is_cleared_by_who_writes_it_next(tmp_path, make_influence):
    cut_off = [tmp_path / "job" / f".manifest.json.{'0' * 32}", tmp_path / f".sweep.parquet.{'a' * 32}"]
    kept = tmp_path / "job" / ".manifest.json.mine"
    kept.parent.mkdir()
    for path in [*cut_off, kept]:
        path.write_text("half")
    write_job(tmp_path / "job", {"name": "j", "status": "done"}, make_influence(), [], {})
    write_sweep(tmp_path)
    assert not any(path.exists() for path in cut_off) and kept.exists()


def test_fields_of_a_manifest_are_attributes_and_what_else_is_stored_can_be_looked_up(tmp_path):
    more = {"base_model": {"name": "cnn", "accuracy": 0.5}, "word_overlap": 0.25, "update": None}
    write_job(tmp_path, manifest(**more), None, [], {})
    told = open_results(tmp_path).manifest
    assert (told.base_model.name, told.base_model["accuracy"], told["word_overlap"]) == ("cnn", 0.5, 0.25)
    assert told.update.optimizer is None and told.direct_influence.effect is None and told.overrides == []
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert set(stored) == set(told) and list(stored)[-1] == "digest" and stored["base_model"] == more["base_model"]


def test_a_manifest_of_the_first_format_is_opened_with_a_plain_number_for_direct_influence(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 1, "name": "j", "status": "done", "direct_influence": 1.5}')
    job = open_job(tmp_path)
    assert job.manifest.direct_influence.effect == 1.5 and job.sums is None


DAMAGES = {
    "a manifest cut off": ("manifest.json", b"{", "must be a job's manifest"),
    "a manifest of a newer version": ("manifest.json", b'{"format": 99}', "Upgrade eif_lab"),
    "verdicts that are none": ("verdicts.parquet", b"PAR1", "got damage"),
    "checksums that are others": ("checksums.txt", b"", "got damage"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_job_that_cannot_be_read_hides_no_other_of_its_sweep(tmp_path, make_influence, make_verdict, damage):
    for name in ("a", "b"):
        verdicts = [make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01))]
        write_job(tmp_path / name, manifest(name), make_influence(), verdicts, {})
    file, content, why = DAMAGES[damage]
    (tmp_path / "b" / file).write_bytes(content)
    sweep = open_results(tmp_path)
    assert [(job.manifest.name, job.manifest.status) for job in sweep.jobs] == [("a", "done"), ("b", "unreadable")]
    assert why in sweep.jobs[1].manifest.reason and not sweep.jobs[1].has_array
    table = write_sweep(tmp_path)
    assert list(table["status"]) == ["done", "unreadable"] and why in table["reason"].iloc[1]
    out = io.StringIO()
    print_sweep(table, page(out))
    assert "unreadable" in out.getvalue() and why.split()[0] in out.getvalue()
    with pytest.raises(ConfigError, match=r"must hold influence\.zarr"):
        _ = sweep.jobs[1].influence
    assert sweep_table(tmp_path) == 1, "the exit code of a sweep with a job that cannot be read"


def test_a_sweep_of_which_no_job_can_be_read_is_refused_in_the_line_of_the_first(tmp_path):
    for name in ("a", "b"):
        write_job(tmp_path / name, manifest(name), None, [], {})
        (tmp_path / name / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"a/manifest\.json must be a job's manifest"):
        open_results(tmp_path)
