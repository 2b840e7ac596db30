"""Influence through the context: what reading a stimulus before a probe does, with no weight moved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from eif_lab.errors import rule_error
from eif_lab.influence.batch import Batch, Data, as_batch, device_of
from eif_lab.influence.borrowing import borrowed
from eif_lab.influence.measurement import OnChunk, must_have_classes
from eif_lab.influence.problem import GIB
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.precision import full_precision
from eif_lab.influence.snapshot import Snapshot
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.classes import raised
from eif_lab.readouts.readout import Readout, Score, named_readouts

SIGN = "readout with the stimulus in context minus without: positive means that the stimulus made the target likelier"


def measure_context(
    model: nn.Module,
    probes: Data,
    contexts: Iterable[Data],
    *,
    readout: str | Score | Sequence[str | Score] = "log_prob",
    candidates: Tensor | np.ndarray | None = None,
    memory_budget: float = 2.0,
    on_chunk: OnChunk | None = None,
    measured: Sequence[np.ndarray] = (),
) -> xr.DataArray:
    r"""What reading each stimulus before each probe does to it.

    .. math:: I_{ij} = s(\theta; z_i \frown q_j) - s(\theta; q_j)

    All probes of one stimulus begin with it, so that a language model computes it once for each pass over probes
    (`SharesPrefixes`). The model is in eval mode throughout, and left as it was.

    Args:
        model: Any module, called as ``model(inputs)``.
        probes: (inputs, targets) with a row per probe, or a data set of such pairs: the probes without a stimulus.
        contexts: For each stimulus the same rows with the stimulus before them; taken one by one, so that they can be
            made as they are asked for.
        readout: Name, function (output, target) to one scalar per row, or several of these.
        candidates: (rows,), which probe each row is a candidate answer of; a probe's first row is its target.
        memory_budget: GiB that may be taken beside the model and the data.
        on_chunk: Called with each stimulus's part, (1, 1, probes, readouts), as it is measured.
        measured: Parts of the first contexts that ``on_chunk`` was called with before, which are not read again.

    Returns:
        Dims ``(stimulus, probe)``, and ``readout`` after them if several are asked for; units and sign convention are
        attributes. The numbers of `measure_influence`, to be compared cell by cell.

    Raises:
        ConfigError: The readout or the rows are not what they should be.

    Examples:
        >>> import torch
        >>> inputs, targets = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
        >>> contexts = [(inputs + shift, targets) for shift in (0, 1)]
        >>> influence = measure_context(torch.nn.Linear(5, 3), (inputs, targets), contexts)
        >>> influence.shape, bool((influence[0] == 0).all())
        ((2, 4), True)

    Source: Matelsky, Ungar, Kording, arXiv 2406.00509.
    """
    plain, readouts = as_batch(probes, "probes"), named_readouts(readout)
    must_have_classes(plain, readouts)
    parts = list(measured)
    with borrowed(model, None, 0) as ready, full_precision():
        base = Snapshot(ready, room=memory_budget * GIB / 2)
        reader = ContextReader(base, readouts, candidates, memory_budget)
        before = reader.read(plain)
        signs = before.new_tensor([one.sign for one in readouts.values()])
        for number, rows in enumerate(contexts):
            batch = as_batch(rows, f"contexts[{number}]")
            if len(batch) != len(plain):
                rule = f"have a row for each of the {len(plain)} rows of probes"
                raise rule_error(f"contexts[{number}]", rule, len(batch))
            if number < len(measured):
                reader.passes_over(batch)  # the first context of a length decides how all of that length are read
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
        base: The model, in eval mode.
        readouts: By name.
        candidates: Which probe each row is a candidate answer of; None where each row is a probe.
        memory_budget: GiB that may be taken beside the model and the data.
        passes: The first passes over rows of each length: what they found out holds for all of that length.
    """

    base: Snapshot
    readouts: Mapping[str, Readout]
    candidates: Tensor | np.ndarray | None
    memory_budget: float
    passes: dict[int, Passes] = field(default_factory=dict)

    def read(self, rows: Batch) -> Float[Tensor, "probes readouts"]:
        """Every readout of every probe, at least in float32."""
        passes = self.passes_over(rows)
        return raised(passes.settled(passes.base_rows))

    def passes_over(self, rows: Batch) -> Passes:
        """Passes over these rows, with what is known of their length."""
        groups = None if self.candidates is None else Candidates.of(self.candidates, rows.targets)
        if groups is not None and not groups.needed_for(self.readouts):
            rows, groups = rows.take(groups.own), None
        device, length = device_of(self.base.model), rows.inputs.shape[1]
        rows, groups = rows.to(device), None if groups is None else groups.to(device)
        if length in self.passes:
            return self.passes[length].of_other_rows(rows, groups)
        self.passes[length] = Passes.of(
            self.base, rows, self.readouts, candidates=groups, memory_budget=self.memory_budget
        )
        return self.passes[length]


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
            "units": json.dumps({name: one.unit for name, one in readouts.items()}),
            "sign": SIGN,
            "perturbation": "include",
            "engine": "context",
        },
    )
