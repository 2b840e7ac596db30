"""Gradients of a weight matrix as their factors: (gradient at an output, input) for each token.

One step changes the weight of a linear layer by a sum of outer products, one for each position that went through it:
``dW = sum_t b_t a_t^T`` with inputs ``a`` and gradients ``b`` at the outputs. As factors, a change costs
``tokens * (in + out)`` numbers in place of ``in * out``, it is applied as ``x dW^T = (x A^T) B``, and the inner product
of two changes follows from their Gram matrices: ``<dW, dW'> = sum((A A'^T) * (B B'^T))``. Of an embedding ``b_t`` is a
one-hot vector, stored as an index; where a head shares its weight, both kinds change the one matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Outer:
    """A change for each of several stimuli, from a linear layer.

    Attributes:
        right: (stimuli, tokens, in), the inputs.
        left: (stimuli, tokens, out), the gradients at the outputs.
    """

    right: Float[Tensor, "s n i"]
    left: Float[Tensor, "s n o"]

    def times(self, x: Float[Tensor, "s m i"]) -> Float[Tensor, "s m o"]:
        """``x dW^T``."""
        return torch.bmm(torch.bmm(x, self.right.mT), self.left)

    def columns(self, ids: Int[Tensor, "s m"]) -> Float[Tensor, "s n m"]:
        """Contributions of the tokens to the rows ``ids`` of the matrix."""
        return self.left.gather(2, ids[:, None].expand(-1, self.left.shape[1], -1))

    def dense(self) -> Float[Tensor, "s o i"]:
        """``dW`` itself."""
        return torch.bmm(self.left.mT, self.right)

    def add_to(self, weight: Float[Tensor, "o i"], index: int) -> None:
        """Add one stimulus's ``dW`` to a matrix, in place."""
        weight.addmm_(self.left[index].T, self.right[index])

    def scaled(self, factor: Tensor | float) -> Outer:
        """The change times a number, or one for each stimulus."""
        return Outer(self.right, times_each(self.left, factor))

    def only(self, index: int) -> Outer:
        """The change of one stimulus."""
        return Outer(self.right[index, None], self.left[index, None])

    def along(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, " s"]:
        """``<dW, W>``."""
        return ((self.right @ weight.T) * self.left).sum((1, 2))

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.left.shape[2], self.right.shape[2]

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self.right.nbytes + self.left.nbytes


@dataclass(frozen=True)
class Rows:
    """A change for each of several stimuli, from an embedding.

    Attributes:
        right: (stimuli, tokens, width), the gradients at the embedding's outputs.
        ids: (stimuli, tokens), the row that each token looked up.
        count: How many rows the matrix has.
    """

    right: Float[Tensor, "s n i"]
    ids: Int[Tensor, "s n"]
    count: int

    def times(self, x: Float[Tensor, "s m i"]) -> Float[Tensor, "s m o"]:
        """``x dW^T``."""
        products = torch.bmm(x, self.right.mT)
        empty = products.new_zeros(*x.shape[:2], self.count)
        return empty.scatter_add(2, self.ids[:, None].expand_as(products), products)

    def columns(self, ids: Int[Tensor, "s m"]) -> Float[Tensor, "s n m"]:
        """Contributions of the tokens to the rows ``ids`` of the matrix: one where they are the same, else zero."""
        return (self.ids[:, :, None] == ids[:, None]).to(self.right.dtype)

    def dense(self) -> Float[Tensor, "s o i"]:
        """``dW`` itself."""
        empty = self.right.new_zeros(len(self.ids), self.count, self.right.shape[2])
        return empty.scatter_add(1, self.ids[:, :, None].expand_as(self.right), self.right)

    def add_to(self, weight: Float[Tensor, "o i"], index: int) -> None:
        """Add one stimulus's ``dW`` to a matrix, in place."""
        weight.index_add_(0, self.ids[index], self.right[index])

    def scaled(self, factor: Tensor | float) -> Rows:
        """The change times a number, or one for each stimulus."""
        return Rows(times_each(self.right, factor), self.ids, self.count)

    def only(self, index: int) -> Rows:
        """The change of one stimulus."""
        return Rows(self.right[index, None], self.ids[index, None], self.count)

    def along(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, " s"]:
        """``<dW, W>``."""
        return (weight[self.ids] * self.right).sum((1, 2))

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.count, self.right.shape[2]

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self.right.nbytes + self.ids.nbytes


Factors = Outer | Rows


def rows_of(factors: Factors, ids: Int[Tensor, "s m"]) -> Float[Tensor, "s m i"]:
    """The rows ``ids`` of ``dW``."""
    return torch.bmm(factors.columns(ids).mT, factors.right)


def inner(a: Factors, b: Factors) -> Float[Tensor, " s"]:
    """``<dW_a, dW_b>`` of each stimulus, from the Gram matrices."""
    if isinstance(a, Outer) and isinstance(b, Outer):
        left = torch.bmm(a.left, b.left.mT)
    elif isinstance(b, Rows):
        left = a.columns(b.ids)
    else:
        left = b.columns(a.ids).mT  # type: ignore[union-attr]
    return (torch.bmm(a.right, b.right.mT) * left).sum((1, 2))


def pairwise_inner(a: Factors, b: Factors) -> Float[Tensor, "s p"]:
    """``<dW_a of one sample, dW_b of another>`` for all pairs of samples: (samples of a, samples of b).

    From the Gram matrices, or from the matrices themselves where those take fewer multiplications.
    """
    if by_matrices(a, b):
        return a.dense().flatten(1) @ b.dense().flatten(1).T
    right = torch.einsum("sni,pmi->spnm", a.right, b.right)
    if isinstance(a, Outer) and isinstance(b, Outer):
        left = torch.einsum("sno,pmo->spnm", a.left, b.left)
    elif isinstance(a, Outer):
        left = a.left[:, :, b.ids].permute(0, 2, 1, 3)  # type: ignore[union-attr]
    elif isinstance(b, Outer):
        left = b.left[:, :, a.ids].permute(2, 0, 3, 1)
    else:
        left = (a.ids[:, None, :, None] == b.ids[None, :, None, :]).to(right.dtype)
    return (right * left).sum((2, 3))


def by_matrices(a: Factors, b: Factors) -> bool:
    """Whether the inner products of changes take fewer multiplications by the matrices than by their factors."""
    return a.right.shape[1] * b.right.shape[1] * sum(a.shape) > a.shape[0] * a.shape[1]


def times_each(values: Float[Tensor, "s n d"], factor: Tensor | float) -> Float[Tensor, "s n d"]:
    """``values`` times a number, or one for each of the first dimension."""
    return values * (factor.to(values.dtype)[:, None, None] if isinstance(factor, Tensor) else factor)


def merge_parts(parts: Sequence[Factors]) -> list[Factors]:
    """Their sum, as at most one of each kind."""
    outer = [p for p in parts if isinstance(p, Outer)]
    rows = [p for p in parts if isinstance(p, Rows)]
    result: list[Factors] = []
    if outer:
        result.append(Outer(cat(p.right for p in outer), cat(p.left for p in outer)))
    if rows:
        result.append(Rows(cat(p.right for p in rows), cat(p.ids for p in rows), rows[0].count))
    return result


def cat(parts: object) -> Tensor:
    """Tensors joined along their tokens; a single one as it is."""
    several = list(parts)  # type: ignore[call-overload]
    return several[0] if len(several) == 1 else torch.cat(several, 1)
