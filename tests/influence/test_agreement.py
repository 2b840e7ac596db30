"""Laws of the distance between an approximation and the exact array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eif_lab.influence.agreement import agreement


@pytest.fixture
def exact():
    return np.random.default_rng(0).normal(size=(6, 8))


@given(st.floats(0.1, 10))
def test_a_scaled_array_agrees_in_all_but_size(scale):
    exact = np.random.default_rng(0).normal(size=(6, 8))
    found = agreement(scale * exact, exact)
    assert found.spearman == pytest.approx(1)
    assert found.pearson == pytest.approx(1)
    assert found.sign_agreement == 1
    assert found.relative_error == pytest.approx(abs(scale - 1), abs=1e-12)


def test_the_opposite_array_disagrees_in_everything(exact):
    found = agreement(-exact, exact)
    assert (found.spearman, found.sign_agreement) == (-1, 0)
    assert found.relative_error == pytest.approx(2)


def test_a_monotone_change_keeps_ranks_alone(exact):
    found = agreement(exact**3, exact)
    assert found.spearman == pytest.approx(1)
    assert found.pearson < 0.99


def test_cells_that_are_not_finite_are_left_out_and_counted(exact):
    broken = exact.copy()
    broken[2] = np.nan
    found = agreement(broken, exact)
    assert found.cells == 40
    assert found.relative_error == 0


def test_arrays_of_zeros_give_nan_and_no_warning(exact):
    found = agreement(exact, np.zeros_like(exact))
    assert np.isnan([found.spearman, found.relative_error, found.sign_agreement]).all()


def test_another_shape_is_refused(exact):
    with pytest.raises(ValueError, match=r"must have the shape of exact, \(6, 8\), got \(8, 6\)"):
        agreement(exact.T, exact)
