"""Modes, Haar and λ-balanced weights, gradient flow and NTK of linear networks."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from retrograd.errors import RetrogradError
from retrograd.linear_networks import (
    Array,
    balance,
    balanced_scales,
    balanced_weights,
    gradient_flow,
    kernel_distance,
    kernel_inner,
    mode_strengths,
    modes,
    orthogonal,
)
from retrograd.randomness import stream

SIZES = st.integers(1, 8)
SEEDS = st.integers(0, 2**32 - 1)
LAMBDAS = st.floats(-100, 100)


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


@given(seed=SEEDS, rows=SIZES, columns=SIZES)
def test_modes_rebuild_the_map_and_have_no_free_sign(
    seed: int, rows: int, columns: int
) -> None:
    W = np.random.default_rng(seed).standard_normal((rows, columns))
    U, s, V = modes(W)
    np.testing.assert_allclose(U * s @ V.T, W, atol=1e-12)
    assert (np.diff(s) <= 0).all()
    largest = np.take_along_axis(V, abs(V).argmax(0, keepdims=True), 0)
    assert (largest > 0).all()
    # Of −W the right singular vectors are the same, so all signs go to the left ones.
    opposite = modes(-W)
    np.testing.assert_allclose(opposite.V, V, atol=1e-8)
    np.testing.assert_allclose(opposite.U, -U, atol=1e-8)


# ---- balanced weights ------------------------------------------------------------------


@given(s=st.floats(1e-6, 1e3), lam=st.floats(-1e6, 1e6))
def test_the_scales_of_the_layers_have_the_product_and_the_difference(
    s: float, lam: float
) -> None:
    s1, s2 = balanced_scales(s, lam)
    assert s1 * s2 == pytest.approx(s, rel=1e-14)
    assert s2**2 - s1**2 == pytest.approx(lam, rel=1e-12, abs=1e-12 * s)
    negative, same = balanced_scales(-s, lam)
    assert (negative, same) == (-s1, s2)


def balanced(
    seed: int, inputs: int, hidden: int, outputs: int, lam: float
) -> tuple[Array, Array, Array]:
    """W1, W2 and the singular values of their product."""
    rng = np.random.default_rng(seed)
    U, V, R = (orthogonal(rng, n, n) for n in (outputs, inputs, hidden))
    s = np.sort(rng.uniform(0.1, 2, min(inputs, outputs)))[::-1]
    return *balanced_weights(U, s, V, R, lam), s


@given(seed=SEEDS, inputs=SIZES, hidden=SIZES, outputs=SIZES, lam=LAMBDAS)
def test_balanced_weights_have_the_balance_and_the_product_that_were_asked_for(
    seed: int, inputs: int, hidden: int, outputs: int, lam: float
) -> None:
    assume(hidden >= min(inputs, outputs))
    if (lam > 0 and hidden > outputs) or (lam < 0 and hidden > inputs):
        with pytest.raises(ValueError, match="no λ-balanced network"):
            balanced(seed, inputs, hidden, outputs, lam)
        return
    W1, W2, s = balanced(seed, inputs, hidden, outputs, lam)
    assert abs(balance(W1, W2) - lam * np.eye(hidden)).max() <= 1e-12 * (1 + abs(lam))
    np.testing.assert_allclose(np.linalg.svd(W2 @ W1, compute_uv=False), s, atol=1e-12)


def test_a_positive_lambda_means_that_the_second_layer_is_larger() -> None:
    W1, W2, _ = balanced(0, 4, 3, 3, lam=2.0)
    assert (W2**2).sum() > (W1**2).sum()


def test_several_lambdas_share_everything_else() -> None:
    lams = np.array([-2.0, 0.0, 3.0])
    rng = np.random.default_rng(0)
    U, V, R = (orthogonal(rng, 3, 3) for _ in range(3))
    W1, W2 = balanced_weights(U, np.array([2.0, 1.0, 0.5]), V, R, lams)
    products = W2 @ W1
    np.testing.assert_allclose(products, products[[0, 0, 0]], atol=1e-14)
    for lam, first, second in zip(lams, W1, W2, strict=True):
        np.testing.assert_allclose(balance(first, second), lam * np.eye(3), atol=1e-14)


# ---- gradient flow ---------------------------------------------------------------------


def test_one_mode_flows_along_the_sigmoid() -> None:
    # Equal scalar layers: da/dt = 2a(s − a), which the logistic function solves.
    s, a0, times = 1.5, 0.05, [0.5, 1.0, 3.0]
    w = np.full((1, 1), np.sqrt(a0))
    W1, W2 = gradient_flow(w, w, np.full((1, 1), s), times, "one mode")
    sigmoid = s / (1 + (s / a0 - 1) * np.exp(-2 * s * np.array(times)))
    np.testing.assert_allclose((W2 @ W1)[:, 0, 0], sigmoid, rtol=1e-11)


@pytest.mark.parametrize("lam", [-5.0, 0.0, 1.0])
def test_the_flow_conserves_the_balance_and_learns(lam: float) -> None:
    W1, W2, _ = balanced(1, 4, 3, 3, lam)
    target = np.random.default_rng(2).standard_normal((2, 3, 4))  # two targets at once
    start = (np.stack([W] * 2) for W in (W1, W2))
    first, second = gradient_flow(*start, target, [0.3, 2.0], "both")
    assert first.shape == (2, 2, 3, 4)
    assert abs(balance(first, second) - lam * np.eye(3)).max() <= 1e-11
    losses = ((target[:, None] - second @ first) ** 2).sum((-1, -2))
    assert (losses[:, 1] < losses[:, 0]).all()


def test_a_flow_that_cannot_go_on_is_named() -> None:
    far = np.full((1, 1), 1e200)
    with (
        pytest.raises(RetrogradError, match="this flow stopped"),
        np.errstate(all="ignore"),
    ):
        gradient_flow(far, far, -far, [1.0], "this flow")


# ---- neural tangent kernel -------------------------------------------------------------


def tangent_kernel(W1: Array, W2: Array, X: Array) -> Array:
    """J Jᵀ by the derivatives of every output at every input: index (output, sample)."""
    rows = []
    for o, x in ((o, x) for o in range(len(W2)) for x in X.T):
        dW2 = np.zeros_like(W2)
        dW2[o] = W1 @ x
        rows.append(np.concatenate([np.outer(W2[o], x).ravel(), dW2.ravel()]))
    J = np.array(rows)
    return J @ J.T


def two_networks(seed: int) -> tuple[list[Array], list[Array], Array]:
    """Kernels of two networks at white inputs, and their A and B."""
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs, samples = 3, 4, 2, 7
    U, _, V = modes(rng.standard_normal((inputs, samples)))
    X = np.sqrt(samples) * U @ V.T
    kernels, representations = [], []
    for _ in range(2):
        W1 = rng.standard_normal((hidden, inputs))
        W2 = rng.standard_normal((outputs, hidden))
        kernels.append(tangent_kernel(W1, W2, X))
        representations += [W1.T @ W1, W2 @ W2.T]
    return kernels, representations, X


def test_the_kernel_is_a_sum_of_kronecker_products() -> None:
    (kernel, _), (A, B, *_), X = two_networks(0)
    whole = np.kron(np.eye(len(B)), X.T @ A @ X) + np.kron(B, X.T @ X)
    np.testing.assert_allclose(kernel, whole, atol=1e-12)
    trace = len(B) * np.trace(X.T @ A @ X) + np.trace(B) * np.trace(X.T @ X)
    assert np.trace(kernel) == pytest.approx(trace, rel=1e-12)


@given(seed=SEEDS)
def test_inner_products_of_kernels_need_no_kernel(seed: int) -> None:
    (kernel, other), representations, X = two_networks(seed)
    inner = kernel_inner(*representations)
    assert inner == pytest.approx((kernel * other).sum() / X.shape[1] ** 2, rel=1e-10)
    norms = np.linalg.norm(kernel) * np.linalg.norm(other)
    assert kernel_distance(*representations) == pytest.approx(
        1 - (kernel * other).sum() / norms, abs=1e-12
    )


def test_a_kernel_that_changes_in_scale_only_has_not_moved() -> None:
    _, (A, B, *_), _ = two_networks(0)
    assert abs(kernel_distance(A, B, 3 * A, 3 * B)) <= 1e-15
