"""One job, top to bottom: data, model, influence, verdicts, sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eif_lab.files.trouble import disk_trouble
from eif_lab.jobs.determinants import key_of
from eif_lab.jobs.device import deterministic_algorithms
from eif_lab.jobs.inputs import (
    load,
)
from eif_lab.jobs.job import Job, job_name
from eif_lab.jobs.judge import judged, summary
from eif_lab.jobs.measure import measured
from eif_lab.jobs.record import measured_elsewhere
from eif_lab.results.cache import ArrayCache
from eif_lab.results.checkpoint import checkpoint
from eif_lab.results.job import write_manifest, write_results
from eif_lab.results.manifest import DONE
from eif_lab.results.scalars import NAMED, config_key

log = logging.getLogger(__name__)


def run_job(job: Job, config: Mapping[str, Any], directory: Path, group: str, overrides: list[str]) -> None:
    """Run one job and write its directory.

    Args:
        job: The validated options.
        config: The same as plain containers, for the record.
        directory: The job's own.
        group: The sweep's name.
        overrides: What the job differs in from the defaults.
    """
    with disk_trouble(job.cache, directory):
        run_undisturbed(job, config, directory, group, overrides)


def run_undisturbed(job: Job, config: Mapping[str, Any], directory: Path, group: str, overrides: list[str]) -> None:
    """As `run_job`, on a disk that is well."""
    started = time.perf_counter()
    name = job_name(job)
    names = {config_key(part): getattr(job, part).name for part in NAMED}
    cache = ArrayCache(Path(job.cache) / "influence")
    key = key_of(job)
    influence = cache.find(key)
    # before a tracker has begun a run, because what the user got wrong shows here at the latest
    with deterministic_algorithms(job.deterministic):
        inputs = load(job) if influence is None else None
    if inputs is not None:
        key = key_of(job)  # what was downloaded just now has an identity now
    tags, told = list(names.values()), {**config, **names}
    with checkpoint(cache, key, needed=inputs is not None) as left:
        if inputs is not None:
            influence = cache.find(key)  # another process may have measured it meanwhile
        with job.tracker.start(
            name=name, group=group, tags=tags, config=told, directory=directory, run_id=left.run_id
        ) as run:
            if influence is None:
                assert inputs is not None
                with deterministic_algorithms(job.deterministic):
                    influence = measured(job, inputs, run, left)
                cache.put(key, influence)
            else:
                log.info("influence array %s: found in %s%s", key, cache.root, measured_elsewhere(influence))
            verdicts, found = judged(job, influence, cache)
            write_results(directory, influence, *verdicts)
            found["seconds"] = time.perf_counter() - started
            run.finish(influence, verdicts[0], summary(verdicts[0], found))
        asked = {"name": name, "config": config, "overrides": overrides, "seeds": [job.seed], "array": key}
        # not before the tracker knows all: a job without a manifest is given again, and its run continued
        write_manifest(directory, {**asked, "status": DONE, **found})
        left.remove()
