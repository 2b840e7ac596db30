"""Several processes on one cache, locks whose holder dies, and what is damaged on disk."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import save_file

from eif_lab.configs import CONF
from eif_lab.errors import ConfigError
from eif_lab.files.build_once import build_once
from eif_lab.files.checksums import SUMS, damage
from eif_lab.files.disk_errors import disk_errors
from eif_lab.files.locks import locked
from eif_lab.jobs.read import read_job
from eif_lab.jobs.run import run_job
from eif_lab.results.cache import ArrayCache
from eif_lab.results.checkpoint import checkpoint
from eif_lab.results.job import LOCK, exclusive, is_running
from eif_lab.results.sweep import open_results

forks = multiprocessing.get_context("fork")


def make_slowly(directory, log):
    """Note that something is made, and take a while."""

    def make(folder):
        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(0.3)
        (folder / "weights").write_text("1 2 3")
        return {"accuracy": 1.0}

    build_once(directory, make)


def measure_slowly(cache, key, log, make_influence):
    """What a job does with an array that it needs."""
    with checkpoint(cache, key):
        if cache.find(key) is None:
            with open(log, "a") as file:
                file.write("measured\n")
            time.sleep(0.3)
            cache.put(key, make_influence())


def all_at_once(target, *arguments, count=4):
    """Run it in so many processes at the same time."""
    processes = [forks.Process(target=target, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def test_a_model_that_several_processes_need_is_made_once(tmp_path):
    all_at_once(make_slowly, tmp_path / "model", tmp_path / "log")
    assert (tmp_path / "log").read_text() == "made\n"


def test_an_array_that_several_processes_need_is_measured_once(tmp_path, make_influence):
    all_at_once(measure_slowly, ArrayCache(tmp_path / "arrays"), "k", tmp_path / "log", make_influence)
    assert (tmp_path / "log").read_text() == "measured\n"


def hold(directory, told):
    """Run the job of a directory for ever."""
    with exclusive(directory):
        told.set()
        time.sleep(600)


def test_a_job_counts_as_running_as_long_as_its_process_lives(tmp_path):
    assert not is_running(tmp_path)
    told = forks.Event()
    process = forks.Process(target=hold, args=(tmp_path, told))
    process.start()
    assert told.wait(60) and is_running(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (tmp_path / LOCK).exists() and not is_running(tmp_path)
    with locked(tmp_path / LOCK, "runs this job"):  # at once: the lock died with its holder
        pass


@pytest.mark.parametrize("harm", ["altered", "truncated", "missing", "sums"])
def test_a_model_that_is_not_what_was_made_is_made_again(tmp_path, caplog, harm):
    make_slowly(tmp_path / "model", tmp_path / "log")
    weights, sums = tmp_path / "model" / "weights", tmp_path / "model" / SUMS
    if harm == "altered":
        weights.write_text("1 2 4")
    elif harm == "truncated":
        weights.write_text("1 2")
    else:
        (weights if harm == "missing" else sums).unlink()
    with caplog.at_level(logging.WARNING):
        make_slowly(tmp_path / "model", tmp_path / "log")
    assert len((tmp_path / "log").read_text().split()) == 2 and not damage(tmp_path / "model")
    assert "made again" in caplog.text and len(caplog.records) == 1


@pytest.mark.parametrize("harm", ["flipped bit", "truncated"])
def test_parts_are_believed_up_to_the_first_damaged_one(tmp_path, caplog, harm):
    cache = ArrayCache(tmp_path)
    written = [np.full((2, 1, 3, 1), float(number)) for number in range(3)]
    with checkpoint(cache, "k") as left:
        left.decide_once({"base_model": "a"}, lambda: {"steps": 1})
        for part in written:
            left.parts("stimuli").append(part)
    second = sorted((tmp_path / "k.partial" / "stimuli").iterdir())[1]
    content = bytearray(second.read_bytes())
    content[-40] ^= 1
    second.write_bytes(content if harm == "flipped bit" else content[:-9])
    with checkpoint(cache, "k") as left:
        [found] = left.parts("stimuli").whole
    assert np.array_equal(found, written[0]) and "damaged" in caplog.text


def test_parts_of_another_base_model_are_thrown_away(tmp_path):
    cache = ArrayCache(tmp_path)
    with checkpoint(cache, "k") as left:
        left.decide_once({"base_model": "a"}, lambda: {"steps": 1})
        left.parts("stimuli").append(np.zeros((1, 1, 1, 1)))
    with checkpoint(cache, "k") as left:
        assert left.decide_once({"base_model": "b"}, lambda: {"steps": 2}) == {"steps": 2}
        assert not left.parts("stimuli").whole


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_that_says_to_make_room(tmp_path, code):
    with pytest.raises(ConfigError, match=r"must have room, got .*Make room") as caught, disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(caught.value) and os.strerror(code) in str(caught.value)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_may_not_be_written_is_one_line_that_names_it_and_says_nothing_of_room(tmp_path, code):
    cache, job = tmp_path / "cache", tmp_path / "job"
    with pytest.raises(ConfigError) as caught, disk_errors(cache, job):
        raise OSError(code, os.strerror(code), str(cache / "influence" / "k.lock"))
    assert str(caught.value).startswith(f"{cache} must be yours to read and write, got ")
    assert "cache=..." in str(caught.value) and "room" not in str(caught.value)


# --- Several users --------------------------------------------------------------------------------------------------


@pytest.fixture
def shared():
    """A folder that every user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def umask():
    """Set the umask until the test is over."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def as_user(user, group, act, *arguments):
    """Do something as another user, in a process of its own; what that raises is printed and fails the test."""

    def run():
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        try:
            act(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    process = forks.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 0


def make_weights(folder):
    """A base model as models write theirs, and something that was made by way of `tempfile`."""
    save_file({"weight": torch.ones(2)}, folder / "model.safetensors")
    tempfile.mkdtemp(dir=folder)
    return {}


def fill(cache, influence):
    """All kinds of things that are kept."""
    build_once(cache / "models" / "cnn", make_weights)
    arrays = ArrayCache(cache / "influence")
    with checkpoint(arrays, "k") as left:
        assert len(left.run_id) == 8
        left.decide_once({}, dict)
        left.parts("stimuli").append(np.zeros((1, 1, 1, 1)))
        if arrays.find("k") is None:
            arrays.put("k", influence)
        return left


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_whatever_is_kept_has_the_rights_that_the_umask_gives(shared, umask, make_influence, mask):
    umask(mask)
    fill(shared / "cache", make_influence())
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in (shared / "cache").rglob("*")}
    assert any(path.name == "model.safetensors" for path in rights) and any(path.suffix == ".lock" for path in rights)
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~mask for path in rights}
    assert rights == wanted


def everything(folder):
    """All below a folder, with what would tell a write."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def find_all(cache, key):
    """What a job asks of a cache that has all that it needs."""
    build_once(cache / "models" / "cnn", make_weights)
    arrays = ArrayCache(cache / "influence")
    with checkpoint(arrays, key, needed=False) as left:
        assert arrays.find(key) is not None and len(left.run_id) == 8
        left.remove()


@pytest.mark.parametrize("leftover", [False, True], ids=["", "with what a killed job left"])
def test_a_hit_takes_no_lock_and_writes_nothing(shared, make_influence, leftover):
    left = fill(shared / "cache", make_influence())
    if not leftover:
        left.remove()
        (shared / "cache" / "influence" / "k.lock").unlink()
        (shared / "cache" / "models" / "cnn.lock").unlink()
        before = everything(shared)
        find_all(shared / "cache", "k")
        assert everything(shared) == before
    if os.geteuid() == 0:
        before = everything(shared)
        as_user(65534, 65534, find_all, shared / "cache", "k")
        assert everything(shared) == before


def test_a_hit_leaves_the_run_of_a_job_that_lives_alone(tmp_path, make_influence):
    cache = ArrayCache(tmp_path)
    with checkpoint(cache, "k") as one:
        run = one.run_id
        cache.put("k", make_influence())
        with checkpoint(cache, "k", needed=False) as other:
            assert other.run_id != run
            other.remove()
        assert one.folder.exists() and one.run_id == run
    with checkpoint(cache, "k", needed=False) as later:  # as if the first one had been killed before it cleared up
        assert later.run_id == run
        later.remove()
    assert not one.folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_two_users_of_a_group_both_add_to_one_cache(shared, umask, make_influence):
    umask(0o002)
    group = 4242
    os.chown(shared, 0, group)
    shared.chmod(0o2775)
    influence = make_influence()
    as_user(65533, group, fill, shared / "cache", influence)
    as_user(65534, group, fill, shared / "cache", influence)  # goes on with what the other began
    weights = shared / "cache" / "models" / "cnn" / "model.safetensors"
    weights.write_bytes(b"damaged")
    as_user(65534, group, fill, shared / "cache", influence)
    assert not damage(weights.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("model", ["cnn", "phi3"])
def test_a_job_whose_array_and_models_another_user_has_made_needs_no_right_to_write(shared, umask, model):
    umask(0o022)
    small = {
        "cnn": ["dataset.stimuli=6", "dataset.probes=6", "model.training.steps=2", "model.channels=[4]"],
        "phi3": ["dataset.worlds=2", "dataset.stimuli_per_world=2", "model.teaching.steps=1"],
    }[model] + (["model.minimum_background_accuracy=0"] if model == "phi3" else [])
    asked = [f"model={model}", *small, "update.learning_rate=0.01", "tracker=none", "desideratum=[symmetry]"]

    def run(directory, *more):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("config", [*asked, *more, f"cache={shared / 'cache'}"])
        config = OmegaConf.to_container(composed, resolve=True)
        run_job(read_job(config), config, directory, "sweep", [])

    run(shared / "mine")
    theirs = shared / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    before = everything(shared / "cache")
    as_user(65534, 65534, run, theirs / "job")
    assert everything(shared / "cache") == before
    assert open_results(theirs / "job").influence.identical(open_results(shared / "mine").influence)

    def refused():
        """The base model is there, but the array is not, and cannot be kept."""
        with pytest.raises(ConfigError, match=r"cache must be yours to read and write, got .*cache=\.\.\."):
            run(theirs / "other", "update.steps=2")

    as_user(65534, 65534, refused)
    assert everything(shared / "cache") == before
