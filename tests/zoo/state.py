"""Models that change their input, their targets, themselves, or how gradients are had."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from .case import Case, task
from .data import images, labels, normal, padded, sequences, vectors, words
from .trials import network

THREE = {"update": {"learning_rate": 0.1, "steps": 3}}
DECAY = {"update": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.2, "steps": 2}}
EXCLUDE = {"perturbation": "exclude", "update": {"learning_rate": 0.3, "steps": 2}}


class Checkpointed(nn.Module):
    """Recomputes a block in the backward pass; a reentrant one whose input needs no gradient gets none."""

    def __init__(self, reentrant: bool, first: bool) -> None:
        super().__init__()
        self.before, self.block = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.head, self.reentrant, self.first = nn.Linear(6, 3), reentrant, first

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else self.before(x)
        return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant))


class CheckpointedParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
        self.blocks = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint_sequential(self.blocks, 2, self.first(x), use_reentrant=True))


class ChangesInput(nn.Module):
    """Works on its input in place."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner, self.way = network(), way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "x -= mean":
            x -= x.mean()
        elif self.way == "x *= 2":
            x *= 2
        elif self.way == "clamp_":
            x.clamp_(-0.5, 0.5)
        elif self.way == "a column zeroed":
            x[:, 0] = 0
        elif self.way == "cumsum_":
            x.cumsum_(1)
        elif self.way == "half of a view":
            x[:, :3].mul_(0.3).add_(1)
        else:
            x.data.neg_().add_(1)
        return self.inner(x)


class ChangesWords(nn.Module):
    """Masks its ids in place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        ids.masked_fill_(ids > 6, 3).add_(1)
        return self.head(self.embedding(ids).mean(1) * 2)


class ChangesPair(nn.Module):
    """Of two inputs one is added to the other in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        x += other
        return self.inner(x)


def two_inputs(count: int, generator: torch.Generator):
    x = normal(count, 6, generator=generator), normal(count, 6, generator=generator)
    return x, labels(count, generator)


def named_inputs(count: int, generator: torch.Generator):
    (x, other), y = two_inputs(count, generator)
    return {"x": x, "other": other}, y


def clamping_loss(output: Tensor, target: Tensor) -> Tensor:
    """Merges two classes, in place."""
    target.clamp_(max=1)
    return F.cross_entropy(output, target)


def shifting_loss(output: Tensor, target: Tensor) -> Tensor:
    """A step later the targets would be other ones yet."""
    target += 1
    target %= 3
    return F.cross_entropy(output, target)


def scaling_loss(output: Tensor, target: Tensor) -> Tensor:
    """Scales the output in place."""
    return F.cross_entropy(output.mul_(2), target)


class Stateful(nn.Module):
    """Keeps something of every call, in eval mode too, and looks at it in the next."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.head, self.way = nn.Linear(6, 5), nn.Linear(5, 3), way
        self.register_buffer("mean", torch.full((5,), 0.3))
        self.register_buffer("count", torch.tensor(2))
        self.plain, self.calls, self.seen, self.cache = torch.full((5,), 0.2).double(), 1, [], {}

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.way == "moving average in place":
            self.mean.mul_(0.7).add_(0.3 * h.detach().mean(0))
            h = h - self.mean
        elif self.way == "moving average assigned":
            self.mean = 0.7 * self.mean + 0.3 * h.detach().mean(0)
            h = h - self.mean
        elif self.way == "plain attribute assigned":
            self.plain = 0.7 * self.plain + 0.3 * h.detach().mean(0)
            h = h - self.plain
        elif self.way == "plain attribute in place":
            self.plain += h.detach().mean(0)
            h = h - self.plain
        elif self.way == "counter, tensor":
            self.count += 1
            h = h / self.count
        elif self.way == "counter, number":
            self.calls += 1
            h = h / self.calls
        elif self.way == "list of means":
            self.seen.append(h.detach().mean(0))
            h = h - torch.stack(self.seen).mean(0)
        elif self.way == "dict of first calls":
            h = h - self.cache.setdefault("first", h.detach().mean(0))
        elif self.way == "features kept with their gradient":
            self.features = h
        elif self.way == "loss kept as an attribute":
            self.penalty = h.square().mean()
            h = h - 0.1 * self.penalty
        elif self.way == "new buffer":
            if not hasattr(self, "late"):
                self.register_buffer("late", h.detach().mean(0))
            h = h - self.late
        elif self.way == "nested":
            self.cache.setdefault("calls", {"of": [0]})["of"][0] += 1
            h = h / (1 + self.cache["calls"]["of"][0])
        return self.head(h.tanh())


class LazyTable(nn.Module):
    """Makes its table of positions at the first call, and keeps it for lengths that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head, self.tables = nn.Linear(4, 4), nn.Linear(4, 3), {}

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        if length not in self.tables:
            self.tables[length] = torch.arange(length, device=x.device, dtype=x.dtype)[:, None].sin()
        return self.head((self.layer(x) + self.tables[length]).tanh().mean(1))


class ByBatchSize(nn.Module):
    """Keeps a state of the batch's shape, as recurrent nets that are called step by step do."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head, self.h = nn.Linear(10, 4), nn.Linear(4, 3), None

    def forward(self, x: Tensor) -> Tensor:
        if self.h is None or len(self.h) != len(x):
            self.h = x.new_zeros(len(x), 4)
        self.h = self.cell(torch.cat([x, self.h.detach()], 1)).tanh()
        return self.head(self.h)


class Bank(nn.Module):
    """A memory of the last rows that were seen, to which the input attends."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 4), nn.Linear(8, 3)
        self.register_buffer("memory", torch.randn(8, 4))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        known = self.memory.clone()
        near = (h @ known.T).softmax(-1) @ known
        with torch.no_grad():
            slots = (self.place + torch.arange(len(h))) % len(self.memory)
            self.memory[slots] = h
            self.place += len(h)
        return self.head(torch.cat([h, near], 1))


class ClampedParameter(nn.Module):
    """Keeps a gate within bounds whenever it is called."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner, self.gate, self.way = network(), nn.Parameter(torch.tensor([0.98, 0.5, 1.2])), way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "data":
            self.gate.data.clamp_(0, 1)
        else:
            with torch.no_grad():
                self.gate.clamp_(0, 1)
        return self.inner(x) * self.gate * 2


class NormalisedWeight(nn.Module):
    """Renormalises a layer's weight in place before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.layer.weight.div_(self.layer.weight.norm(dim=1, keepdim=True))
        return self.head(self.layer(x).tanh() * 2)


class MaxNorm(nn.Module):
    """Embedding rows are cut to a norm where they are looked up."""

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 4, max_norm=None if functional else 0.8), nn.Linear(4, 3)
        self.functional = functional

    def forward(self, ids: Tensor) -> Tensor:
        if self.functional:
            return self.head(F.embedding(ids, self.embedding.weight, max_norm=0.8).mean(1) * 2)
        return self.head(self.embedding(ids).mean(1) * 2)


class FixedNoise(nn.Module):
    """Draws from a generator with a seed of its own, so that every call of a shape draws the same."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        own = torch.Generator().manual_seed(0)
        h = self.layer(x)
        return self.head(h + 0.3 * torch.randn(h.shape[1:], generator=own, dtype=h.dtype))


class TrainingNorm(nn.Module):
    """Batch-norm that its owner has put back into train mode: it moves its statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.norm.train()
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


class TrainOverridden(TrainingNorm):
    """Puts a norm into training mode in ``train``, the method that ``eval`` calls."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


class FrozenNormOverridden(TrainingNorm):
    """Keeps its batch-norm in eval mode whatever is asked."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


class Unused(nn.Module):
    """A head that is never called, a parameter that is never looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.auxiliary, self.spare = network(), nn.Linear(5, 7), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Decaying(nn.Module):
    """One of two layers is called where a row's first number is positive; both decay in the readout's eyes."""

    def __init__(self, called: str) -> None:
        super().__init__()
        self.first, self.second, self.head, self.called = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3), called

    def forward(self, x: Tensor) -> Tensor:
        if self.called == "where":
            return self.head(torch.where(x[:, :1] > 0, self.first(x), self.second(x)).tanh() * 2)
        out = x.new_zeros(len(x), 5)
        for layer, rows in ((self.first, x[:, 0] > 0), (self.second, x[:, 0] <= 0)):
            if self.called == "always" or rows.any():
                out = out.masked_scatter(rows[:, None].expand_as(out), layer(x[rows]))
        return self.head(out.tanh() * 2)


class Detached(nn.Module):
    """A layer's output is detached: read by probes, never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).detach().tanh() * 2)


UPDATES = {
    "sgd with momentum and decay": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.3, "steps": 3},
    "adam with decay": {"optimizer": "adam", "learning_rate": 0.02, "weight_decay": 0.3, "steps": 3},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.5, "steps": 3},
    "clipped": {"learning_rate": 0.3, "gradient_clip": 0.2, "weight_decay": 0.3, "steps": 2},
}
UNTRAINED = {
    "unused head": Unused,
    "a layer for some rows": lambda: Decaying("where called"),
    "a layer called with no rows": lambda: Decaying("always"),
    "two layers by torch.where": lambda: Decaying("where"),
    "a detached layer": Detached,
}
STATES = (
    "moving average in place",
    "moving average assigned",
    "plain attribute assigned",
    "plain attribute in place",
    "counter, tensor",
    "counter, number",
    "list of means",
    "dict of first calls",
    "features kept with their gradient",
    "loss kept as an attribute",
    "new buffer",
    "nested",
)
INPUTS = ("x -= mean", "x *= 2", "clamp_", "a column zeroed", "cumsum_", "half of a view", "data")


CASES = [
    *[
        Case(f"{name}: {told}", "no gradient", task(build, vectors()), options={"update": update})
        for name, build in UNTRAINED.items()
        for told, update in UPDATES.items()
    ],
    *[
        Case(
            f"{'reentrant' if reentrant else 'plain'} checkpoint {'first' if first else 'behind a layer'}",
            "checkpoint",
            task(lambda r=reentrant, f=first: Checkpointed(r, f), vectors()),
            options=DECAY,
        )
        for reentrant in (True, False)
        for first in (True, False)
    ],
    Case("checkpoint_sequential", "checkpoint", task(CheckpointedParts, vectors())),
    Case(
        "reentrant checkpoint first, all but one",
        "checkpoint",
        task(lambda: Checkpointed(True, True), vectors()),
        options=EXCLUDE,
    ),
    Case(
        "reentrant checkpoint, lora",
        "checkpoint",
        task(lambda: Checkpointed(True, True), vectors()),
        options={"method": "lora", "update": {"learning_rate": 0.2, "steps": 2}},
    ),
    *[
        Case(f"input changed: {way}", "in place", task(lambda w=way: ChangesInput(w), vectors()), options=THREE)
        for way in INPUTS
    ],
    Case("input changed, all but one", "in place", task(lambda: ChangesInput("x *= 2"), vectors()), options=EXCLUDE),
    Case("ids changed", "in place", task(ChangesWords, words()), options=THREE),
    Case("one of two inputs changed", "in place", task(ChangesPair, two_inputs), options=THREE),
    Case("one of two named inputs changed", "in place", task(ChangesPair, named_inputs), options=THREE),
    Case("targets clamped by the loss", "in place", task(network, vectors(), clamping_loss), options=THREE),
    Case("targets shifted by the loss", "in place", task(network, vectors(), shifting_loss), options=THREE),
    Case("targets shifted, all but one", "in place", task(network, vectors(), shifting_loss), options=EXCLUDE),
    Case("output changed by the loss", "in place", task(network, vectors(), scaling_loss), options=THREE),
    *[Case(f"kept: {way}", "state", task(lambda w=way: Stateful(w), vectors()), options=THREE) for way in STATES],
    Case(
        "kept: moving average in place, adam",
        "state",
        task(lambda: Stateful("moving average in place"), vectors()),
        options={"update": {"optimizer": "adam", "learning_rate": 0.02, "steps": 2}},
    ),
    Case(
        "kept: moving average in place, lora",
        "state",
        task(lambda: Stateful("moving average in place"), vectors()),
        options={"method": "lora", "update": {"learning_rate": 0.2, "steps": 2}},
    ),
    Case(
        "kept: moving average in place, all but one",
        "state",
        task(lambda: Stateful("moving average in place"), vectors()),
        options=EXCLUDE,
    ),
    Case(
        "kept: counter, number, all but one",
        "state",
        task(lambda: Stateful("counter, number"), vectors()),
        options=EXCLUDE,
    ),
    Case("a table made at the first call", "state", task(LazyTable, sequences()), options=THREE),
    Case("a state of the batch's shape", "state", task(ByBatchSize, vectors()), options=THREE),
    Case("a bank of rows seen", "state", task(Bank, vectors()), options=THREE),
    Case("a parameter clamped by its data", "state", task(lambda: ClampedParameter("data"), vectors()), options=THREE),
    Case(
        "a parameter clamped without gradient",
        "state",
        task(lambda: ClampedParameter("no_grad"), vectors()),
        options=THREE,
    ),
    Case("a weight renormalised in place", "state", task(NormalisedWeight, vectors()), options=THREE),
    Case("embedding with max_norm", "state", task(MaxNorm, padded()), options=THREE),
    Case("F.embedding with max_norm", "state", task(lambda: MaxNorm(True), padded()), options=THREE),
    Case("noise of a fixed seed", "state", task(FixedNoise, vectors())),
    Case("batch-norm put back into train mode", "state", task(TrainingNorm, images()), options=THREE),
    Case("batch-norm that ignores eval", "state", task(TrainOverridden, images()), options=THREE),
    Case("batch-norm that ignores train", "state", task(FrozenNormOverridden, images()), options=THREE),
]
