"""Every benchmark that a CPU can run: ``python -m benchmarks``.

``--quick`` is for a try, ``--only`` for some parts, ``--again`` for parts of the kept table.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.compiled import compiled
from benchmarks.growth import growth
from benchmarks.loops import loops
from benchmarks.memory import memory
from benchmarks.over_floor import large_over_floor, over_floor
from benchmarks.peers import peers
from benchmarks.plan import JOBS, SMALL_JOBS, plans
from benchmarks.report import Report, Row
from benchmarks.sweep import sweeps
from benchmarks.tables import tables

RESULTS, TRIED = Path("benchmarks/results"), Path("outputs/benchmarks")

Part = Callable[[Path], Iterator[Row]]
"""What measures a part, given the folder that a figure is written to."""

FULL: dict[str, Part] = {
    "floor": lambda _: over_floor(cnn=(64, 256), language=(64, 64), rounds=7),
    "large": lambda _: large_over_floor(stimuli=16, probes=64, rounds=3),
    "loops": lambda _: loops(stimuli=64, probes={256: ">= 2.8", 16: ">= 8"}, rounds=5),
    "peers": lambda _: peers(samples=64, sizes=(28, 8), rounds=7),
    "growth": lambda folder: growth(times=4, rounds=3, picture=folder / "growth.png"),
    "memory": lambda _: memory(stimuli=(64, 256, 1024), probes=64, rounds=3),
    "compiled": lambda _: compiled(stimuli=512, probes=1024, rounds=3),
    "plan": lambda _: plans(JOBS),
    "sweep": lambda _: sweeps(jobs=300, run=20),
    "tables": lambda _: tables(2000),
}
QUICK: dict[str, Part] = {
    "floor": lambda _: over_floor(cnn=(8, 64), language=(8, 16), rounds=3),
    "large": lambda _: large_over_floor(stimuli=2, probes=16, rounds=1),
    "loops": lambda _: loops(stimuli=8, probes={64: ">= 2.8", 16: ">= 8"}, rounds=2),
    "peers": lambda _: peers(samples=16, sizes=(8,), rounds=2),
    "growth": lambda folder: growth(times=2, rounds=1, picture=folder / "growth.png"),
    "memory": lambda _: memory(stimuli=(4, 16), probes=16, rounds=1),
    "compiled": lambda _: compiled(stimuli=16, probes=64, rounds=1),
    "plan": lambda _: plans(SMALL_JOBS),
    "sweep": lambda _: sweeps(jobs=6, run=3),
    "tables": lambda _: tables(20),
}


def main() -> None:
    """Run the parts asked for.

    A full run, and parts of it measured again, are kept in ``benchmarks/results``, any other in ``outputs/benchmarks``.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything small, in about two minutes")
    parser.add_argument("--only", default=",".join(FULL), help=f"parts, with commas between: {', '.join(FULL)}")
    parser.add_argument(
        "--again", action="store_true", help="put these parts into the table of this machine's full run"
    )
    arguments = parser.parse_args()
    parts = QUICK if arguments.quick else FULL
    chosen = arguments.only.split(",")
    for name in chosen:
        if name not in parts:
            parser.error(f"--only must name parts out of {', '.join(parts)}, got {name!r}")
    whole = not arguments.quick and chosen == list(FULL)
    warnings.filterwarnings("ignore")
    folder, title = RESULTS if whole or arguments.again else TRIED, "Benchmarks on a CPU"
    if arguments.again:
        if arguments.quick:
            parser.error("--again goes with full sizes, not with --quick")
        try:
            report = Report.kept(folder / "cpu", title)
        except ValueError as error:
            parser.error(f"--again: {error}; measure all of it: make bench")
    else:
        tried = f"python -m benchmarks {'--quick ' * arguments.quick}--only {arguments.only}"
        report = Report(folder / "cpu", title, "make bench" if whole else tried, judged=not arguments.quick)
    for name in chosen:
        report.add(name, parts[name](folder))
    print(f"\nwritten to {report.path}.md and .json", flush=True)


if __name__ == "__main__":
    main()
