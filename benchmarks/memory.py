"""Peak memory, each configuration in a process of its own, and how it grows with the number of stimuli."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.report import Row, attempt


def memory(stimuli: Sequence[int], probes: int, rounds: int) -> Iterator[Row]:
    """Peaks of ``auto`` and ``reference`` on the CNN after one step, with what the process held before in the note.

    Args:
        stimuli: Numbers of stimuli, smallest first.
        probes: How many.
        rounds: Processes per configuration; the median counts.
    """
    for engine in ("auto", "reference"):
        yield from attempt(f"{engine}: peak memory", peaks_of(engine, stimuli, probes, rounds))


def peaks_of(engine: str, stimuli: Sequence[int], probes: int, rounds: int) -> Iterator[Row]:
    """One row per number of stimuli, and how much the last peak is above the first."""
    peaks = []
    for count in stimuli:
        found = sorted((in_own_process(engine, count, probes) for _ in range(rounds)), key=lambda one: one["peak"])
        middle = found[len(found) // 2]
        peaks.append(middle["peak"])
        note = f"{middle['base']:.0f} MiB of it before: Python, torch, model, data, one pass over the probes"
        what = f"{engine}, CNN 421k, 1 step, {count} x {probes}: peak memory"
        yield Row(what, middle["peak"], "MiB", low=found[0]["peak"], high=found[-1]["peak"], note=note)
    yield Row(f"{engine}: peak at {stimuli[-1]} stimuli / at {stimuli[0]}", peaks[-1] / peaks[0], note="1 is flat")


def in_own_process(engine: str, stimuli: int, probes: int) -> dict[str, float]:
    """``peak`` and ``base`` in MiB, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", engine, str(stimuli), str(probes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the process died")
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """The most that this process has held, in MiB.

    From /proc where there is one: what getrusage reports begins with the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**10
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Measure one configuration in this process."""
    import pytorch_lightning  # noqa: F401  # one engine needs it: what importing it takes is not that engine's

    from benchmarks.case import cnn_case
    from benchmarks.floor import Floor

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("stimuli", type=int)
    parser.add_argument("probes", type=int)
    arguments = parser.parse_args()
    case = cnn_case(arguments.stimuli, arguments.probes, steps=1, real=False)
    Floor("contiguous", arguments.probes, case.model, case.probes[0], 1).run()
    base = peak()
    case.influence(arguments.engine)
    print(json.dumps({"base": base, "peak": peak()}))


if __name__ == "__main__":
    main()
