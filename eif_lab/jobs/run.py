"""One job, top to bottom: data, model, influence, verdicts, results."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eif_lab.files.disk_errors import disk_errors
from eif_lab.jobs.channels import channel_of
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import JobData
from eif_lab.jobs.job import Job, job_name, names_of_choices
from eif_lab.jobs.judge import judge
from eif_lab.jobs.measure import measure
from eif_lab.jobs.record import Record, foreign_packages, log_record
from eif_lab.results.cache import ArrayCache
from eif_lab.results.checkpoint import checkpoint
from eif_lab.results.job import write_manifest, write_results
from eif_lab.results.manifest import DONE
from eif_lab.results.scalars import config_key

log = logging.getLogger(__name__)


def run_job(job: Job, config: Mapping[str, Any], directory: Path, group: str, overrides: list[str]) -> None:
    """Run one job and write its directory.

    Args:
        job: The validated options.
        config: The same as plain containers, for the record.
        directory: The job's own.
        group: The sweep's name.
        overrides: What the job differs in from the defaults.

    Raises:
        ConfigError: What was asked for cannot be measured, or the disk is full.
    """
    started, cache = time.perf_counter(), ArrayCache(Path(job.cache) / "influence")
    with disk_errors(job.cache, directory):
        key = key_of(job)
        stored = cache.find(key)
        # before a tracker has begun a run, because what the user got wrong shows here at the latest
        inputs = checked_inputs(job) if stored is None else None
        key = key if inputs is None else key_of(job)  # what was downloaded just now has an identity now
        choices = names_of_choices(job)
        names = {config_key(part): name for part, name in choices.items()}
        with checkpoint(cache, key, needed=inputs is not None) as left:
            if inputs is not None:
                stored = cache.find(key)  # another process may have measured it meanwhile
            with job.tracker.start(
                name=job_name(job),
                group=group,
                tags=list(names.values()),
                config={**config, **names},
                directory=directory,
                run_id=left.run_id,
            ) as run:
                if stored is None:
                    assert inputs is not None
                    with deterministic_algorithms(job.deterministic):
                        influence, record = measure(job, inputs, run, left)
                    cache.put(key, influence)
                else:
                    influence, record = stored, Record.of(stored)
                    log.info("influence array %s: found in %s%s", key, cache.root, foreign_packages(record))
                log_record(record)
                judgement = judge(job, influence, record, cache)
                write_results(directory, influence, judgement.verdicts, judgement.not_applicable)
                seconds = time.perf_counter() - started
                run.finish(influence, judgement.verdicts, judgement.summary(record, seconds))
            outcome = {"first_order": judgement.first_order, **record.describe(), "seconds": seconds}
            request = {
                "name": job_name(job),
                "config": config,
                "choices": choices,
                "overrides": overrides,
                "seeds": [job.seed],
                "array": key,
            }
            # not before the tracker knows all: a job without a manifest is given again, and its run continued
            write_manifest(directory, {**request, "status": DONE, **outcome})
            left.remove()


def checked_inputs(job: Job) -> JobData:
    """The inputs of a job, loaded and checked: a user's remaining mistakes are reported here.

    Raises:
        ConfigError: Something cannot be had, or cannot be measured.
    """
    with deterministic_algorithms(job.deterministic):
        channel = channel_of(job)
        inputs = channel.load()
        channel.check(inputs)
    return inputs
