"""Moments of units under Gaussian fields, against sampling, quadrature and identities."""

from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.special import erf

from retrograd import gaussian
from retrograd.gaussian import Activation, Array

ACTIVATIONS: tuple[Activation, ...] = ("erf", "lin", "relu")


def g(activation: Activation, z: Array) -> Array:
    if activation == "erf":
        return np.asarray(erf(z / np.sqrt(2)))
    return z if activation == "lin" else np.maximum(z, 0)


def slope(activation: Activation, z: Array) -> Array:
    if activation == "erf":
        return np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
    return np.ones_like(z) if activation == "lin" else (z > 0).astype(float)


def random_covariance(n: int, seed: int = 0) -> Array:
    A = np.random.default_rng(seed).normal(size=(n, n))
    return A @ A.T / n + 0.3 * np.eye(n)


FACTORS = arrays(np.float64, (4, 4), elements=st.floats(-2, 2))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_moments_agree_with_sampling(activation: Activation) -> None:
    """Every entry within 5 standard errors (some 400 entries are compared)."""
    C = random_covariance(4)
    z = np.random.default_rng(1).multivariate_normal(np.zeros(4), C, size=1_000_000).T
    G, D = g(activation, z), slope(activation, z)

    def agrees(exact: Array, *factors: Array) -> None:
        for index in product(*(range(len(f)) for f in factors)):
            samples = np.prod([f[i] for f, i in zip(factors, index, strict=True)], axis=0)
            error = samples.std() / np.sqrt(samples.size) + 1e-12
            assert abs(exact[index] - samples.mean()) < 5 * error, index

    agrees(gaussian.i2(activation, C), G, G)
    agrees(gaussian.j2(activation, C), D, D)
    agrees(gaussian.i3(activation, C, first=2), D[:2], z, G)
    if activation != "relu":
        agrees(gaussian.i4(activation, C, first=2), D[:2], D[:2], G, G)


@pytest.mark.parametrize("activation", ["erf", "lin"])
def test_i2_and_j2_agree_with_quadrature(activation: Activation) -> None:
    C = random_covariance(2, seed=3)
    x, w = np.polynomial.hermite_e.hermegauss(120)
    weights = np.outer(w, w) / (2 * np.pi)
    a, b = np.einsum("ij,jkl->ikl", np.linalg.cholesky(C), np.array(np.meshgrid(x, x)))
    for exact, f in ((gaussian.i2, g), (gaussian.j2, slope)):
        numerical = (weights * f(activation, a) * f(activation, b)).sum()
        assert exact(activation, C)[0, 1] == pytest.approx(numerical, rel=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30, deadline=None)
@given(A=FACTORS)
def test_prices_theorem(activation: Activation, A: Array) -> None:
    """∂⟨g(a) g(b)⟩/∂C_ab = ⟨g'(a) g'(b)⟩."""
    C, h = A @ A.T + 0.5 * np.eye(4), 1e-5
    E = np.zeros((4, 4))
    E[0, 1] = E[1, 0] = h
    numerical = (gaussian.i2(activation, C + E) - gaussian.i2(activation, C - E)) / (2 * h)
    assert numerical[0, 1] == pytest.approx(gaussian.j2(activation, C)[0, 1], abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30, deadline=None)
@given(A=FACTORS)
def test_steins_lemma(activation: Activation, A: Array) -> None:
    """⟨g(a) z_b⟩ = C_ab ⟨g'(a)⟩ makes ⟨g'(a) z_b g(c)⟩ linear in z_b with C_ab, C_cb.

    For b = c and b = a the two coefficients follow, and give I3 at every other b.
    """
    C = A @ A.T + 0.5 * np.eye(4)
    I3 = gaussian.i3(activation, C, first=1)[0]
    a, c = 0, 2
    system = np.array([[C[a, a], C[c, a]], [C[a, c], C[c, c]]])
    coefficients = np.linalg.solve(system, [I3[a, c], I3[c, c]])
    for b in (1, 3):
        expected = coefficients @ [C[a, b], C[c, b]]
        assert I3[b, c] == pytest.approx(expected, rel=1e-7, abs=1e-8)


def test_reference_values_of_erf_units() -> None:
    """The specification's pitfalls: ⟨g²⟩ = 1/3 and ⟨g'²⟩ = (2/π)/√3 at unit variance."""
    one = np.ones((1, 1))
    assert gaussian.i2("erf", one)[0, 0] == pytest.approx(1 / 3, abs=1e-15)
    assert gaussian.j2("erf", one)[0, 0] == pytest.approx(0.367553, abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mean_square_slope_is_the_diagonal_of_j2(activation: Activation) -> None:
    C = random_covariance(5)
    expected = np.diag(gaussian.j2(activation, C))
    np.testing.assert_allclose(gaussian.mean_square_slope(activation, np.diag(C)), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_absent_units_contribute_nothing(activation: Activation) -> None:
    C = random_covariance(3)
    padded = np.zeros((5, 5))
    padded[:3, :3] = C
    full, part = gaussian.i2(activation, padded), gaussian.i2(activation, C)
    np.testing.assert_array_equal(full[:3, :3], part)
    assert not full[3:].any()
    I3 = gaussian.i3(activation, padded, first=3)
    np.testing.assert_allclose(I3[:, :3, :3], gaussian.i3(activation, C, first=3))
    assert not I3[:, 3:].any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_leading_axes_are_a_loop(activation: Activation) -> None:
    C = np.stack([[random_covariance(3, seed=s + 5 * t) for s in range(3)] for t in (0, 1)])
    for moment in (gaussian.i2, gaussian.j2):
        batched = moment(activation, C)
        for index in np.ndindex(2, 3):
            np.testing.assert_array_equal(batched[index], moment(activation, C[index]))


def test_the_fourfold_moment_of_relu_units_is_refused() -> None:
    with pytest.raises(ValueError, match="no closed form"):
        gaussian.i4("relu", np.eye(2), first=1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30, deadline=None)
@given(A=FACTORS, v=arrays(np.float64, 2, elements=st.floats(-2, 2)))
def test_the_error_is_a_mean_square(activation: Activation, A: Array, v: Array) -> None:
    """Never negative, and zero for a student that is its teacher."""
    C = A @ A.T + 1e-3 * np.eye(4)
    Q, R, T = C[:2, :2], C[:2, 2:], C[2:, 2:]
    error = gaussian.committee_error(activation, Q, R, T, v, np.ones(2))
    scale = 1 + np.abs(C).max() * (1 + v @ v)
    assert error >= -1e-13 * scale
    same = gaussian.committee_error(activation, T, T, T, v, v)
    assert abs(same) <= 1e-14 * scale
