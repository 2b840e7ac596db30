"""A job that is killed, at any moment, and given again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 50


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What came of the jobs that were killed: see ``killed_jobs.py``."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no os.fork, and a new process for each attempt would take too long")
    script = Path(__file__).with_name("killed_jobs.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path_factory.mktemp("killed"), "0", str(KILLS)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_job_killed_at_any_moment_ends_bit_for_bit_as_if_it_had_not_been(killed):
    assert killed["killed"] >= KILLS
    assert all(job["equal"] for job in killed["jobs"])


def test_the_trackers_run_is_gone_on_with_and_not_doubled(killed):
    for job in killed["jobs"]:
        assert len({one["run"] for one in job["noted"] if "run" in one}) == 1
        assert job["noted"][-1].get("code") == 0 and any("finished" in one for one in job["noted"])


def test_whole_chunks_are_not_measured_twice(killed):
    several = [job for job in killed["jobs"] if job["attempts"] > 1]
    assert several
    for job in several:
        done = [one["done"] for one in job["noted"] if "done" in one]
        assert done == sorted(done)


def test_nothing_half_made_is_left(killed):
    assert not any(job["left"] for job in killed["jobs"])


def test_what_a_job_left_that_was_killed_after_it_was_done_is_cleared_by_the_next_one(killed):
    cleared = killed["cleared"]
    assert cleared["killed"] and cleared["done"]
    before, after = cleared["left"]
    assert any(name.endswith(".partial") for name in before) and after == []
    assert not any("run" in one for one in cleared["noted"])  # it was found to be done, and no tracker told again
