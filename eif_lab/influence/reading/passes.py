"""Reading the probes: all of them through the model, pass after pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from eif_lab.influence.batch import Batch, Inputs, call_model
from eif_lab.influence.problem import GIB, Problem
from eif_lab.influence.reading.arrangement import Arrangement, ChannelsLast, Pass, SharedPrefixes
from eif_lab.influence.reading.compiling import Kernels, compiled_kernels
from eif_lab.influence.resources.memory import Chunks, out_of_memory, peak_bytes
from eif_lab.influence.snapshot import Snapshot
from eif_lab.models.base import SharesPrefixes
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import READOUTS, Readout, Score

CACHE = 32 * 2**20
"""Bytes of one pass over probes on a CPU, through a model that is smaller than this: more leave the cache, and are
slower. A larger model's weights leave it in each pass, and its passes are as large as it is (docs/decisions.md)."""

LARGEST_PASS = 4096
"""Probes."""

Wanted = Bool[Tensor, " rows"] | None
"""Which rows are read; None for all."""


@dataclass(frozen=True)
class Passes:
    """How the probes go through the model, found out once and the same for every update.

    An update that changes nothing changes no bit of what is read: the same probes are in the same passes every time.

    Attributes:
        base: The model before any update.
        probes: The rows that are read.
        readouts: By name.
        candidates: Which rows are candidates of the same probe; None where each row is a probe of its own.
        memory_budget: GiB that may be taken beside the model and the data.
        arrangement: How the rows of a pass are laid out.
        chunks: How many rows go through the model at once.
        row_bytes: What reading one row takes, beside the model.
        one_pass: All rows go through the model in one pass, because a row's output depends on the rows beside it.
        kernels: The compiled model; None where passes are not compiled.
        runs: Rows that follow on and are read together or not at all, as the problem has them: no pass goes beyond one.
    """

    base: Snapshot
    probes: Batch
    readouts: Mapping[str, Readout]
    candidates: Candidates | None
    memory_budget: float
    arrangement: Arrangement
    chunks: Chunks
    row_bytes: int = 1
    one_pass: bool = False
    kernels: Kernels | None = None
    runs: tuple[slice, ...] = ()

    @classmethod
    def of(
        cls,
        base: Snapshot,
        probes: Batch,
        readouts: Mapping[str, Readout],
        *,
        candidates: Candidates | None = None,
        memory_budget: float = 2.0,
        arrangement: Arrangement | None = None,
    ) -> Passes:
        """Find out which arrangement is fastest, unless it is named, and how many rows go at once: a trial of each."""
        plain = cls(base, probes, readouts, candidates, memory_budget, Arrangement(), Chunks(1, "probes"))
        passes = replace(plain, arrangement=fastest_arrangement(plain) if arrangement is None else arrangement)
        few = slice(min(4, len(probes)))
        arranged = passes.arranged(few)  # here, so that packing them is no part of the peak
        peak = peak_bytes(lambda: passes.read_pass(base.model, *arranged), probes.device)
        base.restore()
        row_bytes = max(1, peak // few.stop)
        model_bytes = sum(parameter.nbytes for parameter in base.model.parameters())
        size = rows_at_once(row_bytes, memory_budget, probes.device, model_bytes)
        return replace(passes, row_bytes=row_bytes, chunks=Chunks(size, "probes"))

    def plain(self, one_pass: bool) -> Passes:
        """Passes over the same rows in the plain arrangement, not compiled."""
        return replace(self, arrangement=Arrangement(), kernels=None, one_pass=one_pass)

    def of_other_rows(
        self, probes: Batch, candidates: Candidates | None = None, runs: tuple[slice, ...] = ()
    ) -> Passes:
        """Passes over other rows of the same length, not compiled, with what was found out about these."""
        arrangement = self.arrangement.for_other_rows()
        return replace(self, probes=probes, candidates=candidates, arrangement=arrangement, kernels=None, runs=runs)

    def compiled(self) -> Passes:
        """The same passes through ``torch.compile``."""
        return replace(self, kernels=compiled_kernels(self.base.model))

    @property
    def size(self) -> int:
        """Rows of a whole pass."""
        return min(self.chunks.size, max((run.stop - run.start for run in self.runs), default=len(self.probes)))

    @property
    def pass_bytes(self) -> int:
        """Memory of one pass, in bytes, beside the model."""
        return self.row_bytes * self.size

    @cached_property
    def columns(self) -> list[Readout]:
        """The readouts that are computed for each row."""
        if self.candidates is None:
            return list(self.readouts.values())
        return [READOUTS["log_prob"], *self.candidates.read_by_row(self.readouts).values()]

    @property
    def base_rows(self) -> Shaped[Tensor, "rows columns"]:
        """Readings of each row before any update."""
        return self.base_reading[0]

    @property
    def rows_through(self) -> Mapping[int, int]:
        """How many rows each module of the base computes where all probes are read, by its ``id``."""
        return self.base_reading[1]

    @cached_property
    def base_reading(self) -> tuple[Tensor, dict[int, int]]:
        """What is read before any update, and what went through each module meanwhile; hooks would end compilation."""
        return count_rows(lambda: self.read_rows({})) if self.kernels is None else (self.read_rows({}), {})

    def probe_readings(self, rows: Tensor) -> Tensor:
        """Readings of probes, (..., probes, readouts), from those of their rows, (..., rows, columns)."""
        return rows if self.candidates is None else self.candidates.probe_readings(rows, self.readouts)

    def read(self, model: Callable[..., Any], wanted: Wanted = None) -> Shaped[Tensor, "probes readouts"]:
        """Every readout of every probe under a model as it stands: the base, or an updated copy of it."""
        return self.probe_readings(self.read_plainly(model, wanted))

    def read_plainly(self, model: Callable[..., Any], wanted: Wanted = None) -> Shaped[Tensor, "rows columns"]:
        """What is read of each row under a model as it stands, rows as they are."""
        return self.over_rows(lambda place: self.read_pass(model, *self.probes.take(place)), wanted)

    def read_rows(self, parameters: Mapping[str, Tensor], wanted: Wanted = None) -> Shaped[Tensor, "rows columns"]:
        """What is read of each row under the model with other parameters, in the fastest arrangement."""
        layout = self.arrangement
        values = {**layout.weights(self.base.model), **{n: layout.weight(value) for n, value in parameters.items()}}

        def call(*args: Any, **kwargs: Any) -> Tensor:
            whole = len(args) == 1 and isinstance(args[0], Tensor) and len(args[0]) == self.size
            if self.kernels is not None and whole:  # another size would compile anew
                return self.kernels(values, args[0])
            with self.with_parameters(values):
                return self.base.model(*args, **kwargs)

        return self.over_rows(lambda place: self.read_pass(call, *self.arranged(place)), wanted)

    def over_rows(self, read: Callable[[slice], Tensor], wanted: Wanted = None) -> Tensor:
        """Pass after pass: (rows, columns).

        Args:
            read: The rows of one pass.
            wanted: (rows,), which are asked for; the others are NaN.
        """
        every = slice(0, len(self.probes))
        if self.one_pass:
            out = read(every)
            return out if wanted is None else out.masked_fill(~wanted.to(out.device)[:, None], torch.nan)
        runs = [run for run in self.runs or (every,) if wanted is None or wanted[run].any()]
        parts = [torch.cat(list(self.chunks.over(run.stop - run.start, shifted(read, run.start)))) for run in runs]
        if wanted is None:
            return torch.cat(parts)
        out = parts[0].new_full((every.stop, parts[0].shape[1]), torch.nan)
        for run, part in zip(runs, parts):
            out[run] = part.masked_fill(~wanted[run].to(part.device)[:, None], torch.nan)
        return out

    @torch.no_grad()
    def read_pass(self, model: Callable[..., Any], inputs: Inputs, targets: Tensor) -> Shaped[Tensor, "rows columns"]:
        """Readings of the rows of one pass."""
        output = call_model(model, inputs)
        columns: list[Score] = [one if one.reads_classes else on_copies(one) for one in self.columns]
        return torch.stack([readout(output, targets) for readout in columns], dim=-1)

    def arranged(self, place: slice) -> Pass:
        """Inputs and targets of some rows as they go through the model fastest."""
        return self.arrangement.arrange(place, self.probes.take(place))

    @contextmanager
    def with_parameters(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Within this, the model has these: ``torch.func.functional_call``, which looks for their places every time."""
        places = [(slots, local, value) for name, value in parameters.items() for slots, local in self.places[name]]
        before = [slots[local] for slots, local, _ in places]
        try:
            for slots, local, value in places:
                slots[local] = value
            yield
        finally:
            for (slots, local, _), value in zip(places, before):
                slots[local] = value

    @cached_property
    def places(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """By name, the mapping of each module that has the parameter, and its name there; tied ones have several."""
        names = {id(parameter): name for name, parameter in self.base.model.named_parameters()}
        places: dict[str, list[tuple[dict[str, Any], str]]] = {name: [] for name in names.values()}
        for module in self.base.model.modules():
            for local, parameter in module._parameters.items():
                if parameter is not None:
                    places[names[id(parameter)]].append((module._parameters, local))
        return places


@torch.no_grad()
def count_rows(read: Callable[[], Tensor]) -> tuple[Tensor, dict[int, int]]:
    """What is read, and how many rows each module gives meanwhile, by its ``id``."""
    rows: dict[int, int] = {}

    def count(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim > 1 and not output.is_nested:
            width = output.shape[1] if isinstance(module, nn.Conv2d) else output.shape[-1]
            rows[id(module)] = rows.get(id(module), 0) + output.numel() // max(1, width)

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        return read(), rows
    finally:
        handle.remove()


def shifted(read: Callable[[slice], Tensor], start: int) -> Callable[[slice], Tensor]:
    """The same, of places counted from ``start`` on."""
    return lambda place: read(slice(start + place.start, start + place.stop))


def passes_of(problem: Problem, arrangement: Arrangement | None = None) -> Passes:
    """Passes over the probes of a problem, in the fastest arrangement unless one is named."""
    passes = Passes.of(
        problem.base,
        problem.probes,
        problem.readouts,
        candidates=problem.candidates,
        memory_budget=problem.memory_budget,
        arrangement=arrangement,
    )
    return replace(passes, runs=problem.runs)


def rows_at_once(row_bytes: int, memory_budget: float, device: torch.device, model_bytes: int) -> int:
    """As many as half the memory budget holds; on a CPU also no more than keep a pass in the cache, or as small as the
    model.
    """
    room = memory_budget * GIB / 2
    if device.type == "cpu":
        room = min(room, max(CACHE, model_bytes))
    return 2 ** max(0, min(int(room / row_bytes), LARGEST_PASS).bit_length() - 1)


def fastest_arrangement(passes: Passes) -> Arrangement:
    """The arrangement that is fastest for the model, and right: by a trial on plain passes."""
    model = passes.base.model
    if convolves(model):
        return ChannelsLast() if takes_channels_last(passes) else Arrangement()
    known = all(readout.reads_classes for readout in passes.readouts.values())  # others may look anywhere
    with_numbers = passes.probes.device.type != "meta"  # shapes do not tell what texts share
    if known and with_numbers and isinstance(model, SharesPrefixes) and model.can_share(passes.probes.inputs.shape[1]):
        return SharedPrefixes(model)
    return Arrangement()


def convolves(model: nn.Module) -> bool:
    """Whether the model is one of images."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def takes_channels_last(passes: Passes) -> bool:
    """Whether images may go through the model with the channels last, which is faster: a ``view`` may forbid it."""
    trial = replace(passes, arrangement=ChannelsLast())
    place = slice(2)
    try:
        with trial.with_parameters(trial.arrangement.weights(trial.base.model)):
            trial.read_pass(trial.base.model, *trial.arranged(place))
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        return False
    finally:
        passes.base.restore()
    return True


def on_copies(readout: Readout) -> Score:
    """A readout that may change what it is given."""
    return lambda output, targets: readout(output.clone(), targets.clone())
