"""Influence through the context: what reading a stimulus before a probe does, with no weight moved."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn, no_grad
from torch.utils._pytree import tree_leaves

from eif_lab.errors import must_be, rule_error
from eif_lab.influence.arguments import must_be_callback, must_be_earlier_parts, must_be_outside_inference_mode
from eif_lab.influence.array import only_read
from eif_lab.influence.batch import Batch, Data, as_batch, device_of, kind_of
from eif_lab.influence.caller_model import prepared_for_training
from eif_lab.influence.measurement import OnChunk, must_be_read, must_have_classes
from eif_lab.influence.problem import GIB
from eif_lab.influence.reading.passes import Passes
from eif_lab.influence.resources.precision import full_precision
from eif_lab.influence.snapshot import Snapshot
from eif_lab.influence.soundness import FEW, must_be_classes, must_be_readable, must_hold_numbers, output_of
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.classes import at_least_float32, classes_last
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
    measured: Iterable[np.ndarray] = (),
    read: np.ndarray | None = None,
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
        read: (stimuli, probes), true where a stimulus is read before a probe, as `measure_influence` takes it; each
            context then has the rows of these probes alone.

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
    must_be_contexts(contexts, memory_budget, on_chunk)
    must_hold_numbers(model)
    plain, readouts = as_batch(probes, "probes"), named_readouts(readout)
    must_have_classes(plain, readouts)
    must_be_earlier_parts(measured)
    parts = list(measured)
    known = len(parts)
    with prepared_for_training(model, None, 0) as ready, full_precision():
        base = Snapshot(ready, room=memory_budget * GIB / 2)
        reader = ContextReader(base, readouts, candidates, memory_budget)
        before = reader.read(plain, "probes")
        must_be_parts(parts, tuple(before.shape))
        number, signs = -1, before.new_tensor([one.sign for one in readouts.values()])
        for number, rows in enumerate(contexts):
            name = f"contexts[{number}]"
            batch = as_batch(rows, name)
            must_have_classes(batch, readouts)
            probes_read, rows_read = rows_behind(read, number, candidates, len(plain), len(before))
            if len(batch) != len(rows_read):
                rule = f"have a row for each of the {len(rows_read)} rows of probes"
                raise rule_error(name, rule, len(batch))
            asked = reader.of_rows(rows_read)
            if number < known:
                asked.passes_over(batch, name)  # the first context of a shape decides how all of that shape are read
                continue
            part = torch.full_like(before, torch.nan)
            part[probes_read] = (asked.read(batch, name) - before[probes_read]) * signs
            parts.append(part[None, None].cpu().numpy())
            if on_chunk is not None:
                on_chunk(parts[-1])
    if not parts:
        raise rule_error("contexts", "hold at least one stimulus", 0)
    if known > number + 1:
        raise rule_error("measured", f"hold parts of no more than the {number + 1} contexts", known)
    array = context_array(np.concatenate(parts)[:, 0], readouts)
    array = array if read is None else only_read(array, read)
    return array.isel(readout=0) if isinstance(readout, str) or callable(readout) else array


@dataclass
class ContextReader:
    """Reads the probes behind one context after the other.

    Attributes:
        base: The model, in eval mode.
        readouts: By name.
        candidates: Which probe each row is a candidate answer of; None where each row is a probe.
        memory_budget: GiB that may be taken beside the model and the data.
        passes: The first passes over rows of each shape: what they found out holds for all of that shape.
        classes: How many the model tells apart; 0 while that is not known, or where no readout reads them.
    """

    base: Snapshot
    readouts: Mapping[str, Readout]
    candidates: Tensor | np.ndarray | None
    memory_budget: float
    passes: dict[Hashable, Passes] = field(default_factory=dict)
    classes: int = 0

    def of_rows(self, rows: np.ndarray) -> ContextReader:
        """The reader of some of the rows, which are those of whole probes; what is found out is shared."""
        if self.candidates is None or len(rows) == len(self.candidates):
            return self
        probe = torch.as_tensor(self.candidates).cpu()[torch.from_numpy(rows)]
        return replace(self, candidates=probe.unique(return_inverse=True)[1])

    def read(self, rows: Batch, name: str = "") -> Float[Tensor, "probes readouts"]:
        """Every readout of every probe, at least in float32; ``name`` as `passes_over` takes it."""
        passes = self.passes_over(rows, name)
        return at_least_float32(passes.probe_readings(passes.base_rows))

    def passes_over(self, rows: Batch, name: str = "") -> Passes:
        """Passes over these rows, with what is known of their shape.

        Args:
            rows: Inputs and targets.
            name: What errors call them; empty for rows that are right, and are not tried.

        Raises:
            ConfigError: The model or a readout fails on rows that have a name.
        """
        groups = None if self.candidates is None else Candidates.of(self.candidates, rows.targets)
        if groups is not None and not groups.needed_for(self.readouts):
            rows, groups = rows.take(groups.target_rows), None
        device = device_of(self.base.model)
        shape = tuple((leaf.shape[1:], leaf.dtype) for leaf in tree_leaves(rows.inputs))
        rows, groups = rows.to(device), None if groups is None else groups.to(device)
        if name and self.classes:
            must_be_classes(rows.targets, self.classes, name)
        if shape in self.passes:
            return self.passes[shape].of_other_rows(rows, groups)
        if name:
            self.must_read(rows, name)
        self.passes[shape] = Passes.of(
            self.base, rows, self.readouts, candidates=groups, memory_budget=self.memory_budget
        )
        return self.passes[shape]

    def must_read(self, rows: Batch, name: str) -> None:
        """Try the model and the readouts on a few rows.

        Raises:
            ConfigError: One of them fails.
        """
        few = rows.take(slice(FEW))
        try:
            with no_grad():
                output = output_of(self.base.model, few, name)
                for readout_name, readout in self.readouts.items():
                    must_be_readable(rows, readout_name, readout, output, few.targets, field=name)
                    moved = classes_last(output, few.targets) if readout.reads_classes else None
                    self.classes = self.classes if moved is None else moved.shape[-1]
        finally:
            self.base.restore()


def rows_behind(
    read: np.ndarray | None, number: int, candidates: Tensor | np.ndarray | None, rows: int, probes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The probes that a context is read before, and their rows.

    Args:
        read: As `measure_context` takes it.
        number: The context's.
        candidates: As `measure_context` takes it.
        rows, probes: How many there are.

    Raises:
        ConfigError: ``read`` has no row for this context, or it is not what it should be.
    """
    if read is None:
        return np.arange(probes), np.arange(rows)
    must_be_read(read, (max(len(read), number + 1), probes))
    probe = np.arange(probes) if candidates is None else np.asarray(candidates)
    return np.flatnonzero(read[number]), np.flatnonzero(read[number][probe])


def must_be_contexts(contexts: Any, memory_budget: Any, on_chunk: Any) -> None:
    """Refuse what is of another type than `measure_context` takes."""
    must_be_outside_inference_mode()
    must_be("contexts", contexts, Iterable, "the rows of each stimulus, in a list or the like")
    number = isinstance(memory_budget, int | float) and math.isfinite(memory_budget)
    if not number or memory_budget <= 0:
        raise rule_error("memory_budget", "be a number above 0", memory_budget, "Try 2 (GiB).")
    must_be_callback(on_chunk)


def must_be_parts(measured: Sequence[Any], shape: tuple[int, ...]) -> None:
    """Refuse parts that are not of this measurement: each is to be (1, 1, probes, readouts)."""
    for part in measured:
        numbers = isinstance(part, np.ndarray) and part.dtype.kind == "f"
        if not numbers or part.shape != (1, 1, *shape):
            received = part.shape if numbers else kind_of(part)
            raise rule_error("measured", f"hold parts of this measurement, each {(1, 1, *shape)}", received)


def context_array(values: np.ndarray, readouts: Mapping[str, Readout]) -> xr.DataArray:
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
