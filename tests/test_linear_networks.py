"""Haar orthogonal matrices and the strengths of modes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from retrograd.linear_networks import mode_strengths, orthogonal
from retrograd.randomness import stream

SIZES = st.integers(1, 8)


@given(rows=SIZES, columns=SIZES)
def test_the_shorter_side_is_orthonormal(rows: int, columns: int) -> None:
    W = orthogonal(stream(0, 0, "test"), rows, columns)
    assert W.shape == (rows, columns)
    gram = W @ W.T if rows <= columns else W.T @ W
    np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-12)


def test_the_distribution_is_haar() -> None:
    """The first entry of a Haar matrix in 3 dimensions is uniform; QR's signs are not."""
    draws = [orthogonal(stream(0, run, "haar"), 3, 3) for run in range(2000)]
    for row, column in ((0, 0), (1, 1), (2, 0)):
        entry = np.array([W[row, column] for W in draws])
        assert kstest((entry + 1) / 2, "uniform").pvalue > 1e-3
    signs = np.array([np.linalg.det(W) for W in draws]).sum() / 2000**0.5
    assert abs(signs) < norm.ppf(1 - 1e-4)


def test_the_strengths_of_a_map_are_its_own_singular_values() -> None:
    W = stream(1, 0, "map").standard_normal((2, 4, 3))
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    for one, left, values, right in zip(W, U, s, Vt, strict=True):
        np.testing.assert_allclose(mode_strengths(one, left, right.T), values)
    assert mode_strengths(W, U[0], Vt[0].T).shape == (2, 3)
    with pytest.raises(ValueError, match="operand"):
        mode_strengths(W, U[0], Vt[0][:, :2])
