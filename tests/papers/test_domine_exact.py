"""Dominé et al. 2024: the exact solution against its equation, its limits and itself."""

from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from domine_setup import (
    SEEDS,
    SHAPES,
    few,
    networks,
    one,
    paper_form,
    start,
    start_gram,
)
from retrograd import ode
from retrograd.errors import RetrogradError
from retrograd.linear_networks import (
    Array,
    balanced_scales,
    balanced_weights,
    gradient_flow,
    kernel_distance,
    orthogonal,
)
from retrograd.papers.domine2024_lazy_to_rich import exact
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.observables import (
    blocks,
    gram,
    loss,
    stack,
)

TIMES = [0.01, 0.1, 0.5, 1, 2, 5, 10]  # of D1
each_shape = pytest.mark.parametrize("shape", SHAPES)


def flow(networks: Networks, times: Sequence[float]) -> Array:
    """QQᵀ of integrated gradient flow."""
    W1, W2 = gradient_flow(networks.W1, networks.W2, networks.target, times, "flow")
    return gram(stack(W1, W2))


def propagated(networks: Networks, times: Sequence[float]) -> Array:
    return gram(exact.propagate(start(networks), networks.target, networks.lam, times))


def relative(found: Array, expected: Array) -> float:
    return float(abs(found - expected).max() / abs(expected).max())


# ---- the Riccati equation --------------------------------------------------------------


@each_shape
@pytest.mark.parametrize("lam", [-3.0, 0.0, 2.0])
def test_gradient_flow_obeys_the_riccati_equation(
    shape: tuple[int, ...], lam: float
) -> None:
    W1, W2, target = one(networks(shape, [lam]))
    error = target - W2 @ W1
    Q, dQ = stack(W1, W2), stack(W2.T @ error, error @ W1.T)
    F, G = exact.riccati_matrix(target, lam), Q @ Q.T
    np.testing.assert_allclose(dQ @ Q.T + Q @ dQ.T, F @ G + G @ F - G @ G, atol=1e-13)


@given(s=st.floats(1e-3, 10), lam=st.floats(-100, 100))
def test_a_mode_has_the_eigenvectors_of_its_riccati_matrix(s: float, lam: float) -> None:
    S, m, p = exact.mode_solution(s, lam)
    F = exact.riccati_matrix(np.array([[s]]), lam)
    scale = abs(F).max()
    for rate, vector in ((S, [m, p]), (-S, [p, -m])):
        np.testing.assert_allclose(F @ vector, rate * np.array(vector), atol=1e-13 * scale)
        assert np.linalg.norm(vector) == pytest.approx(np.sqrt(2), rel=1e-14)


# ---- against gradient flow -------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "lam"),
    [
        ((5, 5, 5), [-5, -2, 0, 1e-3, 2, 5]),
        ((8, 3, 3), [-5, -1, 0, 1, 5]),  # λ = −1 at t = 5: "Pitfalls", λ⊥
        ((3, 3, 8), [-5, -1, 0, 1, 5]),
        ((5, 5, 5), [50]),
    ],
)
def test_both_forms_agree_with_gradient_flow(
    shape: tuple[int, ...], lam: list[float]
) -> None:
    nets = networks(shape, lam, seeds=3)
    expected = flow(nets, TIMES)
    scale = abs(expected).max((0, 2, 3, 4), keepdims=True)
    for found, tolerance in (
        (exact.solution(nets, TIMES), 1e-9),
        (propagated(nets, TIMES), 1e-10),
    ):
        assert (abs(found - expected) <= tolerance * scale).all()


@pytest.mark.parametrize(
    ("shape", "lam"), [((4, 6, 9), [0, 1, 5]), ((9, 6, 4), [-5, -1, 0]), ((3, 7, 3), [0])]
)
def test_the_propagator_needs_no_square_b(shape: tuple[int, ...], lam: list[float]) -> None:
    nets = networks(shape, lam)
    expected = flow(nets, TIMES)
    assert relative(propagated(nets, TIMES), expected) <= 1e-10
    with pytest.raises(RetrogradError, match="as many hidden units as modes"):
        exact.solution(nets, TIMES)


# ---- against itself --------------------------------------------------------------------


@each_shape
@pytest.mark.parametrize("lam", [-4.0, -1e-3, 0.0, 0.5])
def test_the_papers_form_the_stable_form_and_the_propagator_are_one(
    shape: tuple[int, ...], lam: float
) -> None:
    nets, times = networks(shape, [lam]), [0.1, 0.7, 2]
    stable, stepped = exact.solution(nets, times)[0, 0], propagated(nets, times)[0, 0]
    np.testing.assert_allclose(stable, stepped, atol=1e-10)
    for t, found in zip(times, stable, strict=True):
        np.testing.assert_allclose(paper_form(*one(nets), lam, t), found, atol=1e-8)


@each_shape
def test_the_solution_starts_where_the_network_does(shape: tuple[int, ...]) -> None:
    nets = networks(shape, [-2, 0, 2])
    for found in (exact.solution(nets, [0]), propagated(nets, [0])):
        np.testing.assert_allclose(found[:, :, 0], start_gram(nets), atol=1e-12)


@few
@given(seed=SEEDS, t1=st.floats(0, 5), t2=st.floats(0, 5), lam=st.floats(-10, 10))
def test_steps_compose(seed: int, t1: float, t2: float, lam: float) -> None:
    nets = networks((4, 3, 3), [lam], seed=seed)
    Q = exact.propagate(start(nets), nets.target, nets.lam, [t1])[..., 0, :, :]
    twice = gram(exact.propagate(Q, nets.target, nets.lam, [t2]))
    at_once = propagated(nets, [t1 + t2])
    np.testing.assert_allclose(twice, at_once, atol=1e-10 * max(1, abs(lam)))


@each_shape
def test_transposing_the_network_mirrors_lambda(shape: tuple[int, ...]) -> None:
    # (W1, W2, Σ, λ) -> (W2ᵀ, W1ᵀ, Σᵀ, −λ) swaps A and B, and transposes the map.
    nets, times = networks(shape, [-3, 0.5]), [0.3, 2, 40]
    W1, W2, target = (np.swapaxes(x, -1, -2) for x in (nets.W2, nets.W1, nets.target))
    mirrored = Networks(W1, W2, target, -nets.lam)
    found = blocks(exact.solution(nets, times), shape[0])
    other = blocks(exact.solution(mirrored, times), shape[2])
    np.testing.assert_allclose(found.A, other.B, atol=1e-12)
    np.testing.assert_allclose(found.B, other.A, atol=1e-12)
    np.testing.assert_allclose(found.map, np.swapaxes(other.map, -1, -2), atol=1e-12)


@each_shape
def test_the_gram_matrix_is_one_and_has_the_rank_of_the_hidden_layer(
    shape: tuple[int, ...],
) -> None:
    grams = exact.solution(networks(shape, [-2, 0, 2]), [0.1, 1, 30])
    np.testing.assert_allclose(grams, np.swapaxes(grams, -1, -2), atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(grams)
    assert abs(eigenvalues[..., : -shape[1]]).max() <= 1e-12
    assert eigenvalues.min() >= -1e-12


# ---- long times and large |λ| ----------------------------------------------------------


@each_shape
def test_the_solution_is_finite_at_any_lambda_and_time(shape: tuple[int, ...]) -> None:
    lam = [-10, -1, -1e-3, 0, 1e-6, 0.1, 3, 10]
    nets = networks(shape, lam)
    grams = exact.solution(nets, [0, 1, 20, 200, 1e3])
    assert np.isfinite(grams).all()
    assert abs(grams).max() < 2 * (10 + 2 * 1.5)
    stepped = propagated(nets, [1, 20, 200, 1e3])
    np.testing.assert_allclose(stepped, grams[:, :, 1:], atol=1e-7)


def test_the_papers_form_is_lost_where_the_stable_one_holds() -> None:
    # D1b.
    nets = networks((5, 5, 5), [-5, 0, 5, 50])
    late = blocks(exact.solution(nets, [200, 1e3]), 5).map
    assert abs(late - nets.target[:, :, None]).max() <= 1e-10
    with np.errstate(all="ignore"):
        assert not np.isfinite(paper_form(*one(nets), lam=-5, t=200)).all()


def test_a_square_network_that_would_end_at_a_saddle_does() -> None:
    # "Pitfalls": at λ = 0 det W2W1 keeps its sign, so half of all networks cannot learn.
    nets = networks((4, 4, 4), [0], seeds=1)
    W1, W2, target = one(nets)
    flipped = W2.copy()
    flipped[0] *= -1  # another sign of the determinant, the same balance
    learning, stuck = (
        Networks(W1[None, None], W[None, None], target, np.zeros(1)) for W in (W2, flipped)
    )
    assert np.linalg.cond(exact.growing_directions(learning)[0, 0]) < 100
    assert np.linalg.cond(exact.growing_directions(stuck)[0, 0]) > 1e12
    end = [propagated(nets, [12])[0, 0, 0] for nets in (learning, stuck)]
    losses = [loss(blocks(g, 4).map, target) for g in end]
    assert losses[0] < 1e-6
    assert losses[1] > 0.1
    assert abs(np.linalg.det(blocks(end[1], 4).map)) < 1e-4


def test_without_growing_directions_there_is_no_stable_form() -> None:
    nothing = Networks(np.zeros((2, 2)), np.zeros((2, 2)), np.eye(2), np.array(0.0))
    with pytest.raises(RetrogradError, match="B is singular"):
        exact.solution(nothing, [1])


# ---- fixed point -----------------------------------------------------------------------


@each_shape
@pytest.mark.parametrize("lam", [-1.0, 0.0, 1.0])
def test_the_fixed_point_is_where_the_solution_ends(
    shape: tuple[int, ...], lam: float
) -> None:
    nets = networks(shape, [lam])
    # In a direction without a mode the wider layer converges slowly or not at all.
    slow = (shape[0] - shape[2]) * lam < 0
    end = blocks(exact.solution(nets, [300])[:, :, 0], shape[0])
    A, B = exact.fixed_point(nets.target, nets.lam)
    if slow or len(set(shape)) == 1 or lam == 0:
        np.testing.assert_allclose(end.A, A, atol=1e-8)
        np.testing.assert_allclose(end.B, B, atol=1e-8)
    assert np.trace(B[0, 0]) - np.trace(A[0, 0]) == pytest.approx(lam * min(shape))


def test_representations_at_large_lambda_are_the_task_squared_and_the_identity() -> None:
    target = one(networks((4, 4, 4), [1]))[2]
    lam = 1e4
    A, B = exact.fixed_point(target, lam)
    np.testing.assert_allclose(A * lam, target.T @ target, atol=1e-6)
    np.testing.assert_allclose(B / lam, np.eye(4), atol=1e-6)
    A, B = exact.fixed_point(target, -lam)
    np.testing.assert_allclose(B * lam, target @ target.T, atol=1e-6)
    np.testing.assert_allclose(A / lam, np.eye(4), atol=1e-6)


@few
@given(seed=SEEDS, s0=st.floats(0.01, 2), lam=st.floats(-10, 10))
def test_the_final_kernel_distance_of_a_square_network(
    seed: int, s0: float, lam: float
) -> None:
    # For any equal initial singular values; a saddle that λ ~ 0 leaves late is no matter.
    rng = np.random.default_rng(seed)
    s, lam = np.sort(rng.uniform(0.5, 2, 4))[::-1], lam + np.copysign(0.01, lam)
    U, V, R, Ut, Vt = (orthogonal(rng, 4, 4) for _ in range(5))
    W1, W2 = balanced_weights(U, np.full(4, s0), V, R, lam)
    A, B = exact.fixed_point(Ut * s @ Vt.T, lam)
    found = kernel_distance(W1.T @ W1, W2 @ W2.T, A, B)
    assert exact.final_kernel_distance(s, lam) == pytest.approx(float(found), abs=1e-13)


def test_the_final_kernel_distance_falls_with_the_fourth_power_of_lambda() -> None:
    s = np.linspace(1.5, 0.5, 4)
    far, farther = exact.final_kernel_distance(s, np.array([50.0, 100.0]))
    assert far / farther == pytest.approx(16, rel=0.01)


# ---- one mode --------------------------------------------------------------------------


@few
@given(
    s=st.floats(0.3, 2),
    a0=st.floats(-2, 2).filter(lambda a: abs(a) > 0.01),
    lam=st.floats(-20, 20),
)
def test_an_aligned_mode_obeys_its_equation(s: float, a0: float, lam: float) -> None:
    times = np.array([0.0, 0.1, 0.5, 2.0])

    def velocity(_: float, a: Array) -> Array:
        return np.hypot(lam, 2 * a) * (s - a)

    expected = ode.integrate(velocity, [a0], times, what="a mode", rtol=1e-11, atol=1e-13)[
        :, 0
    ]
    found = exact.aligned_mode(s, a0, lam, times)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found[0] == pytest.approx(a0, rel=1e-12)


def test_an_aligned_mode_is_that_of_the_matrix_solution() -> None:
    s, lam, times = np.array([1.5, 0.7]), np.array([-3.0, 0.0, 2.0]), [0.1, 1, 4, 300]
    rng = np.random.default_rng(0)
    U, V, R = (orthogonal(rng, 2, 2) for _ in range(3))
    W1, W2 = balanced_weights(U, np.array([0.1, 0.1]), V, R, lam)
    grams = exact.solution(Networks(W1, W2, U * s @ V.T, lam), times)
    modes = np.einsum("oa,...oi,ia->...a", U, blocks(grams, 2).map, V)
    found = exact.aligned_mode(s, 0.1, lam[:, None, None], np.array(times)[:, None])
    np.testing.assert_allclose(modes, found, atol=1e-12)


def test_an_aligned_mode_has_the_sigmoid_and_the_exponential_as_its_limits() -> None:
    s, a0, t = 1.0, 0.05, np.linspace(0, 6, 200)
    sigmoid = s / (1 + (s / a0 - 1) * np.exp(-2 * s * t))
    at_zero = exact.aligned_mode(s, a0, 0.0, t)
    np.testing.assert_allclose(at_zero, sigmoid, atol=1e-14)
    for lam in (1e-8, -1e-8):  # "Pitfalls": no digit is lost near λ = 0
        near = exact.aligned_mode(s, a0, lam, t)
        np.testing.assert_allclose(near, at_zero, atol=1e-7)
    for lam in (-1e3, 1e3):
        t_short = t / abs(lam)
        exponential = s + (a0 - s) * np.exp(-abs(lam) * t_short)
        found = exact.aligned_mode(s, a0, lam, t_short)
        assert 0.19 <= lam**2 * abs(found - exponential).max() <= 0.22


def test_a_reversed_mode_ends_at_zero_without_balance_and_at_its_target_with() -> None:
    times = np.array([0.0, 1, 30, 300, 1e4])
    stuck = exact.aligned_mode(1.0, -1.0, 0.0, times)
    assert stuck[0] == pytest.approx(-1)
    np.testing.assert_allclose(stuck[2:], 0, atol=1e-12)
    for lam in (-0.1, 1e-3, 0.1):
        assert exact.aligned_mode(1.0, -1.0, lam, times)[-1] == pytest.approx(1)
    c, d = balanced_scales(-1.0, 0.0)
    assert c + d == 0
