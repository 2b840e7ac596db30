"""Several processes on one cache, locks whose holder dies, and what is damaged on disk."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from eif_lab.data.checksums import SUMS, damage
from eif_lab.data.once import locked, made_once
from eif_lab.pipeline import disk_trouble
from eif_lab.results.store import LOCK, ArrayCache, is_running, sole
from eif_lab.results.unfinished import unfinished
from eif_lab.schema import ConfigError

forks = multiprocessing.get_context("fork")


def make_slowly(directory, log):
    """Note that something is made, and take a while."""

    def make(folder):
        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(0.3)
        (folder / "weights").write_text("1 2 3")
        return {"accuracy": 1.0}

    made_once(directory, make)


def measure_slowly(cache, key, log, make_influence):
    """What a job does with an array that it needs."""
    with unfinished(cache, key):
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
    with sole(directory):
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
    with unfinished(cache, "k") as left:
        left.settle({"base_model": "a"}, lambda: {"steps": 1})
        for part in written:
            left.parts("stimuli").append(part)
    second = sorted((tmp_path / "k.partial" / "stimuli").iterdir())[1]
    content = bytearray(second.read_bytes())
    content[-40] ^= 1
    second.write_bytes(content if harm == "flipped bit" else content[:-9])
    with unfinished(cache, "k") as left:
        [found] = left.parts("stimuli").whole
    assert np.array_equal(found, written[0]) and "damaged" in caplog.text


def test_parts_of_another_base_model_are_thrown_away(tmp_path):
    cache = ArrayCache(tmp_path)
    with unfinished(cache, "k") as left:
        left.settle({"base_model": "a"}, lambda: {"steps": 1})
        left.parts("stimuli").append(np.zeros((1, 1, 1, 1)))
    with unfinished(cache, "k") as left:
        assert left.settle({"base_model": "b"}, lambda: {"steps": 2}) == {"steps": 2}
        assert not left.parts("stimuli").whole


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_is_one_line(tmp_path, code):
    with pytest.raises(ConfigError, match=r"must be writable, got .*Make room") as told, disk_trouble(tmp_path):
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(told.value) and os.strerror(code) in str(told.value)
