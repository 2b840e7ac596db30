"""What an array takes on disk and in verdicts, tried on one of noise that is like the array to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import xarray as xr

from eif_lab.desiderata.evaluation import evaluate_all
from eif_lab.influence.array import annotate
from eif_lab.influence.resources.forecast import seconds
from eif_lab.jobs.inputs import Inputs
from eif_lab.jobs.job import Job
from eif_lab.jobs.record import ATTRIBUTE
from eif_lab.library.measure import with_base_log_prob
from eif_lab.results.arrays import write_array
from eif_lab.results.provenance import provenance

MOST_CELLS = 250_000
"""Of an array that verdicts and disk are tried on; a larger one goes by its size."""


def made_up(job: Job, steps: Sequence[int], inputs: Inputs) -> tuple[xr.DataArray, float]:
    """An array of noise with the coordinates of the one to be, or of its head; and how many times larger that is.

    Args:
        job: The options.
        steps: Those after which probes are read.
        inputs: What is measured.
    """
    task = inputs.task
    stimuli, probes = task.relation.shape
    rows = max(min(2, stimuli), min(stimuli, MOST_CELLS // (probes * len(steps))))
    first = with_base_log_prob(task.take(np.arange(rows), np.arange(probes)), torch.rand(probes))
    kind = np.float64 if next(inputs.model.parameters()).dtype == torch.float64 else np.float32
    noise = np.random.default_rng(0).normal(size=(1, rows, len(steps), probes, len(job.readout))).astype(kind)
    coords = {"seed": [job.seed], "step": steps, "readout": job.readout}
    array = xr.DataArray(noise, dims=("seed", "stimulus", "step", "probe", "readout"), coords=coords)
    distances = {name: values[:rows] for name, values in inputs.distances.items()}
    array = annotate(array, first, distances, default=next(iter(distances)))
    record = json.dumps({**inputs.record, "measured": provenance()})  # of a small array it is most of what is stored
    return array.assign_attrs({ATTRIBUTE: record}), stimuli / rows


def on_disk(array: xr.DataArray) -> float:
    """Bytes of the stored array, by storing it."""
    with TemporaryDirectory() as folder:
        write_array(Path(folder) / "array", array)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def judging(job: Job, array: xr.DataArray) -> float:
    """Seconds of the verdicts."""
    if not job.desideratum:
        return 0.0
    return seconds(partial(evaluate_all, array, job.desideratum, job.seed, job.readout[0]))
