"""Channels: the ways by which a stimulus enters a model."""

from __future__ import annotations

from collections.abc import Callable

from eif_lab.errors import unknown_name
from eif_lab.jobs.channels.channel import Channel
from eif_lab.jobs.channels.context import Context
from eif_lab.jobs.channels.stated import Stated
from eif_lab.jobs.channels.weights import Weights
from eif_lab.jobs.job import Job
from eif_lab.methods.method import CONTEXT, WEIGHTS
from eif_lab.models.substitute import Substitute

CHANNELS: dict[str, Callable[[Job], Channel]] = {WEIGHTS: Weights, CONTEXT: Context}


def channel_of(job: Job) -> Channel:
    """The channel of a job: that of what stands in the place of a model, else that of its method.

    Raises:
        ConfigError: The method names a channel that does not exist.
    """
    if isinstance(job.model, Substitute):
        return Stated(job, job.model)
    if job.method.channel not in CHANNELS:
        raise unknown_name("method.channel", job.method.channel, CHANNELS)
    return CHANNELS[job.method.channel](job)
