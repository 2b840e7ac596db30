"""The whole table, slow cases too: ``python -m tests.zoo [--time] [--only WORD] [--engines auto,loop]``."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable

import torch

from eif_lab import measure_influence

from .case import Case
from .hold import ENGINES, Wrong, hold
from .loop import influence_by_hand
from .table import CASES

TIMED = 48
"""Stimuli, and probes, of a case whose time is taken."""


def judged(case: Case, engine: str) -> tuple[str, str]:
    """``equal``, ``refused``, ``wrong`` or ``crashed``, and why."""
    try:
        return hold(case, engine), ""
    except Wrong as error:
        return "wrong", str(error)
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error}"


def quickest(call: Callable[[], object], times: int = 3) -> float:
    """Seconds, after a call that is not counted."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def timed(case: Case) -> tuple[float, float]:
    """Seconds of auto and of the loop."""
    made = case.make(TIMED, TIMED)
    options = {name: value for name, value in case.options.items() if name != "rows"}
    return (
        quickest(lambda: measure_influence(*made, **options)),
        quickest(lambda: influence_by_hand(*made, **options, classes_at=case.classes_at)),
    )


def check(cases: list[Case], engines: list[str]) -> int:
    """How many were wrong or crashed; says which, and the sum."""
    counts: Counter[str] = Counter()
    for case in cases:
        for engine in engines if case.refused is None else ["auto"]:
            start = time.perf_counter()
            verdict, why = judged(case, engine)
            seconds = time.perf_counter() - start
            counts[verdict] += 1
            if why:
                print(f"{verdict:8} {engine:8} {case.name}: {' '.join(why.split())[:300]}", flush=True)
            if seconds > 5:
                print(f"slow     {engine:8} {case.name}: {seconds:.1f} s", flush=True)
    kinds = {"equal": "equal", "refused": "refused rightly", "wrong": "wrong", "crashed": "crashed"}
    print(f"{len(cases)} cases: " + ", ".join(f"{counts[kind]} {told}" for kind, told in kinds.items()))
    return counts["wrong"] + counts["crashed"]


def race(cases: list[Case]) -> int:
    """How many cases auto takes longer for than the loop does; says all ratios."""
    slower = []
    for case in cases:
        if case.refused is None and case.scales:
            try:
                own, loop = timed(case)
            except Exception as error:
                print(f"not timed: {case.name}: {' '.join(str(error).split())[:200]}", flush=True)
                continue
            print(f"{loop / own:7.2f} x  {own:8.3f} s of {loop:8.3f} s  {case.name}", flush=True)
            if own > loop:
                slower.append((own / loop, case.name))
    print(f"auto is slower than the loop in {len(slower)} cases at {TIMED} stimuli and {TIMED} probes")
    for ratio, name in sorted(slower, reverse=True):
        print(f"  {ratio:.2f} times as long: {name}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--time", action="store_true", help="take the times of auto and of the loop")
    parser.add_argument("--only", default="", help="cases whose kind or name this regular expression matches")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--quick", action="store_true", help="leave the slow ones out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cases = [case for case in CASES if re.search(args.only, f"{case.kind}: {case.name}")]
    if args.quick:
        cases = [case for case in cases if not case.slow]
    return race(cases) if args.time else min(1, check(cases, args.engines.split(",")))


if __name__ == "__main__":
    sys.exit(main())
