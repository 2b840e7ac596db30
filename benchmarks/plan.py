"""What ``plan=true`` says of a job beside what the job takes, each in a process of its own, from an empty cache."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.memory import peak
from benchmarks.report import Row, attempt

JOBS = {
    "CNN, digits, lora, 3 steps": "model=cnn method=lora dataset.stimuli=400 dataset.probes=400 update.steps=3",
    "phi3-tiny, ontology, full": "model=phi3 method=full",
    "phi3-tiny, transitivity, full, AdamW": "model=phi3 dataset=transitivity method=full update=adamw",
}
"""Every engine's kind of work: copies, pairs, and copies with an optimizer's averages; base training included."""

ENGLISH = "dataset=ontology dataset.language=english dataset.background=known dataset.worlds=6 dataset.elsewhere=2"
SIZED = f"model=phi3 model.checkpoint={{model}} model.minimum_background_accuracy=0 {ENGLISH} update.strength=0.5"
JOBS |= {
    f"SmolLM2's size, ontology, {name}": f"{SIZED} dataset.stimuli_per_world=1 update.calibration_stimuli=4 {overrides}"
    for name, overrides in {
        "full, 10 steps": "method=full update.steps=10 engine.memory_budget=6",
        "lora, 5 steps of Adam": "method=lora update=adam update.steps=5",
    }.items()
}
"""With random weights, which know no background, so that no world is left out."""

SMALL_JOBS = {
    "CNN, digits, full": "model=cnn method=full dataset.stimuli=20 dataset.probes=20 model.training.steps=10",
}

TIME, MEMORY, ITSELF = "<= 1.3", "<= 1.2", "<= 20"
"""How far the plan may be off, either way, as a factor; and the seconds that it may take, with Python's start."""

MIB = 2**20


def plans(jobs: Mapping[str, str]) -> Iterator[Row]:
    """Three rows for each job: its time, its peak memory, and the time of the plan itself.

    Args:
        jobs: The overrides, by name.
    """
    for name, overrides in jobs.items():
        yield from attempt(f"{name}: plan", compare(name, overrides))


def compare(name: str, overrides: str) -> Iterator[Row]:
    """The plan and the measurement of one job, as the larger over the smaller."""
    with TemporaryDirectory() as folder:
        if "{model}" in overrides:
            save_sized(Path(folder) / "model")
        given = overrides.format(model=f"{folder}/model")
        started = time.perf_counter()
        planned = in_own_process("plan", given, folder)
        itself = time.perf_counter() - started
        measured = in_own_process("run", given, folder)
    parts = ", ".join(f"{part} {some:.3g}" for part, some in planned["parts"].items())
    both = {"planned": planned["seconds"], "measured": measured["seconds"]}
    note = f"planned: {parts}; measured: {measured['trials']} rates tried, measuring {measured['measuring']:.3g}"
    yield Row(f"{name}: time, planned against measured", ratio_of(both), goal=TIME, seconds=both, note=note)
    sizes = {"planned": planned["peak"], "measured": measured["peak"]}
    sizes_text = ", ".join(f"{which} {size:.0f} MiB" for which, size in sizes.items())
    above = f"{measured['base']:.0f} MiB of it before: Python and its libraries"
    yield Row(
        f"{name}: peak memory, planned against measured", ratio_of(sizes), goal=MEMORY, note=f"{sizes_text}; {above}"
    )
    yield Row(f"{name}: the plan itself", itself, "s", goal=ITSELF)


def save_sized(folder: Path) -> None:
    """A Phi-3 of SmolLM2-135M's sizes with random weights and phi3-tiny's tokenizer, in the hub's format."""
    import torch
    from transformers import AutoTokenizer

    import eif_lab
    from benchmarks.case import SMOL, phi3

    torch.manual_seed(0)
    phi3(SMOL, torch.float32, "cpu").save_pretrained(folder)
    tiny = Path(eif_lab.__file__).parent / "models" / "phi3_tiny"
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)


def ratio_of(both: Mapping[str, float]) -> float:
    """The larger over the smaller."""
    return max(both.values()) / min(both.values())


def in_own_process(task: str, overrides: str, folder: str) -> dict[str, Any]:
    """What this module prints for a task, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.plan", task, folder, *overrides.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the process died")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Plan, or run, one job in this process."""
    import pytorch_lightning  # noqa: F401  # starting Python and its libraries is no part of a plan
    from hydra import compose, initialize_config_dir

    from eif_lab.commands.checking import to_plain_containers
    from eif_lab.configs import CONF
    from eif_lab.jobs.planning.plan import plan_job
    from eif_lab.jobs.read import read_job
    from eif_lab.jobs.run import run_job
    from eif_lab.results.job import open_job

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["plan", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    overrides = [*args.overrides, "tracker=none", f"cache={args.folder}/cache"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_plain_containers(compose("config", overrides))
    base = peak()
    if args.task == "plan":
        plan = plan_job(read_job(config), {})
        result = {"seconds": plan.total_seconds, "parts": dict(plan.seconds), "peak": plan.peak / MIB}
    else:
        run_job(read_job(config), config, args.folder / "job", "", overrides)
        done = open_job(args.folder / "job").manifest
        search = done["update"]["calibration"] or {"trials": 0}
        result = {"seconds": done["seconds"], "measuring": done["measuring_seconds"], "trials": search["trials"]}
        result |= {"peak": peak(), "base": base}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
