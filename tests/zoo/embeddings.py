"""Embeddings: padding, tied weights, own forwards."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case, task
from .data import labels, padded, words


class Bag(nn.Module):
    """The mean of words, and a head."""

    def __init__(self, embedding: nn.Module, width: int = 4) -> None:
        super().__init__()
        self.embedding, self.head = embedding, nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embedding(ids)
        return self.head((h if h.ndim == 2 else h.tanh().mean(1)) * 2)


class ScaledEmbedding(nn.Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * self.embedding_dim**0.5


class ShiftedEmbedding(nn.Embedding):
    """Positions begin behind two reserved rows, as in OPT and BART."""

    def forward(self, ids: Tensor) -> Tensor:
        places = (ids != 0).long().cumsum(1) + 1
        return super().forward(places) + F.one_hot(ids, 11)[..., :4]


class Functional(nn.Module):
    """Uses its table by ``F.embedding`` itself."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.table, self.options = nn.Parameter(torch.randn(11, 4)), options

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table, **self.options)


class Borrowed(nn.Module):
    """Indexes the weight of an embedding that it never calls; the padding row is trained then."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(11, 4, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner.weight[ids] + self.inner(ids)


class OneHot(nn.Module):
    """``one_hot(ids) @ weight`` beside the lookup of the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(11, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids) + F.one_hot(ids, 11).to(self.inner.weight.dtype).cumsum(1) @ self.inner.weight


class Tied(nn.Module):
    """The embedding is the head too: words predict words."""

    def __init__(self, bias: bool, padding: int | None, scaled: bool = False) -> None:
        super().__init__()
        kind = ScaledEmbedding if scaled else nn.Embedding
        self.embedding = kind(11, 4, padding_idx=padding)
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 11, bias=bias)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(ids)).tanh().mean(1) * 2)


class TiedByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(11, 4, padding_idx=0), nn.Linear(4, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.layer(self.embedding(ids)).tanh().mean(1) * 2, self.embedding.weight)


class Offsets(nn.Module):
    """One flat row of ids and offsets for ``EmbeddingBag``, without the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(11, 4, mode="mean")

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != 0
        counts = real.sum(1)
        return self.bag(ids[real], counts.cumsum(0) - counts)


class TwoTables(nn.Module):
    """One embedding read under two names, and several columns of a table of categories."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Embedding(11, 4)
        self.right = self.left
        self.columns = nn.ModuleList(nn.Embedding(11, 4, padding_idx=0) for _ in range(3))

    def forward(self, ids: Tensor) -> Tensor:
        split = torch.stack([table(ids[:, k]) for k, table in enumerate(self.columns)], 1)
        return torch.cat([self.left(ids[:, :3]), self.right(ids[:, 3:]), split], 1)


def next_word(length: int = 5):
    def data(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ids, _ = padded(length)(count, generator)
        return ids, labels(count, generator, 11)

    return data


def frozen_rows() -> nn.Module:
    return Bag(nn.Embedding.from_pretrained(torch.randn(11, 4), freeze=False, padding_idx=0))


KINDS = {
    "padding in later stimuli alone": lambda: nn.Embedding(11, 4, padding_idx=0),
    "padding index from the end": lambda: nn.Embedding(11, 4, padding_idx=-11),
    "no padding index": lambda: nn.Embedding(11, 4),
    "subclass with its own forward": lambda: ScaledEmbedding(11, 4, padding_idx=0),
    "subclass that shifts positions": lambda: ShiftedEmbedding(13, 4, padding_idx=1),
    "a bag, mean": lambda: nn.EmbeddingBag(11, 4, mode="mean", padding_idx=0),
    "a bag, sum": lambda: nn.EmbeddingBag(11, 4, mode="sum"),
    "a bag, max": lambda: nn.EmbeddingBag(11, 4, mode="max"),
    "a bag with offsets": Offsets,
    "F.embedding with padding": lambda: Functional(padding_idx=0),
    "F.embedding without": Functional,
    "F.embedding with gradients scaled by frequency": lambda: Functional(scale_grad_by_freq=True),
    "gradients scaled by frequency": lambda: nn.Embedding(11, 4, scale_grad_by_freq=True),
    "sparse gradients": lambda: nn.Embedding(11, 4, sparse=True),
    "weight indexed without a call": Borrowed,
    "weight used by one-hot rows too": OneHot,
    "one table under two names": TwoTables,
}
DECAYED = {"update": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, "steps": 2}}
ADAM = {"update": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "steps": 2}}


CASES = [
    *[
        Case(f"words: {name}", "embedding", task(lambda b=build: Bag(b()), padded(6)), stimuli=6)
        for name, build in KINDS.items()
    ],
    Case(
        "words: padding in later stimuli alone, with decay",
        "embedding",
        task(lambda: Bag(nn.Embedding(11, 4, padding_idx=0)), padded(6)),
        options=DECAYED,
    ),
    Case(
        "words: padding in later stimuli alone, adam",
        "embedding",
        task(lambda: Bag(nn.Embedding(11, 4, padding_idx=0)), padded(6)),
        options=ADAM,
    ),
    Case("words: pretrained rows", "embedding", task(frozen_rows, padded(6))),
    Case("words: tied head", "embedding", task(lambda: Tied(False, None), next_word()), options=DECAYED),
    Case("words: tied head with padding", "embedding", task(lambda: Tied(True, 0), next_word()), stimuli=7),
    Case("words: tied head of a subclass", "embedding", task(lambda: Tied(False, 0, True), next_word()), options=ADAM),
    Case("words: tied head by hand", "embedding", task(TiedByHand, next_word()), stimuli=4),
    Case(
        "words: tied head, lora",
        "embedding",
        task(lambda: Tied(False, None), next_word()),
        options={"method": "lora", "update": {"learning_rate": 0.3, "steps": 2}},
    ),
    Case(
        "words: padding, all but one",
        "embedding",
        task(lambda: Bag(nn.Embedding(11, 4, padding_idx=0)), padded(6)),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
    Case(
        "words: gradients scaled by frequency, all but one",
        "embedding",
        task(lambda: Bag(nn.Embedding(11, 4, scale_grad_by_freq=True)), words(6)),
        options={"perturbation": "exclude", "update": {"learning_rate": 0.5}},
    ),
]
