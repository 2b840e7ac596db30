"""Models in which something other than the batch comes first, at sizes that a batch could have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case, task
from .data import arrays, images, sequences, vectors, words

WIDTH = 4


class GraphLayer(nn.Module):
    """Owns its weight, and is handed the graph."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width))

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        return graph @ (x @ self.weight)


class GraphNet(nn.Module):
    """(n, nodes, width); the graph may come first or last among a layer's arguments."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        graph = torch.rand(nodes, nodes)
        self.register_buffer("graph", graph / graph.sum(1, keepdim=True))
        self.first, self.second, self.head = GraphLayer(), GraphLayer(), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x, self.graph).tanh()
        return self.head(self.second(x, graph=self.graph).tanh().mean(1))


class Attention(nn.Module):
    """Owns a fused projection, and is handed an additive (T, T) mask and rotary tables (T, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(WIDTH, 3 * WIDTH) / 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None) -> Tensor:
        q, k, v = (x @ self.qkv).chunk(3, -1)
        if rotary is not None:
            q, k = (t * rotary[0] + torch.cat([-t[..., 2:], t[..., :2]], -1) * rotary[1] for t in (q, k))
        scores = q @ k.mT / 2
        return (scores if mask is None else scores + mask).softmax(-1) @ v


class Masked(nn.Module):
    def __init__(self, length: int, rotary: bool = False) -> None:
        super().__init__()
        self.attention, self.head = Attention(), nn.Linear(WIDTH, 3)
        self.register_buffer("mask", torch.full((length, length), -1e9).triu(1))
        angle = torch.arange(length)[:, None] * torch.tensor([1.0, 0.1, 1.0, 0.1])
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.rotary = rotary

    def forward(self, x: Tensor) -> Tensor:
        if self.rotary:
            return self.head(self.attention(x, rotary=(self.cos, self.sin)).mean(1))
        return self.head(self.attention(x, self.mask).mean(1))


class Calibrated(nn.Module):
    """Owns a temperature, and is handed the classes' priors."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor([1.5]))

    def forward(self, logits: Tensor, prior: Tensor) -> Tensor:
        return logits / self.temperature + prior.log()


class WithPriors(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer, self.calibrated = nn.Linear(6, classes), Calibrated()
        self.register_buffer("prior", torch.rand(classes).softmax(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.calibrated(self.layer(x), self.prior)


class TorchAttention(nn.Module):
    """``nn.MultiheadAttention`` with a causal mask."""

    def __init__(self, length: int, batch_first: bool, per_head: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)
        self.head, self.batch_first, self.per_head = nn.Linear(WIDTH, 3), batch_first, per_head
        self.register_buffer("mask", torch.ones(length, length, dtype=torch.bool).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask
        if self.per_head:
            mask = mask.expand(2 * len(x), -1, -1)
        x = x if self.batch_first else x.transpose(0, 1)
        x = self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]
        return self.head(x.mean(1 if self.batch_first else 0))


class Rearranged(nn.Module):
    """A layer that is fed (T, n, d), (n * T, d), (T * n, d) or (d, n * T)."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.layer, self.norm, self.head, self.way = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3), way
        self.scale = nn.Parameter(torch.ones(4) * 1.5)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        if self.way == "time first":
            x = self.norm(self.layer(x.transpose(0, 1)).tanh()).transpose(0, 1)
        elif self.way == "rows of a batch in turn":
            x = self.norm(self.layer(x.reshape(n * length, -1)).tanh()).view(n, length, -1)
        elif self.way == "times in turn":
            x = self.norm(self.layer(x.transpose(0, 1).reshape(n * length, -1)).tanh()).view(length, n, -1)
            x = x.transpose(0, 1)
        else:
            x = (self.layer.weight @ x.reshape(n * length, -1).mT).mT.tanh().view(n, length, -1)
        return self.head(x.mean(1) * self.scale)


class Frames(nn.Module):
    """A video (n, frames, channels, height, width), frame by frame through convolutions."""

    def __init__(self, frames_first: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm, self.head, self.frames_first = nn.BatchNorm2d(3), nn.Linear(3, 3), frames_first

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1) if self.frames_first else x
        outer = x.shape[:2]
        x = self.norm(self.conv(x.flatten(0, 1))).relu().mean((2, 3)).view(*outer, -1)
        return self.head(x.mean(0 if self.frames_first else 1))


class Positions(nn.Module):
    """Adds position embeddings of ids (T,) or (1, T), or a table through a trained layer."""

    def __init__(self, way: str, length: int) -> None:
        super().__init__()
        self.way = way
        self.words, self.positions = nn.Embedding(11, WIDTH), nn.Embedding(length, WIDTH)
        self.table, self.head = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 3)
        self.register_buffer("ids", torch.arange(length))
        self.register_buffer("angles", torch.randn(length, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x)
        if self.way == "(T,)":
            h = h + self.positions(self.ids)
        elif self.way == "(1, T)":
            h = h + self.positions(self.ids[None])
        elif self.way == "made in forward":
            h = h + self.positions(torch.arange(x.shape[1]).expand(len(x), -1))
        else:
            h = h + self.table(self.angles).tanh()
        return self.head(h.tanh().mean(1))


class Queries(nn.Module):
    """Learned queries and a class token, expanded over the batch, attend to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.token = nn.Parameter(torch.randn(5, WIDTH)), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head(self.attention(self.queries.expand(len(x), -1, -1), x, x)[0].mean(1))


class Prototypes(nn.Module):
    """Constants (C, d) and the input go through the same encoder; logits are distances."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
        self.register_buffer("prototypes", torch.randn(count, 6))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(self.encode(x), self.encode(self.prototypes)).square()


class Catalogue(nn.Module):
    """All items are embedded each time, (items, d), and a user's vector is held against them."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items, self.item_bias, self.user = nn.Embedding(items, 4), nn.Embedding(items, 1), nn.Linear(6, 4)
        self.tower = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        ids = torch.arange(self.items.num_embeddings)
        return self.user(x) @ self.tower(self.items(ids)).tanh().mT + self.item_bias(ids).T


class RelativeBias(nn.Module):
    """A multilayer perceptron of a table of offsets gives the bias of attention, as in Swin v2."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
        self.attention, self.head = Attention(), nn.Linear(WIDTH, 3)
        place = torch.arange(length)
        self.register_buffer("index", place[:, None] - place[None] + length - 1)
        self.register_buffer("offsets", torch.linspace(-1, 1, 2 * length - 1)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        bias = self.mlp(self.offsets)[self.index, 0] * 4
        return self.head(self.attention(x, bias).mean(1))


class LatentMixer(nn.Module):
    """Its layer mixes positions: it is fed (n, d, T)."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(length, length), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x + self.mix(x.mT).tanh().mT).mean(1))


class Windows(nn.Module):
    """Images as windows, (n * windows, pixels, channels), with a bias of shape (windows, 1, 1) handed to a module."""

    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, windows: Tensor, shift: Tensor) -> Tensor:
            n = len(windows) // len(shift)
            y = windows @ self.weight
            return (y.view(n, len(shift), *y.shape[1:]) + shift).tanh().flatten(0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = self.Biased(), nn.Linear(36, 3)
        self.register_buffer("shift", torch.randn(9, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        windows = x[:, 0].view(n, 3, 2, 3, 2).permute(0, 1, 3, 2, 4).reshape(n * 9, 1, 4)
        return self.head(self.inner(windows, self.shift).view(n, 36))


class FastWeights(nn.Module):
    """A network that makes another one's weights from the input, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.maker, self.head = nn.Linear(6, 6 * 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.maker(x).view(len(x), 6, 4)
        return self.head(torch.einsum("ni,nij->nj", x, weights).tanh())


class Folded(nn.Module):
    """A trained convolution over the batch taken as channels of one image, group by group."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(2, 1, 3, 3)), nn.Linear(2 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        y = F.conv2d(x.view(1, n, height, width), self.weight.repeat(n, 1, 1, 1), groups=n)
        return self.head(y.view(n, -1).relu())


def at(sizes: tuple[int, ...], name: str, build, data, **options) -> list[Case]:
    """The same at several numbers of stimuli."""
    return [
        Case(f"{name}, {n} stimuli", "first dimension", task(build, data), stimuli=n, probes=2 * n, **options)
        for n in sizes
    ]


CASES = [
    *at((3, 6), "graph convolution, 6 nodes", lambda: GraphNet(6), sequences(6)),
    *at((3, 9), "graph convolution, 9 nodes", lambda: GraphNet(9), sequences(9)),
    *at((6,), "additive mask (6, 6)", lambda: Masked(6), sequences(6)),
    *at((3, 9), "additive mask (9, 9)", lambda: Masked(9), sequences(9)),
    *at((6,), "rotary tables (6, 4)", lambda: Masked(6, rotary=True), sequences(6)),
    *at((3, 9), "rotary tables (9, 4)", lambda: Masked(9, rotary=True), sequences(9)),
    *at((3, 6), "class priors (6,)", lambda: WithPriors(6), vectors(classes=6)),
    *at((5,), "class priors (5,)", lambda: WithPriors(5), vectors(classes=5)),
    *at((3,), "attention with mask (9, 9), batch first", lambda: TorchAttention(9, True), sequences(9)),
    *at((9,), "attention with mask (9, 9), time first", lambda: TorchAttention(9, False), sequences(9)),
    *at((4,), "attention with mask (4, 4), batch first", lambda: TorchAttention(4, True), sequences(4)),
    *at((4,), "attention with mask (4, 4), time first", lambda: TorchAttention(4, False), sequences(4)),
    *at((3,), "attention with a mask for each head", lambda: TorchAttention(4, True, per_head=True), sequences(4)),
    *[
        case
        for way in ("time first", "rows of a batch in turn", "times in turn", "features first")
        for case in at((3, 6), f"layers fed {way}", lambda way=way: Rearranged(way), sequences(6, 4))
    ],
    *at((3, 4), "frames of videos", Frames, arrays(4, 1, 5, 5)),
    *at((4,), "frames of videos, frames first", lambda: Frames(True), arrays(4, 1, 5, 5)),
    *[
        case
        for way in ("(T,)", "(1, T)", "made in forward", "a table through a layer")
        for case in at((3, 6, 9), f"positions {way}", lambda way=way: Positions(way, 9), words(9))
    ],
    *at((5,), "learned queries and a class token", Queries, sequences(5)),
    *at((6,), "6 prototypes through the encoder", lambda: Prototypes(6), vectors(classes=6)),
    *at((3,), "9 prototypes through the encoder", lambda: Prototypes(9), vectors(classes=9)),
    *at((4,), "8 items embedded each time", lambda: Catalogue(8), vectors(classes=8)),
    *at((6,), "relative position bias by a perceptron", lambda: RelativeBias(6), sequences(6)),
    *at((4,), "a layer that mixes positions", lambda: LatentMixer(4), sequences(4)),
    *at((3, 9), "9 windows with a bias each", Windows, images(1, 6)),
    *at((6,), "weights made from the input", FastWeights, vectors()),
    *at((2,), "the batch as groups of a convolution", Folded, images(1, 6)),
    Case(
        "graph convolution of 6 nodes, all but one of 6",
        "first dimension",
        task(lambda: GraphNet(6), sequences(6)),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5, "steps": 2}},
        stimuli=6,
    ),
    Case(
        "graph convolution of 7 nodes, all but one of 8",
        "first dimension",
        task(lambda: GraphNet(7), sequences(7)),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5}},
        stimuli=8,
    ),
]
