"""Pairs against the matrices that they stand for."""

from __future__ import annotations

import itertools

import pytest
import torch

from eif_lab.influence.per_sample.factors import Outer, Rows, inner, merge_parts, pairwise_inner, rows_of


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def ids(*shape):
        return torch.randint(9, shape, generator=generator)

    return [Outer(draw(3, 4, 5), draw(3, 4, 9)), Rows(draw(3, 6, 5), ids(3, 6), 9), Outer(draw(3, 2, 5), draw(3, 2, 9))]


def test_dense_is_the_sum_of_outer_products(pairs):
    outer, rows, _ = pairs
    assert torch.allclose(outer.dense()[1], sum(torch.outer(b, a) for a, b in zip(outer.right[1], outer.left[1])))
    expected = torch.zeros(9, 5, dtype=torch.float64)
    for row, gradient in zip(rows.ids[2].tolist(), rows.right[2]):
        expected[row] += gradient
    assert torch.allclose(rows.dense()[2], expected)


def test_every_use_equals_the_same_with_the_dense_matrix(pairs):
    x = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ids = torch.tensor([[0, 3, 3, 8], [1, 2, 3, 4], [8, 8, 0, 5]])
    weight = torch.randn(9, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    factor = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    for pair in pairs:
        dense = pair.dense()
        assert torch.allclose(pair.times(x), x @ dense.mT)
        assert torch.allclose(rows_of(pair, ids), torch.stack([d[i] for d, i in zip(dense, ids)]))
        assert torch.allclose(pair.scaled(factor).dense(), dense * factor[:, None, None])
        assert torch.allclose(pair.only(1).dense()[0], dense[1])
        assert torch.allclose(pair.along(weight), (dense * weight).sum((1, 2)))
        changed = weight.clone()
        pair.add_to(changed, 2)
        assert torch.allclose(changed, weight + dense[2])


def test_inner_products_follow_from_the_gram_matrices(pairs):
    for a, b in itertools.product(pairs, repeat=2):
        expected = torch.einsum("soi,poi->sp", a.dense(), b.dense())
        assert torch.allclose(pairwise_inner(a, b), expected)
        assert torch.allclose(inner(a, b), expected.diagonal())


def test_crossed_takes_the_matrices_where_there_are_many_tokens_and_gets_the_same(pairs):
    many = Outer(pairs[0].right.repeat(1, 20, 1), pairs[0].left.repeat(1, 20, 1))
    assert torch.allclose(pairwise_inner(many, pairs[1]), 20 * pairwise_inner(pairs[0], pairs[1]))


def test_joined_pairs_are_their_sum(pairs):
    whole = merge_parts(pairs)
    assert [type(pair) for pair in whole] == [Outer, Rows]
    assert torch.allclose(sum(p.dense() for p in whole), sum(p.dense() for p in pairs))
