"""A sweep on a real Slurm cluster of one node; ``make test-slurm`` installs it, starts it and runs this."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from eif_lab import open_results

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
CONFIG = """
ClusterName=eiflab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port_of_node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=2
DefMemPerCPU=1000
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

SWEEP = [
    "-m",
    "method=full,lora",
    "dataset=digits",
    "dataset.stimuli=40",
    "dataset.probes=20",
    "model.training.steps=40",
    "update.learning_rate=0.001",
    "update.steps=200",
    "engine=reference",
    "tracker=none",
    "deterministic=true",
    "desideratum=[symmetry]",
    "cache=cache",
    "hydra.sweep.dir=sweep",
]
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=3"]


def lacking() -> str:
    """Why Slurm cannot be started here; empty where it can."""
    missing = [name for name in DAEMONS if not shutil.which(name, path=PATH)]
    if missing:
        return f"{', '.join(missing)} not installed: make test-slurm installs them where it is root on Debian"
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        return "submitit is not installed: make test-slurm installs it"
    return "" if os.geteuid() == 0 else "only root can start Slurm's daemons"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the cluster."""
    if reason := lacking():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # munge refuses a socket that others cannot reach
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = os.uname().nodename
    fields = {
        "folder": folder,
        "host": host,
        "port": 26817,
        "port_of_node": 26818,
        "cpus": os.cpu_count(),
        "memory": psutil.virtual_memory().total // 2**20 - 500,
    }
    (folder / "slurm.conf").write_text(CONFIG.format(**fields))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
    munged += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("log", "pid", "seed")]
    commands = (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host])
    with (folder / "daemons.log").open("w") as log:
        daemons = []
        try:
            for command in commands:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
                time.sleep(1)
            until(lambda: "idle" in ask(environment, "sinfo", "--noheader", "--format=%T"), 60, folder / "daemons.log")
            yield environment
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)


def ask(environment: dict[str, str], *command: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout


def until(reached: Callable[[], object], seconds: float, log: Path) -> None:
    """Wait, and fail with the end of a log."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.2)


def start(folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen:
    """Begin the sweep in a folder of its own."""
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("a") as log:
        command = [sys.executable, "-m", "eif_lab", *SWEEP, *options]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def test_a_sweep_on_slurm_whose_jobs_are_killed_ends_as_the_sweep_on_one_process(cluster, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert start(alone, {**os.environ, "OMP_NUM_THREADS": "1"}).wait(600) == 0, (alone / "log").read_text()[-3000:]

    sweep = start(shared, cluster, *SLURM)
    parts = "cache/influence/*.partial/stimuli/*"
    until(lambda: len(list(shared.glob(parts))) >= 5, 300, shared / "log")
    [first, *_] = ask(cluster, "squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()
    ask(cluster, "scancel", "--signal=KILL", first)
    until(
        lambda: first not in ask(cluster, "squeue", "--noheader", "--array", "--format=%i").split(), 60, shared / "log"
    )
    ask(cluster, "scancel", "--user=root")
    sweep.send_signal(signal.SIGKILL)  # without accounting, it would wait for the killed job for ever
    sweep.wait(60)
    kept = {path: path.stat().st_mtime_ns for path in shared.glob(parts) if "." not in path.name}
    assert kept and not list(shared.glob("sweep/*/manifest.json"))

    again = start(shared, cluster, *SLURM)
    assert again.wait(600) == 0, (shared / "log").read_text()[-3000:]
    told = (shared / "log").read_text() + "".join(p.read_text() for p in shared.glob("sweep/.submitit/*/*_log.*"))
    assert "p-values corrected over the sweep" in told and "of them are measured already" in told
    for number in range(2):
        job, same = (open_results(folder / "sweep" / str(number)) for folder in (shared, alone))
        assert job.manifest["name"] == same.manifest["name"]
        assert np.array_equal(job.influence.values, same.influence.values) and np.ptp(job.influence.values) > 0
