"""What every engine is given, and what it yields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from eif_lab.influence.batch import Batch, Inputs, called
from eif_lab.influence.resources.memory import Chunks, out_of_memory, peak_bytes
from eif_lab.influence.state import State
from eif_lab.influence.update import Update
from eif_lab.models.base import Loss
from eif_lab.models.language.causal_lm import CausalLM
from eif_lab.models.language.prefixes import TokenTree, share_prefixes
from eif_lab.options import Options, option
from eif_lab.readouts.candidates import Candidates
from eif_lab.readouts.readout import READOUTS, Readout, log_prob

log = logging.getLogger(__name__)

GIB = 2**30
CACHE = 32 * 2**20
"""Bytes of one pass over probes on a CPU; more leave its cache, and are slower (docs/decisions.md)."""

LARGEST_PASS = 4096
"""Probes."""

WORTH_SHARING = 0.1
"""The share of a pass's tokens that must be saved for prefixes to be shared: a mask and a gather cost something."""


@dataclass(frozen=True)
class Problem:
    """One influence measurement: which model, updated how, on which batches, watched by which probes.

    Attributes:
        model: In eval mode; exactly its parameters that require a gradient are trained.
        loss: (output, target) to a mean loss.
        samples: What can be trained on.
        members: (stimuli, size), rows of ``samples``: the batch that each update trains on.
        probes: What is watched, row by row: probes, or with ``choices`` the candidate answers of probes.
        readouts: By name.
        update: The recipe.
        trajectory: Read after every step, not only after the last.
        memory_budget: GiB that may be taken beside the model and the data.
        compiled: Whether passes over probes go through ``torch.compile``.
        choices: Which rows are candidates of the same probe; None where each row is a probe of its own.
        one_pass: All probes go through the model in one pass, because a row's output depends on the rows beside it.
        plainly: Probes go through it as they are, in no faster arrangement.
        base_state: The model as it is before any update; noted now unless it is given.
    """

    model: nn.Module
    loss: Loss
    samples: Batch
    members: Int[Tensor, "stimuli size"]
    probes: Batch
    readouts: Mapping[str, Readout]
    update: Update
    trajectory: bool = False
    memory_budget: float = 2.0
    compiled: bool = False
    choices: Candidates | None = None
    one_pass: bool = False
    plainly: bool = False
    base_state: State | None = None

    def __post_init__(self) -> None:
        if self.base_state is None:
            object.__setattr__(self, "base_state", State(self.model, room=self.memory_budget * GIB / 2))

    @property
    def state(self) -> State:
        """The model as it is before any update."""
        assert self.base_state is not None
        return self.base_state

    def restore(self) -> None:
        """Put the model back as it was before any update, after something that may have changed it."""
        unknown = self.state.leaks is None and not self.members.is_meta
        self.state.restore(every=unknown or bool(self.state.leaks))

    @cached_property
    def together(self) -> str:
        """Why stimuli cannot go through the model together, whatever the layout; empty where they may.

        It is found out before anything moves.
        """
        if any(isinstance(module, torch.jit.ScriptModule) for module in self.model.modules()):
            return "a scripted or traced module cannot be taken apart"
        if self.state.leaks is None and not self.members.is_meta:
            with torch.no_grad():
                called(self.model, self.samples.take(self.members[0]).inputs)
            self.note_leaks()
        return f"a call of the model changes its {self.state.leaks}" if self.state.leaks else ""

    def note_leaks(self) -> None:
        """After a call of the model, note what it changed, and put it back."""
        self.state.leaks = self.state.changed(values=True)
        self.state.restore(every=True)

    @cached_property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that move, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @cached_property
    def layouts(self) -> dict[Any, Any]:
        """What engines have found out about how each stimulus's gradient can be had."""
        return {}

    @cached_property
    def alone(self) -> dict[tuple[int, ...], Mapping[str, Tensor | None]]:
        """Gradients that stimuli have alone at the base, by their rows, while an engine is chosen."""
        return {}

    @cached_property
    def passes(self) -> Chunks:
        """How many rows of probes go through the model at once."""
        return Chunks(self.probes_at_once(), "probes")

    def probes_at_once(self) -> int:
        """On a CPU as many as keep a pass in the cache, elsewhere as many as half the memory budget holds."""
        room = self.memory_budget * GIB / 2
        if self.probes.device.type == "cpu":
            room = min(room, CACHE)
        return 2 ** max(0, min(int(room / self.probe_bytes), LARGEST_PASS).bit_length() - 1)

    @cached_property
    def probe_bytes(self) -> int:
        """What reading one probe takes, beside the model."""
        few = slice(min(4, len(self.probes)))
        arranged = self.arranged(few)  # here, so that finding out how is no part of the peak
        peak = peak_bytes(lambda: self.read_some(self.model, *arranged), self.probes.device)
        self.state.restore()
        return max(1, peak // few.stop)

    @property
    def pass_bytes(self) -> int:
        """What one pass over probes takes, beside the model."""
        return self.probe_bytes * min(self.passes.size, len(self.probes))

    def read(self, model: Callable[..., Any]) -> Tensor:
        """Every readout of every probe, the plain way: (probes, readouts).

        Args:
            model: The base or an updated one. It sees the same probes in the same passes every time, so that an update
                that changes nothing changes no bit of what is read.
        """
        return self.settled(self.over_rows(lambda place: self.read_some(model, *self.probes.take(place))))

    def read_with(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Every readout of every probe under the model with other parameters, the fast way: (probes, readouts)."""
        return self.settled(self.read_rows(parameters))

    def settled(self, rows: Tensor) -> Tensor:
        """Readings of probes, (probes, readouts), from those of their rows, (rows, columns)."""
        return rows if self.choices is None else self.choices.settle(rows, self.readouts)

    @cached_property
    def base_rows(self) -> Tensor:
        """What is read of each row before any update: (rows, columns)."""
        return self.read_rows({})

    @cached_property
    def columns(self) -> list[Readout]:
        """What is read of each row."""
        if self.choices is None:
            return list(self.readouts.values())
        return [log_prob, *self.choices.read_by_row(self.readouts).values()]

    def read_rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """What is read of each row under the model with other parameters, the fast way: (rows, columns)."""
        own = {**self.laid_out, **{name: self.in_layout(value) for name, value in parameters.items()}}
        size = min(self.passes.size, len(self.probes))

        def call(*args: Any, **kwargs: Any) -> Tensor:
            if self.compiled and len(args) == 1 and isinstance(args[0], Tensor) and len(args[0]) == size:
                return self.kernels(own, args[0])
            with self.holding(own):  # another size would compile anew
                return self.model(*args, **kwargs)

        return self.over_rows(lambda place: self.read_some(call, *self.arranged(place)))

    @contextmanager
    def holding(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Within this, the model has these: ``torch.func.functional_call``, which looks for their places every time."""
        places = [(held, local, own) for name, own in parameters.items() for held, local in self.places[name]]
        before = [held[local] for held, local, _ in places]
        try:
            for held, local, own in places:
                held[local] = own
            yield
        finally:
            for (held, local, _), own in zip(places, before):
                held[local] = own

    @cached_property
    def places(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """By name, each module's own mapping that holds the parameter, and its name there; tied ones have several."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        places: dict[str, list[tuple[dict[str, Any], str]]] = {name: [] for name in names.values()}
        for module in self.model.modules():
            for local, parameter in module._parameters.items():
                if parameter is not None:
                    places[names[id(parameter)]].append((module._parameters, local))
        return places

    def over_rows(self, read: Callable[[slice], Tensor]) -> Tensor:
        """Pass after pass: (rows, columns)."""
        if self.one_pass:
            return read(slice(len(self.probes)))
        return torch.cat(list(self.passes.over(len(self.probes), read)))

    @cached_property
    def kernels(self) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        """(parameters, inputs) to the output, through ``torch.compile``."""
        return compiled(lambda parameters, inputs: functional_call(self.model, parameters, (inputs,)))

    @torch.no_grad()
    def read_some(self, model: Callable[..., Any], inputs: Inputs, targets: Tensor) -> Tensor:
        """What is read of the rows of one pass: (rows, columns)."""
        output = called(model, inputs)
        own = [one if one in READOUTS.values() else on_copies(one) for one in self.columns]
        return torch.stack([readout(output, targets) for readout in own], dim=-1)

    def arranged(self, place: slice) -> tuple[Any, Tensor]:
        """Inputs and targets of some rows as they go through the model fastest."""
        inputs, targets = self.probes.take(place)
        if self.plainly:
            return inputs, targets
        if self.likes_channels_last:
            return tree_map(in_channels_last, inputs), targets
        if self.shares_prefixes:
            key = (place.start or 0, len(targets))
            if key not in self.trees:
                self.trees[key] = share_prefixes(inputs, targets)
            if self.trees[key][0].saved >= WORTH_SHARING:
                return self.trees[key]
        return inputs, targets

    @cached_property
    def convolves(self) -> bool:
        """Whether the model is one of images."""
        return any(isinstance(module, nn.Conv2d) for module in self.model.modules())

    @cached_property
    def likes_channels_last(self) -> bool:
        """Whether images may go through it with the channels last, which is faster: a ``view`` may forbid it."""
        if not self.convolves or self.plainly:
            return False
        inputs, targets = self.probes.take(slice(2))
        try:
            with self.holding(weights_in_channels_last(self.model)):
                self.read_some(self.model, tree_map(in_channels_last, inputs), targets)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            return False
        finally:
            self.state.restore()
        return True

    def in_layout(self, weight: Tensor) -> Tensor:
        """A parameter as it is used."""
        return in_channels_last(weight) if self.likes_channels_last else weight

    @cached_property
    def laid_out(self) -> dict[str, Tensor]:
        """The base's weights that are used in another layout than they have."""
        return weights_in_channels_last(self.model) if self.likes_channels_last else {}

    @cached_property
    def shares_prefixes(self) -> bool:
        """Whether texts that begin alike can go through the model as one tree."""
        known = all(readout in READOUTS.values() for readout in self.readouts.values())  # others may look anywhere
        return known and isinstance(self.model, CausalLM) and self.model.can_share(self.probes.inputs.shape[1])

    @cached_property
    def trees(self) -> dict[tuple[int, int], tuple[TokenTree, Tensor]]:
        """Passes over texts that share prefixes, by where they begin and how many texts they hold."""
        return {}


def on_copies(readout: Readout) -> Readout:
    """A readout that may change what it is given."""
    return lambda output, targets: readout(output.clone(), targets.clone())


def in_channels_last(tensor: Tensor) -> Tensor:
    """Images, and weights of convolutions, with the channels last; it also sets the strides of a single channel."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def weights_in_channels_last(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights of convolutions with the channels last, by name."""
    every = ((name, parameter.detach()) for name, parameter in model.named_parameters())
    return {name: in_channels_last(value) for name, value in every if value.ndim == 4}


def compiled(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The call through ``torch.compile``; as it is, and said once, where it cannot be compiled."""
    # inductor goes by the CPU's flags, and need not build and run a program for each set of vector instructions before
    fast = torch.compile(call, dynamic=False, options={"cpp.vec_isa_ok": True})
    state = {"works": True}

    def either(*args: Any) -> Tensor:
        if state["works"]:
            try:
                return fast(*args)
            except Exception as error:
                if out_of_memory(error):
                    raise
                state["works"] = False
                log.warning("torch.compile cannot do this model: going on without (%s)", str(error).splitlines()[0])
        return call(*args)

    return either


@dataclass
class Engine(Options):
    """How influence is computed.

    Attributes:
        memory_budget: GiB that it may take beside the model and the data.
        compile: Whether passes over probes go through ``torch.compile``; ``auto`` where a job is long enough to pay.
        exact: Whether the update is run; otherwise it yields a prediction of the influence itself.
        stores_weights: Whether it writes the updated weights down, in which a small update can vanish.
    """

    group: ClassVar[str] = "engine"
    incidental: ClassVar[tuple[str, ...]] = ("memory_budget", "compile")
    exact: ClassVar[bool] = True
    stores_weights: ClassVar[bool] = True

    memory_budget: float = option(2.0, above=0, hint="Try 2 (GiB).")
    compile: str = option("auto", one_of=["auto", "always", "never"])

    @property
    def name(self) -> str:
        """What it is called in configs and results."""
        return type(self).__name__.lower()

    def refuses(self, problem: Problem) -> str:
        """Why it cannot do this problem; empty where it can."""
        return ""

    def compiles(self, problem: Problem) -> bool:
        """Whether to compile the passes over probes of this problem."""
        return False

    def chunks(self, problem: Problem) -> Chunks:
        """How many stimuli it takes at once."""
        return Chunks(1, "stimuli")

    def before(self, problem: Problem) -> Tensor:
        """The readings before any update, by the same kernels as after: (probes, readouts)."""
        return problem.settled(problem.base_rows)

    def note(self, problem: Problem) -> str:
        """What a user should know of how it does this problem; empty where there is nothing."""
        return ""

    def say(self, told: str) -> None:
        """Log it, unless it was said before: a calibration measures the same many times."""
        said = self.__dict__.setdefault("said", set())
        if told not in said:
            log.info(told)
            said.add(told)

    def gains_nothing(self, problem: Problem) -> str:
        """Why another engine would do this problem at least as well; empty where that is not known."""
        return ""

    def run(self, problem: Problem) -> Iterator[Tensor]:
        """Readings after the update, chunk by chunk in the order of ``problem.members``.

        Yields:
            (stimuli in this chunk, steps read, probes, readouts).
        """
        raise NotImplementedError
