"""How long the table and the page of a sweep of many jobs take, each read in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.plan import SMALL_JOBS, in_own_process
from benchmarks.report import Row, attempt

GOALS = {"table": ("s", "<= 5"), "printed": ("s", ""), "report": ("s", "<= 60"), "page": ("MB", "<= 10")}
"""Unit and goal, for 2,000 jobs: the sweep's table, the table on the terminal, the page, and its size."""


def tables(jobs: int) -> Iterator[Row]:
    """A row for each of `GOALS`.

    Args:
        jobs: How many, each a copy of one real job under a seed of its own.
    """
    yield from attempt(f"{jobs:,} jobs", measured(jobs))


def measured(jobs: int) -> Iterator[Row]:
    """The rows; reading starts from files that were just written, so that the disk has no say."""
    with TemporaryDirectory() as folder:
        in_own_process("run", next(iter(SMALL_JOBS.values())), folder)
        sweep = copies(Path(folder) / "job", Path(folder) / "sweep", jobs)
        found: dict[str, float] = {}
        for task in ("table", "report"):
            command = [sys.executable, "-m", "benchmarks.tables", task, str(sweep)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found |= json.loads(done.stdout.splitlines()[-1])
    for name, (unit, goal) in GOALS.items():
        yield Row(f"{jobs:,} jobs: {name}", found[name], unit, goal=goal)


def copies(job: Path, sweep: Path, count: int) -> Path:
    """So many jobs that differ in their seed; the folder of all."""
    from eif_lab.results.manifest import manifest_text

    manifest = json.loads((job / "manifest.json").read_text(encoding="utf-8"))
    for seed in range(count):
        shutil.copytree(job, sweep / str(seed))
        own = {"overrides": [*manifest["overrides"], f"seed={seed}"], "config": {**manifest["config"], "seed": seed}}
        (sweep / str(seed) / "manifest.json").write_text(manifest_text({**manifest, **own}), encoding="utf-8")
    return sweep


def main() -> None:
    """Read the sweep in this process; starting Python and its libraries is in no time."""
    from eif_lab.console.tables import print_sweep
    from eif_lab.page.page import write_page
    from eif_lab.results.sweep import SweepResults, open_results

    task, folder = sys.argv[1], Path(sys.argv[2])
    times = [time.perf_counter()]
    results = open_results(folder)
    assert isinstance(results, SweepResults)
    if task == "table":
        table = results.table
        times.append(time.perf_counter())
        print_sweep(table)
        times.append(time.perf_counter())
        times_taken = {"table": times[1] - times[0], "printed": times[2] - times[1]}
    else:
        size = write_page(results, folder.parent / "page.html")
        times_taken = {"report": time.perf_counter() - times[0], "page": size / 1e6}
    print(json.dumps(times_taken))


if __name__ == "__main__":
    main()
