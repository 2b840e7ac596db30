"""``hydra/launcher=ray``: each job of a sweep is a task of a Ray cluster.

A task whose worker dies is run again by Ray, and the job goes on from its last whole part. Hosts must share the file
system that holds the sweep's directory and the cache. Hydra imports this module at every start: it imports no Ray.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from eif_lab.errors import rule_error

log = logging.getLogger(__name__)

PASSED_ON = ("HYDRA_FULL_ERROR", "OMP_WAIT_POLICY", "CUBLAS_WORKSPACE_CONFIG", "EIF_LAB_DATA", "WANDB_MODE")
"""Environment variables that a job finds wherever it runs."""


class RayLauncher(Launcher):
    """Jobs as tasks of Ray.

    Args:
        address: Of a running cluster, as ``ray.init`` takes it; None starts one on this machine.
        cpus: Of each job, which are its threads.
        gpus: Of each job.
    """

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float = 0) -> None:
        if not isinstance(cpus, int) or cpus < 1:
            raise rule_error("hydra.launcher.cpus", "be a whole number of at least 1", cpus, "Try 1.")
        self.address, self.cpus, self.gpus = address, cpus, gpus

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what every job needs."""
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, as many at once as the cluster holds.

        Args:
            job_overrides: Of each job.
            initial_job_idx: The number of the first one.
        """
        import ray

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs on Ray", len(job_overrides))
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        ray.init(self.address, runtime_env={"env_vars": passed}, include_dashboard=False, logging_level=logging.WARNING)
        try:
            task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=-1)(execute)
            shared = ray.put((self.context, self.config, self.task_function, Singleton.get_state(), Path.cwd()))
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            return ray.get([task.remote(n, list(one), shared) for n, one in enumerate(job_overrides, initial_job_idx)])
        finally:
            ray.shutdown()


def execute(
    number: int, overrides: list[str], shared: tuple[HydraContext, DictConfig, TaskFunction, Any, Path]
) -> JobReturn:
    """One job, in a worker of Ray."""
    context, config, task_function, singletons, here = shared
    os.chdir(here)
    setup_globals()
    Singleton.set_state(singletons)
    own = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(own):
        own.hydra.job.id = number
        own.hydra.job.num = number
    HydraConfig.instance().set_config(own)
    return run_job(
        hydra_context=context,
        task_function=task_function,
        config=own,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
