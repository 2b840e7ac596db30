"""The public function: fine-tune on one stimulus at a time and read every probe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor, nn

from eif_lab.errors import rule_error
from eif_lab.influence.arguments import (
    must_be_able_to_learn,
    must_be_earlier_parts,
    must_be_settings,
    must_name_some,
    seeds_of,
    update_at_a_rate,
)
from eif_lab.influence.array import only_read
from eif_lab.influence.batch import Data, as_batch, kind_of
from eif_lab.influence.engines import Engine
from eif_lab.influence.engines.engine import EVERY
from eif_lab.influence.measurement import OnChunk, open_measurement, rows_of_sets
from eif_lab.influence.problem import Problem
from eif_lab.influence.sets import with_sets
from eif_lab.influence.update import Update
from eif_lab.methods import Method
from eif_lab.models.base import Loss
from eif_lab.readouts.readout import Score, named_readouts

SIGN = {
    "include": "readout after minus readout before: positive means that the stimulus made the target likelier",
    "exclude": "readout with the stimulus minus without it: positive means that the stimulus made the target likelier",
}


def measure_influence(
    model: nn.Module,
    loss: Loss,
    stimuli: Data,
    probes: Data,
    *,
    readout: str | Score | Sequence[str | Score] = "log_prob",
    method: str | Method | Mapping[str, Any] | None = "full",
    update: Update | Mapping[str, Any] | None = None,
    engine: str | Engine = "auto",
    perturbation: str = "include",
    sets: np.ndarray | None = None,
    trajectory: bool = False,
    seed: int | np.integer | Sequence[int] = 0,
    candidates: Tensor | np.ndarray | None = None,
    on_chunk: OnChunk | None = None,
    measured: Iterable[np.ndarray] = (),
    rows: slice | None = None,
    read: np.ndarray | None = None,
) -> xr.DataArray:
    r"""The empirical influence function: what training on each stimulus alone does to each probe.

    .. math:: I_{ij} = s(U(\theta; z_i); q_j) - s(\theta; q_j)

    for ``perturbation="include"``. With ``"exclude"`` the stimuli are one fine-tuning set ``D``, trained on as one
    batch unless the update says otherwise, and
    :math:`I_{ij} = s(U(\theta; D); q_j) - s(U(\theta; D \setminus z_i); q_j)`. With ``sets`` each row is a fine-tuning
    on a set of stimuli :math:`S_i`, and :math:`I_{ij} = s(U(\theta; S_i); q_j) - s(\theta; q_j)`. All are exact: the
    update is run, not approximated. Batch-norm and dropout are in eval mode throughout. The model is left as it was.

    Args:
        model: Any module, called as ``model(inputs)``; with a tuple of inputs as ``model(*inputs)``, with a dict as
            ``model(**inputs)``. It returns one tensor, with a row for each of the inputs'.
        loss: ``loss(output, target)``, a mean over the batch, such as ``torch.nn.functional.cross_entropy``.
        stimuli: (inputs, targets) with a row per stimulus, tensors or arrays of NumPy; or a data set of such pairs.
        probes: (inputs, targets) with a row per probe, in the same forms. All that are read in one pass go through the
            model as one batch.
        readout: ``log_prob``, ``log_odds``, ``prob``, ``rank``, ``correct``, a function (output, target) to one scalar
            per row, or several of these.
        method: What moves: ``full``, ``lora``, ``adapter``, ``ia3``, a `Method`, ``dict(name="lora", rank=4)``, or None
            for exactly the parameters that require a gradient.
        update: The recipe; by default one SGD step at 0.01, on all that is trained on at once. With ``batch_size``,
            ``epochs``, ``order`` and ``seed`` it goes through a set as a ``DataLoader`` does. See `Update`.
        engine: ``auto``, ``factored``, ``stacked``, ``loop``, ``reference``, or an `Engine`.
        perturbation: ``include`` or ``exclude``.
        sets: (sets, stimuli), true where a stimulus is in a set, of as many stimuli each, such as `draw_sets` gives:
            the rows of the array are then these sets, and `membership` reads off it what ``sets`` was.
        trajectory: Read after every step, not only after the last.
        seed: Of what the method draws (LoRA's initial weights); several give the array a dimension ``seed``.
        candidates: (rows,) whole numbers, for probes that are to be chosen among answers: which probe each row of
            ``probes`` is a candidate answer of. A probe's first row is its target. ``log_odds``, ``rank`` and
            ``correct`` are then against the probe's other candidates, by log-probability (per scored token where they
            differ in length); a probe with one row is read as ever, against all classes or sequences.
        on_chunk: Called with each finished part, (stimuli, steps, probes, readouts), as it is measured.
        measured: Parts that ``on_chunk`` was called with, from the first one on, when the same was measured before and
            interrupted: they are taken as they are, and the rest is measured.
        rows: Measure these stimuli, or sets, alone, such as ``slice(32, 64)``; with ``exclude`` the others are still
            trained on.
        read: (stimuli or sets, probes), true where a stimulus is read on a probe; all where None. Probes that are read
            on the same stimuli and follow on go through the model together. Where it is false the array has NaN, and
            its coordinate ``read`` tells this from an update that diverged.

    Returns:
        Dims ``(stimulus, probe)``, with ``seed`` before them if several seeds are given, ``step`` (1, 2, ...) between
        them with ``trajectory``, and ``readout`` after them if several readouts are asked for. Units and the sign
        convention are attributes. A stimulus whose update diverges has NaN influence; the others are not touched.

    Raises:
        ConfigError: An option is wrong, or stimuli and probes are not what they should be; or the learning rate is so
            small that the array would be rounding noise or zeros. A rate of exactly zero gives exactly zeros.

    Source: Matelsky, Ungar, Kording, arXiv 2406.00509.

    Examples:
        >>> import torch
        >>> samples = torch.randn(6, 5), torch.arange(6) % 3
        >>> loss = torch.nn.functional.cross_entropy
        >>> influence = measure_influence(torch.nn.Linear(5, 3), loss, samples, samples, update={"steps": 2})
        >>> influence.dims, influence.shape
        (('stimulus', 'probe'), (6, 6))
    """
    must_be_able_to_learn(model, loss, method=method, update=update, engine=engine)
    must_be_settings(perturbation, trajectory, on_chunk, rows, candidates)
    must_be_earlier_parts(measured)
    named_readouts(readout)  # so that a mistake in them is reported before anything is done
    recipe = update_at_a_rate(update)
    seeds, samples, watched = seeds_of(seed), as_batch(stimuli, "stimuli"), as_batch(probes, "probes")
    known, values, engines = iter(measured), list[np.ndarray](), list[str]()
    asked = EVERY if rows is None else rows
    if sets is None:
        must_name_some(asked, len(samples), "stimuli")
    else:
        must_name_some(asked, len(rows_of_sets(sets, len(samples), perturbation)), "sets")
    for one in seeds:
        with open_measurement(
            model, loss, samples, watched, readout=readout, method=method, update=recipe, engine=engine,
            perturbation=perturbation, sets=sets, trajectory=trajectory, seed=one, candidates=candidates, read=read,
        ) as measurement:  # fmt: skip
            problem = measurement.problem
            parts = parts_of(problem, known, len(problem.members[asked]))
            values.append(measurement.influence(recipe, on_chunk, parts, asked))
            engines.append(measurement.prepared.engine.name)
    array = influence_array(values, problem, engines[0], seeds, asked)
    unasked = {
        "seed": isinstance(seed, int | np.integer),
        "step": not trajectory,
        "readout": isinstance(readout, str) or callable(readout),
    }
    array = array.isel({dim: 0 for dim, drop in unasked.items() if drop})
    array = array if sets is None else with_sets(array, sets[asked])
    return array if read is None else only_read(array, read[asked])


def influence_array(
    values: Sequence[np.ndarray], problem: Problem, engine: str, seeds: Sequence[int], rows: slice = EVERY
) -> xr.DataArray:
    """Influence with its coordinates, units and sign convention: dims (seed, stimulus, step, probe, readout).

    Args:
        values: Of each seed, (stimuli, steps, probes, readouts).
        problem: What was measured.
        engine: The name of the engine that measured it.
        seeds: What the method was drawn with.
        rows: Which stimuli.
    """
    steps, perturbation = problem.steps, "include" if problem.everything is None else "exclude"
    return xr.DataArray(
        np.stack(values),
        dims=("seed", "stimulus", "step", "probe", "readout"),
        coords={
            "seed": seeds,
            "stimulus": np.arange(len(problem.members))[rows],
            "step": np.arange(1, steps + 1) if problem.trajectory else [steps],
            "probe": np.arange(values[0].shape[2]),
            "readout": list(problem.readouts),
        },
        name="influence",
        attrs={
            "units": json.dumps({name: one.unit for name, one in problem.readouts.items()}),
            "sign": SIGN[perturbation],
            "perturbation": perturbation,
            "engine": engine,
        },
    )


def parts_of(problem: Problem, known: Iterator[np.ndarray], stimuli: int) -> list[np.ndarray]:
    """The first parts of an earlier measurement, of no more than these first stimuli.

    Raises:
        ConfigError: A part is not of this measurement.
    """
    shape, parts = problem.shape, list[np.ndarray]()
    while (done := sum(map(len, parts))) < stimuli:
        try:
            part = next(known)
        except StopIteration:
            break
        numbers = isinstance(part, np.ndarray) and part.dtype.kind == "f"
        if not numbers or part.shape[1:] != shape or done + len(part) > stimuli:
            received = part.shape if numbers else kind_of(part)
            rule = f"hold parts of this measurement: at most {stimuli} stimuli by {shape}"
            raise rule_error("measured", rule, received)
        parts.append(part)
    return parts
