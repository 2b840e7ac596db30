"""Models whose first stimuli, or whose single rows, say nothing about the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from .case import Case, task
from .data import arrays, images, labels, normal, padded, sequences, vectors


def network(width: int = 6, hidden: int = 5, classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, classes))


def hinge(output: Tensor, target: Tensor) -> Tensor:
    """Zero, with a gradient of zero, where the margin is met."""
    return F.multi_margin_loss(output, target, margin=0.5)


def met_first(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of one large entry; the first half are labelled as an identity says."""
    target = labels(count, generator)
    x = F.one_hot(target, 3).double() * 4 + normal(count, 3, generator=generator) / 10
    wrong = torch.arange(count) >= (count + 1) // 2
    return x, torch.where(wrong, (target + 1) % 3, target)


def identity() -> nn.Module:
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
    return layer


def broken(value: float):
    """The first two inputs are not finite, where there are as many as stimuli."""

    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = vectors()(count, generator)
        if count == 5:
            x[:2, 0] = value
        return x, y

    return data


def large_later(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A single probe, and stimuli from the third on, hold a large entry."""
    x, y = vectors()(count, generator)
    x = x.clamp(-2, 2)
    x[count // 2 :: 4, 1] = 7
    return x, y


class Packed(nn.Module):
    """Only real words go through the layers: (words, width), as many as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer, self.norm = nn.Embedding(11, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != 0
        h = self.norm(self.layer(self.embedding(ids[real]).tanh()))
        out = h.new_zeros(*ids.shape, 4)
        out[real] = h
        return self.head(out.sum(1) / real.sum(1, keepdim=True))


class Trimmed(nn.Module):
    """Columns that are padding in the whole batch are cut; the mean is over what is left."""

    def __init__(self, by_item: bool) -> None:
        super().__init__()
        self.embedding, self.head, self.by_item = nn.Embedding(11, 4, padding_idx=0), nn.Linear(4, 3), by_item

    def forward(self, ids: Tensor) -> Tensor:
        kept = (ids != 0).any(0)
        ids = ids[:, : int(kept.sum().item())] if self.by_item else ids[:, kept]
        return self.head(self.embedding(ids).mean(1) * 3)


class Experts(nn.Module):
    """Each row goes through its best expert alone: by indexing, as mixtures do it."""

    def __init__(self, top: int = 1, capacity: int | None = None) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(6, 4), nn.Linear(5, 3)
        self.experts = nn.ModuleList(nn.Linear(6, 5) for _ in range(4))
        self.top, self.capacity = top, capacity

    def forward(self, x: Tensor) -> Tensor:
        shares, chosen = self.router(x).softmax(-1).topk(self.top, -1)
        out = x.new_zeros(len(x), 5)
        for index, expert in enumerate(self.experts):
            rows, place = (chosen == index).nonzero(as_tuple=True)
            rows, place = rows[: self.capacity], place[: self.capacity]
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]).tanh() * shares[rows, place, None])
        return self.head(out * 2)


class Stacked(nn.Module):
    """Experts as one parameter (experts, in, out), picked by index."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(6, 4), nn.Parameter(torch.randn(4, 6, 3) / 2)

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.router(x).softmax(-1).max(-1)
        return torch.einsum("ni,nij->nj", x, self.experts[chosen]) * share[:, None]


class Branch(nn.Module):
    """Another layer where the batch holds a large number."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.usual, self.other, self.way = network(), nn.Linear(6, 3), way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "python" and x.abs().max() > 5:
            return self.other(x)
        if self.way == "item" and x.abs().amax().item() > 5:
            return self.usual(x) + self.other(x)
        if self.way == "by row":
            rows = [self.other(row) if row.abs().max() > 5 else self.usual(row) for row in x]
            return torch.stack(rows)
        if self.way == "where":
            return torch.where(x.abs().amax(1, keepdim=True) > 5, self.other(x), self.usual(x))
        if self.way == "cond":
            return torch.cond(x.abs().max() > 5, self.other, self.usual, (x,))
        if self.way == "assigned":
            out = self.usual(x)
            large = x.abs().amax(1) > 5
            out[large] = self.other(x[large])
            return out
        return self.usual(x)


class BatchStatistics(nn.Module):
    """What is done to the whole batch."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.head, self.way = nn.Linear(6, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.way == "mean":
            h = h - 0.5 * h.mean(0)
        elif self.way == "largest":
            h = h / h.abs().max()
        elif self.way == "softmax":
            h = h + h.softmax(0)
        elif self.way == "normalise":
            h = h + F.normalize(h, dim=0)
        elif self.way == "sort":
            h = h + h.sort(0).values.detach()
        elif self.way == "roll":
            h = h + h.roll(1, 0)
        elif self.way == "attention":
            h = h + (h @ h.mT).softmax(-1) @ h
        elif self.way == "flip":
            h = h + h.flip(0)
        elif self.way == "first row":
            h = h - 0.5 * h[:1]
        elif self.way == "count":
            h = h / len(h)
        elif self.way == "place":
            h = h * (1 + torch.arange(len(h)).to(h)[:, None])
        return self.head(h.tanh())


class UntrackedNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)
        self.head = nn.Linear(3 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


class TrainedNorm(nn.Module):
    """Batch-norm that its owner keeps in train mode, by ``F.batch_norm`` on the batch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.weight, self.head = nn.Linear(4, 5), nn.Parameter(torch.ones(5)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.batch_norm(self.layer(x).mT, None, None, self.weight, None, training=True)
        return self.head(h.mean(-1) + h.amax(-1))


class Settled(nn.Module):
    """Iterates until it has settled, for the whole batch or row by row; as deep equilibria do."""

    def __init__(self, by_row: bool) -> None:
        super().__init__()
        self.inner, self.head, self.by_row = nn.Linear(6, 6), nn.Linear(6, 3), by_row
        with torch.no_grad():
            self.inner.weight.mul_(0.8)

    def settle(self, x: Tensor) -> Tensor:
        h, moved = torch.zeros_like(x), 1.0
        while moved > 0.03:
            new = (self.inner(h) + x).tanh()
            moved, h = (new - h).abs().max().item(), new
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.settle(row[None]) for row in x]) if self.by_row else self.settle(x))


class Halting(nn.Module):
    """Each row stops when its own halting probability says so (adaptive computation)."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.halt, self.head = nn.Linear(6, 6), nn.Linear(6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, left = x, x.new_ones(len(x), 1)
        for _ in range(5):
            running = left[:, 0] > 0.1
            if not running.any():
                break
            h, left = h.clone(), left.clone()
            h[running] = self.step(h[running]).tanh()
            left[running] = left[running] * (1 - self.halt(h[running]).sigmoid())
        return self.head(h * (1 + left))


class ReZero(nn.Module):
    """Blocks behind a gate that is zero at the base: nothing in them has a gradient at first."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.gate = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)]), nn.Parameter(torch.zeros(2))
        self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for gate, block in zip(self.gate, self.blocks):
            x = x + gate * block(x).tanh() * 3
        return self.head(x)


class WeightNormByHand(nn.Module):
    """A layer's weight is looked at outside of it, with and without its gradient."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.layer, self.head, self.way = nn.Linear(6, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        if self.way == "detached norm":
            h = self.layer(x) / weight.detach().norm()
        elif self.way == "norm as a number":
            h = self.layer(x) / weight.norm().item()
        elif self.way == "data":
            h = self.layer(x) / weight.data.abs().max()
        elif self.way == "no_grad":
            with torch.no_grad():
                scale = weight.norm(dim=1)
            h = self.layer(x) / scale
        elif self.way == "reconstruction":
            h = self.layer(x)
            return self.head(h) + (h @ weight)[:, :3]
        elif self.way == "penalty":
            h = self.layer(x) * (1 - 0.1 * weight.square().sum())
        else:
            h = self.layer(x) @ F.normalize(self.head.weight, dim=1).mT @ self.head.weight
        return self.head(h.tanh())


class Positive(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return F.softplus(weight)


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


def parametrised(wrap) -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    model[0] = wrap(model[0]) or model[0]
    return model


def symmetric(layer: nn.Linear) -> None:
    parametrize.register_parametrization(layer, "weight", Symmetric())


def positive_bias(layer: nn.Linear) -> None:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "bias", Positive())


class CachedParametrization(nn.Module):
    """A parametrised layer called twice with its weight kept meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            return self.head(self.layer(self.layer(x).tanh()).tanh())


def old_weight_norm(layer: nn.Linear) -> nn.Module:
    from torch.nn.utils import weight_norm

    return weight_norm(layer)


def old_spectral_norm(layer: nn.Linear) -> nn.Module:
    from torch.nn.utils import spectral_norm

    return spectral_norm(layer)


def convolutions(wrap) -> nn.Module:
    return nn.Sequential(wrap(nn.Conv2d(1, 3, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))


def pruned() -> nn.Module:
    from torch.nn.utils import prune

    model = network()
    prune.random_unstructured(model[0], "weight", 0.4)
    return model


class Standardised(nn.Conv2d):
    """Weight standardisation: a subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class EqualisedLinear(nn.Linear):
    """Scales its weight when called, as StyleGAN does."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * 1.7, self.bias) / 2


class MaskedLinear(nn.Linear):
    """A masked autoregressive layer."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.tril(), self.bias)


THREE = {"update": {"learning_rate": 0.1, "steps": 3}}
EXCLUDE = {"perturbation": "exclude", "update": {"learning_rate": 0.5}}
LORA = {"method": "lora", "update": {"learning_rate": 0.1, "momentum": 0.5, "steps": 3}}


CASES = [
    Case("hinge loss that the first stimuli meet", "trial", task(identity, met_first, hinge), stimuli=6),
    Case("hinge loss that the first stimuli meet, 3 steps", "trial", task(identity, met_first, hinge), options=THREE),
    Case("NaN in the first two inputs", "trial", task(network, broken(float("nan"))), scales=False),
    Case("infinity in the first two inputs", "trial", task(network, broken(float("inf"))), scales=False),
    Case("real words packed by a mask", "trial", task(Packed, padded())),
    Case("real words packed by a mask, all but one", "trial", task(Packed, padded()), options=EXCLUDE),
    Case("columns of padding cut by a count", "trial", task(lambda: Trimmed(True), padded(whole=0))),
    Case("columns of padding cut by a mask", "trial", task(lambda: Trimmed(False), padded(whole=0)), options=THREE),
    Case("one expert for each row", "trial", task(Experts, vectors()), options=THREE),
    Case("two experts for each row", "trial", task(lambda: Experts(2), vectors())),
    Case("experts with a capacity", "trial", task(lambda: Experts(1, 2), vectors()), probes=9),
    Case("experts with a capacity, all but one", "trial", task(lambda: Experts(1, 2), vectors()), options=EXCLUDE),
    Case("experts as one parameter", "trial", task(Stacked, vectors())),
    *[
        Case(f"a branch on large numbers: {way}", "trial", task(lambda w=way: Branch(w), large_later), probes=5)
        for way in ("python", "item", "by row", "where", "assigned")
    ],
    Case("a branch by torch.cond", "trial", task(lambda: Branch("cond"), large_later), may_refuse=True, slow=True),
    *[
        Case(f"statistics of the batch: {way}", "trial", task(lambda w=way: BatchStatistics(w), vectors()))
        for way in ("mean", "largest", "softmax", "normalise", "sort", "roll", "attention", "flip", "first row")
    ],
    Case("a sum divided by the batch's size", "trial", task(lambda: BatchStatistics("count"), vectors())),
    Case("a factor by the place in the batch", "trial", task(lambda: BatchStatistics("place"), vectors())),
    Case(
        "statistics of the batch: mean, all but one",
        "trial",
        task(lambda: BatchStatistics("mean"), vectors()),
        options=EXCLUDE,
    ),
    Case("statistics of the batch, lora", "trial", task(lambda: BatchStatistics("mean"), vectors()), options=LORA),
    Case("batch-norm that tracks nothing", "trial", task(UntrackedNorm, images())),
    Case("batch-norm that tracks nothing, all but one", "trial", task(UntrackedNorm, images()), options=EXCLUDE),
    Case("batch-norm of the batch by F.batch_norm", "trial", task(TrainedNorm, sequences())),
    Case("iterated until the batch has settled", "trial", task(lambda: Settled(False), vectors())),
    Case("iterated until a row has settled", "trial", task(lambda: Settled(True), vectors())),
    Case("each row halts by itself", "trial", task(Halting, vectors()), options=THREE),
    Case("gates that are zero at first, 3 steps", "trial", task(ReZero, vectors()), options=THREE),
    Case(
        "gates that are zero at first, adam",
        "trial",
        task(ReZero, vectors()),
        options={"update": {"optimizer": "adam", "learning_rate": 0.02, "steps": 3}},
    ),
    *[
        Case(f"a weight looked at: {way}", "trial", task(lambda w=way: WeightNormByHand(w), vectors()), options=THREE)
        for way in ("detached norm", "norm as a number", "data", "no_grad", "reconstruction", "penalty", "head")
    ],
    Case(
        "a weight looked at: detached norm, lora",
        "trial",
        task(lambda: WeightNormByHand("detached norm"), vectors()),
        options=LORA,
        may_refuse=False,
    ),
    Case(
        "spectral_norm",
        "parametrization",
        task(lambda: parametrised(parametrizations.spectral_norm), vectors()),
        options=THREE,
    ),
    Case("weight_norm", "parametrization", task(lambda: parametrised(parametrizations.weight_norm), vectors())),
    Case("orthogonal", "parametrization", task(lambda: parametrised(parametrizations.orthogonal), vectors())),
    Case("symmetric", "parametrization", task(lambda: parametrised(symmetric), vectors()), options=THREE),
    Case("symmetric, bias positive", "parametrization", task(lambda: parametrised(positive_bias), vectors())),
    Case("weight_norm with its weight kept", "parametrization", task(CachedParametrization, vectors())),
    Case("old weight_norm", "parametrization", task(lambda: parametrised(old_weight_norm), vectors()), options=THREE),
    Case("old spectral_norm", "parametrization", task(lambda: parametrised(old_spectral_norm), vectors())),
    Case(
        "weight_norm of a convolution",
        "parametrization",
        task(lambda: convolutions(parametrizations.weight_norm), images()),
    ),
    Case(
        "old spectral_norm of a convolution", "parametrization", task(lambda: convolutions(old_spectral_norm), images())
    ),
    Case("pruned", "parametrization", task(pruned, vectors()), options=THREE),
    Case(
        "weight standardisation by a subclass",
        "parametrization",
        task(lambda: nn.Sequential(Standardised(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)), images()),
    ),
    Case(
        "a scaled linear layer by a subclass",
        "parametrization",
        task(lambda: nn.Sequential(EqualisedLinear(6, 5), nn.Tanh(), EqualisedLinear(5, 3)), vectors()),
    ),
    Case(
        "a masked linear layer by a subclass",
        "parametrization",
        task(lambda: nn.Sequential(MaskedLinear(6, 6), nn.Tanh(), nn.Linear(6, 3)), vectors()),
    ),
    Case("lora, 3 steps", "trial", task(network, vectors()), options=LORA),
    Case(
        "videos as rows of a matrix",
        "trial",
        task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 3)), arrays(2, 4)),
        options=EXCLUDE,
    ),
]
