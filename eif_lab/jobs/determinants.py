"""The determinants of a job's influence array, and the key under which the array is stored."""

from __future__ import annotations

from typing import Any

from eif_lab.errors import ConfigError
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.job import Job
from eif_lab.options import Options, options_of
from eif_lab.results.cache import array_key

ARRAY_FORMAT = 3
"""Raised when the same options would give another array than before."""


def key_of(job: Job) -> str:
    """The key of a job's influence array, as the data and the checkpoints that it names are now.

    Raises:
        ConfigError: An option is no value that a key can be made of, such as NaN.
        OSError: What the job names cannot be read.
    """
    decided = determinants(job)
    try:
        return array_key(decided)
    except TypeError as error:
        raise ConfigError(str(error).removeprefix("determinants.")) from None


def determinants(job: Job) -> dict[str, Any]:
    """Everything that, with the device and its algorithms, decides the values of a job's array to the last bit."""
    choices: dict[str, Options] = {
        "dataset": job.dataset,
        "model": job.model,
        "method": job.method,
        "perturbation": job.perturbation,
        "update": job.update,
        "engine": job.engine,
    }
    groups = {name: options_of(one) for name, one in choices.items()} | channel_of(job).determinants()
    rest = {
        name: getattr(job, name) for name in ("seed", "data_seed", "readout", "trajectory", "device", "deterministic")
    }
    return {"format": ARRAY_FORMAT, **groups, **rest}
