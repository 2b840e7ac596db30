"""``eif-lab status``: where each job of a sweep is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from eif_lab.commands.status import main
from eif_lab.results.job import exclusive, write_job

OVERRIDES = ["method=lora", "method=full", "method=adapter", "method=ia3", "method=prompt"]


@pytest.fixture
def sweep(tmp_path):
    """A sweep of six jobs, of which five have begun."""
    sweeper = "sweeper: {_target_: a.BasicSweeper, params: null}"
    text = f"hydra: {{{sweeper}, overrides: {{task: ['seed=3', 'method=%s,peft'], hydra: []}}}}\n"
    (tmp_path / "multirun.yaml").write_text(text % ",".join(one.split("=")[1] for one in OVERRIDES))
    for number, override in enumerate(OVERRIDES):
        (tmp_path / str(number) / ".hydra").mkdir(parents=True)
        (tmp_path / str(number) / ".hydra" / "overrides.yaml").write_text(f"- seed=3\n- {override}\n")
    ends = {0: "done", 1: "failed", 4: "not applicable"}
    for number, status in ends.items():
        reason = "" if status == "done" else f"because of {number}"
        write_job(tmp_path / str(number), {"name": str(number), "status": status, "reason": reason}, None, [], {})
    return tmp_path


def rows(capsys):
    """Each printed line's words."""
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_every_job_of_a_sweep_is_told_with_where_it_is(sweep, capsys):
    with exclusive(sweep / "2"):
        assert main([str(sweep)]) == 0
    told = rows(capsys)
    assert ["0", "done", "method=lora"] in told
    assert ["1", "failed", "method=full", "because", "of", "1"] in told
    assert ["2", "running", "method=adapter"] in told
    assert ["3", "left", "method=ia3", "interrupted"] in told
    assert ["4", "not", "applicable", "method=prompt", "because", "of", "4"] in told
    assert ["left", "method=peft", "not", "begun"] in told
    assert ["1", "done", "1", "failed", "1", "not", "applicable", "1", "running", "2", "left"] in told
    assert any(line[:2] == ["go", "on:"] for line in told)
    assert all(len(" ".join(line)) <= 100 for line in told if line[:1] != ["go"])


def test_a_job_is_told_by_its_place_at_any_depth(sweep, capsys):
    for number in range(len(OVERRIDES)):
        (sweep / "models" / str(number)).mkdir(parents=True)
        (sweep / str(number)).rename(sweep / "models" / str(number) / "at")
    assert main([str(sweep)]) == 0
    told = rows(capsys)
    assert ["models/0/at", "done", "method=lora"] in told and [
        "models/3/at",
        "left",
        "method=ia3",
        "interrupted",
    ] in told
    assert ["left", "method=peft", "not", "begun"] in told


def test_a_job_whose_process_died_is_not_running(sweep, capsys):
    with exclusive(sweep / "2"):
        pass
    assert main([str(sweep)]) == 0
    assert ["2", "left", "method=adapter", "interrupted"] in rows(capsys)


def test_a_folder_that_is_no_sweep_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith("sweep must be a sweep") and "\n" not in printed


@pytest.mark.parametrize("text", ["", "~", "3", "{a: 1}"])
def test_damaged_overrides_cost_no_job_its_line(sweep, capsys, text):
    for number in "12":
        (sweep / number / ".hydra" / "overrides.yaml").write_text(text)
    assert main([str(sweep)]) == 0
    told = rows(capsys)
    assert {("1", "failed"), ("2", "left")} <= {tuple(line[:2]) for line in told}


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")
def test_a_sweep_of_another_user_is_told_and_stays_as_it_is(sweep):
    """Its folders may be read and not written, and one of its jobs is at work."""
    for folder in (sweep, *(one for one in sweep.parents if one != one.parent and "pytest" in str(one))):
        folder.chmod(0o755)
    before = sorted(sweep.rglob("*"))
    code = "\n".join(
        [
            "import os, sys",
            "from eif_lab.commands.status import main",
            "main(sys.argv[1:])",  # imports what may be out of the other user's reach
            "os.setuid(65534)",
            "print('as another user')",
            "sys.exit(main(sys.argv[1:]))",
        ]
    )
    with exclusive(sweep / "2"):
        ended = subprocess.run([sys.executable, "-c", code, str(sweep)], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = [line.split() for line in ended.stdout.partition("as another user")[2].splitlines()]
    assert ["2", "running", "method=adapter"] in told and ["0", "done", "method=lora"] in told
    assert [path for path in sorted(sweep.rglob("*")) if path.name != "job.lock"] == before
