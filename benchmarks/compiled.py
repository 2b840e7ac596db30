"""A long job with compilation, and all that compilation costs, against the eager floor."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.report import Row, attempt, ratio_row
from benchmarks.timing import medians, ratio

GOALS = {"cold": "<= 1.0", "warm": "<= 0.8"}
"""With an empty cache of compiled code, and with what an earlier process left in it."""


def compiled(stimuli: int, probes: int, rounds: int) -> Iterator[Row]:
    """The CNN after 3 SGD steps, each round two processes: one whose compile cache is empty, one that finds it filled.

    Args:
        stimuli, probes: How many.
        rounds: How many pairs of processes.
    """
    what = f"CNN 421k, full, 3 steps, {stimuli} x {probes}, compiled"
    yield from attempt(what, both_rows(what, stimuli, probes, rounds), GOALS["cold"])


def both_rows(what: str, stimuli: int, probes: int, rounds: int) -> Iterator[Row]:
    """The compiled engine's time over the eager floor's."""
    found: dict[str, list[dict]] = {state: [] for state in GOALS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for state in GOALS:
                found[state].append(in_own_process(stimuli, probes, cache))
    for state, rows in found.items():
        times = {name: [one[name] for one in rows] for name in ("auto", "floor")}
        note = f"{rows[0]['note']}; each round in a process of its own"
        compared = ratio(times["auto"], times["floor"])
        yield ratio_row(f"{what}, {state} cache: time / eager floor", compared, GOALS[state], medians(times), note)


def in_own_process(stimuli: int, probes: int, cache: str) -> dict:
    """``auto`` and ``floor`` in seconds, from a fresh process with this cache of compiled code."""
    command = [sys.executable, "-m", "benchmarks.compiled", str(stimuli), str(probes)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the process died")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure one round in this process."""
    from benchmarks.case import cnn_case
    from benchmarks.floor import best_floor
    from benchmarks.timing import seconds
    from eif_lab.influence.engines.auto import Auto

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stimuli", type=int)
    parser.add_argument("probes", type=int)
    arguments = parser.parse_args()
    engine = Auto(compile="always")
    case = cnn_case(arguments.stimuli, arguments.probes)
    case.take(2, arguments.probes).influence()  # eager: brings the process into the state that the floor profits from
    floor = best_floor(case)
    share = max(1, arguments.stimuli // 8)  # of the stimuli, before and after: every pass over the probes is alike
    before = seconds(lambda: floor.run(share))
    own = seconds(lambda: case.influence(engine))
    after = seconds(lambda: floor.run(share))
    base = (before + after) / 2 * arguments.stimuli / share
    print(json.dumps({"auto": own, "floor": base, "note": f"{case.data}; floor: {floor.described}"}))


if __name__ == "__main__":
    main()
