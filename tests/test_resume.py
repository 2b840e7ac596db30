"""Jobs that are killed or interrupted, at any moment, and given again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 50


def output_of(script, folder, *arguments):
    """What a script of attempts says came of them."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no os.fork, and a new process for each attempt would take too long")
    command = [sys.executable, Path(__file__).with_name(script), folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What came of the jobs that were killed: see ``killed_jobs.py``."""
    return output_of("killed_jobs.py", tmp_path_factory.mktemp("killed"), "0", str(KILLS))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """What came of the sweeps that were interrupted: see ``interrupted_jobs.py``."""
    return output_of("interrupted_jobs.py", tmp_path_factory.mktemp("interrupted"))


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


def test_ctrl_c_at_any_moment_and_again_ends_with_one_word_and_code_130(interrupted):
    for one in interrupted["attempts"]:
        if one["code"] == 0:  # it came too late
            assert one["when"].startswith("after") and one["out"].splitlines()[-1].startswith("results: ")
        elif one["code"] != -signal.SIGINT:  # in the last instant, when all was written and Python itself had ended
            assert (one["code"], one["err"]) == (130, "interrupted\n"), one
        assert "Traceback" not in one["out"] + one["err"], one
    assert sum(one["code"] == 130 for one in interrupted["attempts"]) >= 15


def test_an_interrupted_job_is_not_recorded_as_failed_and_the_table_has_those_that_were_done(interrupted):
    for one in interrupted["attempts"]:
        assert set(one["statuses"]) <= {"done"}, one
        begun = "Launching" in one["out"]
        assert ("results: " in one["out"]) == (begun and bool(one["statuses"])), one
    assert any(one["statuses"] == ["done"] for one in interrupted["attempts"])


def test_an_interrupted_sweep_given_again_ends_bit_for_bit_as_if_it_had_not_been(interrupted):
    assert len(interrupted["equal"]) == 2 and all(interrupted["equal"])


def test_a_machine_that_is_taken_away_is_an_interruption_with_its_own_exit_code(interrupted):
    one = interrupted["terminated"]
    assert (one["code"], one["err"]) == (143, "interrupted\n"), one


SENDS = """
import os, runpy, signal, sys

_, command, awaited, *arguments = sys.argv

class Finder:
    def find_spec(self, name, *_):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = [command, *arguments]
runpy.run_module(command, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("command", "imported"),
    [
        ("eif_lab tracker=none", "omegaconf"),
        ("eif_lab plan=true", "torch"),
        ("eif_lab --help", "eif_lab.commands.help"),
        ("eif_lab report .", "numpy"),
        ("eif_lab status .", "rich.table"),
        ("eif_lab figures symmetry .", "numpy"),
        ("eif_lab claims .", "numpy"),
        ("eif_lab array . array.png", "numpy"),
        ("eif_lab power", "numpy"),
        ("eif_lab workspace --entity=me --print", "numpy"),
        ("eif_lab pretrain --output=here", "torch"),
    ],
)
def test_ctrl_c_while_a_command_imports_what_it_needs_is_one_word(tmp_path, command, imported):
    name, *arguments = command.split()
    given = [sys.executable, "-c", SENDS, name, imported, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(given, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, "interrupted\n"), done


def test_ctrl_c_within_a_destructor_is_not_lost(tmp_path):
    """From there Python can raise nothing: it would print a traceback and go on."""
    (tmp_path / "deaf.py").write_text(
        "import os, signal, time\n"
        "class Deaf:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "def main():\n"
        "    Deaf()\n"
        "    for _ in range(100):\n"
        "        time.sleep(0.1)\n"
    )
    code = "from eif_lab.commands.interruption import run; run('deaf')"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_what_a_job_left_that_was_killed_after_it_was_done_is_cleared_by_the_next_one(killed):
    cleared = killed["cleared"]
    assert cleared["killed"] and cleared["done"]
    before, after = cleared["left"]
    assert any(name.endswith(".partial") for name in before) and after == []
    assert not any("run" in one for one in cleared["noted"])  # it was found to be done, and no tracker told again
