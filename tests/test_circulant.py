"""Stationary Gaussian fields: against dense matrices, and among themselves."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from retrograd import circulant

SIZES = st.integers(4, 41)
LENGTHS = st.floats(0.2, 6)
few = settings(max_examples=40, deadline=None)


@few
@given(SIZES, LENGTHS)
def test_rows_matrices_and_eigenvalues_belong_together(N: int, xi: float) -> None:
    row = circulant.gaussian_row(N, xi)
    dense = circulant.matrix(row)
    np.testing.assert_array_equal(dense, dense.T)
    i, j = np.indices((N, N))
    d = np.minimum(abs(i - j), N - abs(i - j))
    np.testing.assert_allclose(dense, np.exp(-(d**2) / xi**2), atol=1e-15)
    found = np.sort(circulant.eigenvalues(row))
    np.testing.assert_allclose(
        found, np.clip(np.linalg.eigvalsh(dense), 0, None), atol=1e-9
    )


@few
@given(SIZES, LENGTHS)
def test_the_root_is_symmetric_and_squares_to_the_covariance(N: int, xi: float) -> None:
    row = circulant.gaussian_row(N, xi)
    root = circulant.root(row)
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    values, vectors = np.linalg.eigh(circulant.matrix(row))
    clipped = (vectors * np.clip(values, 0, None)) @ vectors.T
    np.testing.assert_allclose(root @ root, clipped, atol=1e-9)


def test_negative_eigenvalues_are_clipped() -> None:
    # With the ring's distance exp(−d²/ξ²) is no covariance once ξ is near N.
    row = circulant.gaussian_row(8, 6.0)
    assert np.fft.fft(row).real.min() < -0.02
    assert circulant.eigenvalues(row).min() == 0
    assert np.isfinite(circulant.root(row)).all()


@few
@given(SIZES, LENGTHS)
def test_filtering_by_fft_is_multiplying_with_the_root(N: int, xi: float) -> None:
    noise = np.random.default_rng(0).standard_normal((3, N))
    row = circulant.gaussian_row(N, xi)
    np.testing.assert_allclose(
        circulant.filtered(noise, row), noise @ circulant.root(row), atol=1e-12
    )


def test_filtered_noise_has_the_covariance() -> None:
    row = circulant.gaussian_row(12, 1.7)
    z = circulant.filtered(np.random.default_rng(1).standard_normal((200_000, 12)), row)
    np.testing.assert_allclose(z.T @ z / len(z), circulant.matrix(row), atol=0.015)


@few
@given(SIZES, LENGTHS, LENGTHS)
def test_circulant_covariances_commute(N: int, xi_0: float, xi_1: float) -> None:
    rows = np.array([circulant.gaussian_row(N, xi) for xi in (xi_0, xi_1)])
    A, B = circulant.matrix(rows)
    np.testing.assert_allclose(A @ B, B @ A, atol=1e-12)


@few
@given(st.integers(3, 7), LENGTHS)
def test_a_torus_has_the_kronecker_product(n: int, xi: float) -> None:
    root = circulant.root(circulant.gaussian_row(n, xi))
    noise = np.random.default_rng(2).standard_normal((4, 2, n * n))
    found = circulant.torus_filtered(noise, root)
    np.testing.assert_allclose(found, noise @ np.kron(root, root), atol=1e-12)
