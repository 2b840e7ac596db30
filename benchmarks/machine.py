"""What a result was measured on, without names of hosts or folders."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from eif_lab.results.provenance import PACKAGE, git_state

PACKAGES = ("torch", "transformers", "pytorch-lightning", "peft", "captum", "dattri", "kronfluence", "traker")


def machine() -> dict[str, Any]:
    """Processor, its instructions, cores, threads, memory, accelerator, versions, commit, date."""
    state = git_state(PACKAGE)
    changed = " with changes" if state["git_dirty"] else ""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "threads_wait": os.environ.get("GOMP_SPINCOUNT") or os.environ.get("OMP_WAIT_POLICY", "as by default").lower(),
        "memory_GiB": memory(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "commit": f"{state['git_commit']}{changed}",
        "date": datetime.date.today().isoformat(),
        "load_average_1_minute": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


class Neighbours:
    """How much of the cores other programs, or other guests of the host, take from now on."""

    def __init__(self) -> None:
        self.begun = self._now()

    def share(self) -> float | None:
        """In [0, 1], of all cores; None where the system does not tell."""
        (wall, busy, own), (wall_then, busy_then, own_then) = self._now(), self.begun
        if busy is None or busy_then is None:
            return None
        taken = (busy - busy_then) - (own - own_then)
        return min(1.0, max(0.0, taken / ((wall - wall_then) * (os.cpu_count() or 1))))

    @staticmethod
    def _now() -> tuple[float, float | None, float]:
        own = os.times()
        total = own.user + own.system + own.children_user + own.children_system
        listing = Path("/proc/stat")
        if not listing.exists():
            return time.perf_counter(), None, total
        user, nice, system, _, _, irq, softirq, steal = map(int, listing.read_text(encoding="utf-8").split()[1:9])
        ticks = user + nice + system + irq + softirq + steal
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), total


def processor() -> str:
    """The processor's model."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> float | None:
    """The machine's, in GiB; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def versions() -> dict[str, str]:
    """Of the packages that matter for speed, where installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
