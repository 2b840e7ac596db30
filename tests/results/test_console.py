"""The console while jobs run, before a terminal and without one."""

from __future__ import annotations

import io
import logging
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from eif_lab.console.progress import duration
from eif_lab.console.tables import WIDTH, page, print_finished
from eif_lab.jobs import measure as measuring
from eif_lab.results.checkpoint import Parts
from eif_lab.results.job import write_job
from eif_lab.results.sweep import open_results
from eif_lab.results.trackers.none import SilentRun


class Screen(io.StringIO):
    """What stands for the console's file."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def screen(monkeypatch):
    """Puts a console in the place of the process's own, and lets two seconds pass between looks at the clock."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))

    def put(terminal, columns=100):
        monkeypatch.setenv("COLUMNS", str(columns))
        made = Screen(terminal)
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return put


class Recorded(SilentRun):
    def __init__(self):
        self.points = []

    def progress(self, *point):
        self.points.append(point)


@pytest.fixture
def parts(tmp_path):
    """Where nothing was measured before."""
    return Parts(tmp_path / "stimuli")


def measure(run, parts, *chunks, total=40):
    with measuring.PartHandler(run, total, parts) as live:
        for stimuli in chunks:
            live(np.ones((stimuli, 1, 3, 1)))


def frames(screen):
    """The lines that were drawn one over the other, without the terminal's own codes."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    return [" ".join(re.sub("[━╸╺]+", "", line).split()) for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_terminal_shows_stimuli_per_second_and_time_left(screen, parts):
    terminal = screen(True)
    measure(SilentRun(), parts, 10, 20, 10)
    shown = frames(terminal)
    assert "10/40 stimuli, 5 per second, 6 s left" in shown
    assert "30/40 stimuli, 7.5 per second, 1 s left" in shown
    assert "40/40 stimuli, 6.67 per second, 0 s left" in shown


@pytest.mark.parametrize("fails", [False, True])
def test_terminal_is_left_clean(screen, fails, parts):
    terminal = screen(True)
    try:
        measure(SilentRun(), parts, 10, "no chunk" if fails else 30)
    except TypeError:
        assert fails
    codes = terminal.getvalue()
    assert codes.count("\x1b[?25l") == codes.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert codes.rindex("\x1b[2K") > codes.rindex("stimuli")  # the bar's line is erased


def test_bar_comes_with_the_first_chunk_so_that_lines_before_it_stay_whole(screen, parts):
    terminal = screen(True)
    with measuring.PartHandler(SilentRun(), 40, parts) as live:
        assert terminal.getvalue() == ""
        live(np.ones((10, 1, 3, 1)))
        assert "10/40" in terminal.getvalue()


def test_bar_never_wraps_on_a_narrow_terminal(screen, parts):
    terminal = screen(True, columns=30)
    measure(SilentRun(), parts, 10, 30)
    assert frames(terminal) and max(map(len, frames(terminal))) <= 30


def test_without_a_terminal_there_is_one_plain_line_at_the_start(screen, caplog, parts):
    file = screen(False)
    with caplog.at_level(logging.INFO, logger="eif_lab"):
        measure(SilentRun(), parts, 10, 20, 10)
    assert file.getvalue() == ""
    assert [record.getMessage() for record in caplog.records] == ["measuring: 40 stimuli"]


def test_tracker_is_told_the_rate_and_the_mean_over_all_cells(screen, parts):
    screen(False)
    run = Recorded()
    chunks = [np.full((10, 1, 3, 2), -2.0), np.full((30, 1, 3, 2), 1.0)]
    chunks[1][0, 0, 0, 0] = np.nan
    with measuring.PartHandler(run, 40, parts) as live:
        for chunk in chunks:
            live(chunk)
    mean = np.nanmean(np.abs(np.concatenate(chunks)[..., 0]))
    assert [point[:3] for point in run.points] == [(10, 40, 5.0), (40, 40, 10.0)]
    assert run.points[1][3] == {"mean_absolute_influence": pytest.approx(mean)}


@pytest.mark.parametrize("seconds", [0, 0.4, 59.4, 59.6, 60, 3599.4, 3599.6, 3661, 90000])
def test_duration_is_the_time_rounded_to_its_smallest_unit(seconds):
    told = duration(seconds)
    units = {"s": 1, "min": 60, "h": 3600}
    parts = re.findall(r"(\d+) (s|min|h)", told)
    assert abs(sum(int(n) * units[unit] for n, unit in parts) - seconds) <= (60 if "h" in told else 0.5)
    assert all(int(n) < 60 for n, unit in parts if unit != "h")


def finished(directory, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    print_finished(open_results(directory), page(stream))
    return stream.buffer.getvalue().decode(encoding)


@pytest.fixture
def verdicts(make_verdict):
    return [
        make_verdict("symmetry", (0.5, 0.2, 0.8, 0.01), (0.6, 0.4, 0.9, 0.02)),
        make_verdict("distance_decay", (0.5, 0.2, 0.8, 0.01)),
        make_verdict("sparsity", (0.0, -0.1, 0.05, 0.99)),
        make_verdict("logic", (0.2, 0.0, 0.8, 0.3)),
    ]


def test_finished_job_is_one_line_with_name_time_strength_and_marks(tmp_path, verdicts):
    manifest = {"name": "cnn lora", "status": "done", "seconds": 75.2, "strength": {"effect": 0.0187}}
    manifest["unit"] = "nat"
    write_job(tmp_path, manifest, None, verdicts, {"negation": "images say nothing"})
    told = "cnn lora  1 min 15 s  strength 0.019 nat  ✓ symmetry, distance decay  ✗ sparsity (absent)  ? logic\n"
    assert finished(tmp_path) == told
    assert finished(tmp_path, "ascii") == told.replace("✓", "+").replace("✗", "x")


@pytest.mark.parametrize("status", ["failed", "not applicable"])
def test_job_without_results_is_one_line_with_its_reason(tmp_path, status):
    write_job(
        tmp_path, {"name": "cnn mnist full", "status": status, "reason": "dataset\nmust" + " be" * 99}, None, [], {}
    )
    told = finished(tmp_path)
    assert told.startswith(f"cnn mnist full  {status}: dataset must be be")
    assert len(told.splitlines()) == 1 and len(told) <= WIDTH + 1


def test_long_line_of_a_finished_job_is_cut_at_the_page(tmp_path, verdicts):
    manifest = {"name": "a name " * 15, "status": "done", "seconds": 1.0, "strength": {"effect": 1.0}}
    write_job(tmp_path, manifest, None, verdicts, {})
    told = finished(tmp_path)
    assert len(told.splitlines()) == 1 and len(told.rstrip("\n")) <= WIDTH and told.rstrip().endswith("…")
