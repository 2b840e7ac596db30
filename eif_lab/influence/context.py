"""Influence through the context: what reading a stimulus before a probe does, with no weight moved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from eif_lab.errors import rule_error
from eif_lab.influence.batch import Batch, Data, as_batch, device_of
from eif_lab.influence.measure import OnChunk, must_have_classes, prepared
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.resources.precision import full_precision
from eif_lab.influence.state import State
from eif_lab.influence.update import Update
from eif_lab.models.language.causal_lm import token_loss
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import BETTER_WHEN_LOWER, UNITS, Readout, named_readouts, raised

SIGN = "readout with the stimulus in context minus without: positive means that the stimulus made the target likelier"


def measure_context(
    model: nn.Module,
    probes: Data,
    contexts: Iterable[Data],
    *,
    readout: str | Readout | Sequence[str | Readout] = "log_prob",
    candidates: Tensor | np.ndarray | None = None,
    memory_budget: float = 2.0,
    on_chunk: OnChunk | None = None,
    measured: Sequence[np.ndarray] = (),
) -> xr.DataArray:
    r"""What reading each stimulus before each probe does to it.

    .. math:: I_{ij} = s(\theta; z_i \frown q_j) - s(\theta; q_j)

    All probes of one stimulus begin with it, so that a language model computes it once for each pass over probes
    (`eif_lab.models.language.prefixes`). The model is in eval mode throughout, and left as it was.

    Args:
        model: Any module, called as ``model(inputs)``.
        probes: (inputs, targets) with a row per probe, or a data set of such pairs: the probes without a stimulus.
        contexts: For each stimulus the same rows with the stimulus before them; taken one by one, so that they can be
            made as they are asked for.
        readout: As of `measure_influence`.
        candidates: As of `measure_influence`: (rows,), which probe each row is a candidate answer of.
        memory_budget: GiB that may be taken beside the model and the data.
        on_chunk: Called with each stimulus's part, (1, 1, probes, readouts), as it is measured.
        measured: As of `measure_influence`: the parts of the first contexts, which are not read again.

    Returns:
        Dims ``(stimulus, probe)``, and ``readout`` after them if several are asked for; units and sign convention are
        attributes. The numbers of `measure_influence`, to be compared cell by cell.

    Raises:
        ConfigError: The readout or the rows are not what they should be.

    Source: Matelsky, Ungar, Kording, arXiv 2406.00509.
    """
    plain, readouts = as_batch(probes, "probes"), named_readouts(readout)
    must_have_classes(plain, readouts)
    parts = list(measured)
    with prepared(model, None, 0) as ready, full_precision():
        reader = ContextReader(ready, readouts, candidates, memory_budget)
        before = reader.read(plain)
        signs = before.new_tensor([-1 if name in BETTER_WHEN_LOWER else 1 for name in readouts])
        for number, rows in enumerate(contexts):
            batch = as_batch(rows, f"contexts[{number}]")
            if len(batch) != len(plain):
                rule = f"have a row for each of the {len(plain)} rows of probes"
                raise rule_error(f"contexts[{number}]", rule, len(batch))
            if number < len(measured):
                reader.problem_of(batch)  # the first context of a length decides how all of that length are read
                continue
            parts.append(((reader.read(batch) - before) * signs)[None, None].cpu().numpy())
            if on_chunk is not None:
                on_chunk(parts[-1])
    if not parts:
        raise rule_error("contexts", "hold at least one stimulus", 0)
    array = as_array(np.concatenate(parts)[:, 0], readouts)
    return array.isel(readout=0) if isinstance(readout, str) or callable(readout) else array


@dataclass
class ContextReader:
    """Reads the probes behind one context after the other.

    Attributes:
        model: In eval mode.
        readouts: By name.
        candidates: Which probe each row is a candidate answer of; None where each row is a probe.
        memory_budget: GiB that may be taken beside the model and the data.
        found: What was found out about reading rows of a length, by length: it takes passes of its own.
    """

    model: nn.Module
    readouts: Mapping[str, Readout]
    candidates: Tensor | np.ndarray | None
    memory_budget: float
    found: dict[int, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def state(self) -> State:
        """The model as it came."""
        return State(self.model, room=self.memory_budget * GIB / 2)

    def read(self, rows: Batch) -> Float[Tensor, "probes readouts"]:
        """Every readout of every probe, at least in float32."""
        return raised(self.problem_of(rows).read_with({}))

    def problem_of(self, rows: Batch) -> Problem:
        """The reading of these rows, with all that is known of their length."""
        choices = None if self.candidates is None else Candidates.of(self.candidates, rows.targets)
        if choices is not None and not choices.needed_for(self.readouts):
            rows, choices = rows.take(choices.own), None
        problem = self.problem(rows, choices)
        length = rows.inputs.shape[1]
        if length not in self.found:
            self.found[length] = {"passes": problem.passes, "shares_prefixes": problem.shares_prefixes}
        vars(problem).update(self.found[length])  # as cached as if the problem itself had found it out
        return problem

    def problem(self, rows: Batch, choices: Candidates | None) -> Problem:
        """The measurement of an update that never comes."""
        device = device_of(self.model)
        probes = rows.to(device)
        return Problem(
            model=self.model,
            loss=token_loss,
            samples=probes,
            members=torch.empty(0, 1, dtype=torch.long, device=device),
            probes=probes,
            readouts=self.readouts,
            update=Update(learning_rate=0.0),
            memory_budget=self.memory_budget,
            choices=None if choices is None else choices.to(device),
            base_state=self.state,
        )


def as_array(values: np.ndarray, readouts: Mapping[str, Readout]) -> xr.DataArray:
    """The array of (stimuli, probes, readouts)."""
    return xr.DataArray(
        values,
        dims=("stimulus", "probe", "readout"),
        coords={
            "stimulus": np.arange(values.shape[0]),
            "probe": np.arange(values.shape[1]),
            "readout": list(readouts),
        },
        name="influence",
        attrs={
            "units": json.dumps({name: UNITS.get(name, "") for name in readouts}),
            "sign": SIGN,
            "perturbation": "include",
            "engine": "context",
        },
    )
