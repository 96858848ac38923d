"""Moments of Gaussian fields: against sampling, quadrature and identities.

C is a covariance of fields z; a, b, c, d are the slots of a moment, as in the formulas of
the specification of Goldt et al. 2019 ("Gaussian integrals").
"""

import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from activations import SLOPE, VALUE
from retrograd import gaussian
from retrograd.gaussian import Activation, Array

ACTIVATIONS = st.sampled_from(sorted(VALUE))
each_activation = pytest.mark.parametrize("activation", sorted(VALUE))
few = settings(max_examples=25, deadline=None)


def covariances(n: int, ridge: float = 0.3) -> st.SearchStrategy[Array]:
    """A Aᵀ + ridge: any covariance if the ridge is 0, singular ones included."""
    entries = st.floats(-1.5, 1.5, width=16)
    factors = arrays(np.float64, (n, n), elements=entries, fill=st.nothing())
    return factors.map(lambda A: A @ A.T + ridge * np.eye(n))


# ---- sampling --------------------------------------------------------------------------


@each_activation
def test_moments_agree_with_sampling(activation: Activation) -> None:
    # A random 4x4 covariance, 2e6 samples, all combinations of fields, 4 standard errors.
    rng = np.random.default_rng(1)
    A = rng.standard_normal((4, 5))
    C, n = A @ A.T / 5, 4
    L = np.linalg.cholesky(C)
    names = ("i2", "j2", "i3", "i4")
    first, second = ({name: 0.0 for name in names} for _ in range(2))
    chunks, size = 20, 100_000
    for _ in range(chunks):
        z = rng.standard_normal((size, n)) @ L.T
        g, slope = VALUE[activation](z), SLOPE[activation](z)
        gg, zg, ss = (_pairs(*p) for p in ((g, g), (z, g), (slope, slope)))
        one = np.ones((size, 1))
        for name, left, right in zip(
            names, (one, one, slope, ss), (gg, ss, zg, gg), strict=True
        ):
            first[name] += left.T @ right / size / chunks
            second[name] += (left**2).T @ right**2 / size / chunks
    exact = {
        "i2": gaussian.i2(activation, C),
        "j2": gaussian.j2(activation, C),
        "i3": gaussian.i3(activation, C, n),
    }
    if activation != "relu":
        exact["i4"] = gaussian.i4(activation, C, n)
    for name, moment in exact.items():
        variance = np.maximum(second[name] - first[name] ** 2, 0)
        standard_error = np.sqrt(variance / (chunks * size))
        deviation = abs(moment.reshape(first[name].shape) - first[name])
        assert (deviation <= 4 * standard_error + 1e-12).all(), name


def _pairs(a: Array, b: Array) -> Array:
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


# ---- quadrature ------------------------------------------------------------------------


def average(f: Callable[[Array, Array], Array], C: Array) -> float:
    """⟨f(a, b)⟩ over two fields, in polar coordinates; f may have kinks at a, b = 0."""
    L = np.linalg.cholesky(C)
    kinks = [np.arctan2(-row[0], row[1]) + half for row in L for half in (0, np.pi)]
    edges = np.sort(np.mod(kinks, 2 * np.pi))
    edges = np.append(edges, edges[0] + 2 * np.pi)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r = 5 * (nodes + 1)  # to 10 standard deviations
    radial = 5 * weights * r * np.exp(-(r**2) / 2) / (2 * np.pi)
    total = 0.0
    for start, end in itertools.pairwise(edges):
        theta = start + (end - start) * (nodes + 1) / 2
        a, b = np.einsum("ij,jt,r->itr", L, [np.cos(theta), np.sin(theta)], r)
        total += (end - start) / 2 * weights @ f(a, b) @ radial
    return float(total)


@few
@given(activation=ACTIVATIONS, C=covariances(2))
def test_i2_and_j2_agree_with_quadrature(activation: Activation, C: Array) -> None:
    for moment, function in ((gaussian.i2, VALUE), (gaussian.j2, SLOPE)):
        g = function[activation]
        exact = average(lambda a, b, g=g: g(a) * g(b), C)
        assert moment(activation, C)[0, 1] == pytest.approx(exact, rel=1e-9, abs=1e-10)


@few
@given(activation=ACTIVATIONS, C=covariances(3))
def test_i3_agrees_with_quadrature(activation: Activation, C: Array) -> None:
    # Given a and c, the mean of field b is linear in them, so two dimensions are enough.
    a, b, c = 0, 1, 2
    C_ac = C[np.ix_([a, c], [a, c])]
    p, q = np.linalg.solve(C_ac, C[[a, c], b])
    g, slope = VALUE[activation], SLOPE[activation]
    exact = average(lambda x, y: slope(x) * (p * x + q * y) * g(y), C_ac)
    found = gaussian.i3(activation, C, 3)[a, b, c]
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-10)


# ---- identities ------------------------------------------------------------------------


def d_i2(activation: Activation, C: Array, a: int, b: int, i: int, j: int) -> float:
    """∂⟨g(a) g(b)⟩ / ∂C_ij by central difference; C_ij and C_ji are one variable."""
    h = 1e-5
    ends = []
    for sign in (1, -1):
        moved = C.copy()
        moved[i, j] = moved[j, i] = C[i, j] + sign * h
        ends.append(gaussian.i2(activation, moved)[a, b])
    return float((ends[0] - ends[1]) / (2 * h))


@few
@given(activation=ACTIVATIONS, C=covariances(2))
def test_j2_is_the_derivative_of_i2(activation: Activation, C: Array) -> None:
    # Price's theorem: ∂⟨g(a) g(b)⟩/∂C_ab = ⟨g'(a) g'(b)⟩.
    slope = d_i2(activation, C, 0, 1, 0, 1)
    assert gaussian.j2(activation, C)[0, 1] == pytest.approx(slope, abs=1e-6)


@few
@given(activation=ACTIVATIONS, C=covariances(3))
def test_i3_obeys_steins_lemma(activation: Activation, C: Array) -> None:
    # ⟨z_b g'(a) g(c)⟩ = C_ab ⟨g''(a) g(c)⟩ + C_bc ⟨g'(a) g'(c)⟩, and by Price's theorem
    # ⟨g''(a) g(c)⟩ = 2 ∂⟨g(a) g(c)⟩/∂C_aa.
    a, b, c = 0, 1, 2
    curvature = 2 * d_i2(activation, C, a, c, a, a)
    stein = C[a, b] * curvature + C[b, c] * gaussian.j2(activation, C)[a, c]
    found = gaussian.i3(activation, C, 3)[a, b, c]
    assert found == pytest.approx(stein, abs=1e-5)


@few
@given(activation=st.sampled_from(["erf", "lin"]), A=covariances(2), B=covariances(2))
def test_i4_of_independent_pairs_is_a_product(
    activation: Activation, A: Array, B: Array
) -> None:
    C = np.block([[A, np.zeros((2, 2))], [np.zeros((2, 2)), B]])
    found = gaussian.i4(activation, C, 2)[:, :, 2:, 2:]
    product = np.multiply.outer(gaussian.j2(activation, A), gaussian.i2(activation, B))
    np.testing.assert_allclose(found, product, rtol=1e-12, atol=1e-14)


@few
@given(activation=ACTIVATIONS, C=covariances(4, ridge=0.0))
def test_i2_is_a_covariance(activation: Activation, C: Array) -> None:
    moment = gaussian.i2(activation, C)
    np.testing.assert_allclose(moment, moment.T, atol=1e-14)
    assert np.linalg.eigvalsh(moment).min() >= -1e-7


@few
@given(activation=ACTIVATIONS, C=covariances(3))
def test_mean_square_slope_is_the_diagonal_of_j2(activation: Activation, C: Array) -> None:
    slopes = gaussian.mean_square_slope(activation, np.diag(C))
    np.testing.assert_allclose(slopes, np.diag(gaussian.j2(activation, C)), rtol=1e-7)


def test_erf_has_mean_square_one_third_at_unit_variance() -> None:
    # Specification, "Pitfalls": g(z) is then uniform on (−1, 1).
    assert gaussian.i2("erf", np.eye(1)) == pytest.approx(1 / 3, rel=1e-14)


def test_erf_has_the_stated_mean_square_slope_at_unit_variance() -> None:
    # Specification, "Pitfalls": J2(k, k) = (2/π)/√3 = 0.367553.
    found = gaussian.j2("erf", np.eye(1)).item()
    assert found == pytest.approx(2 / np.pi / np.sqrt(3), rel=1e-14)
    assert found == pytest.approx(0.367553, abs=5e-7)


def test_i4_of_relu_is_refused() -> None:
    with pytest.raises(ValueError, match="no closed form"):
        gaussian.i4("relu", np.eye(2), 1)


# ---- absent units, leading axes --------------------------------------------------------


@few
@given(activation=ACTIVATIONS, C=covariances(3), absent=st.integers(0, 2))
def test_absent_fields_contribute_nothing(
    activation: Activation, C: Array, absent: int
) -> None:
    there = np.delete(np.arange(3), absent)
    C[absent] = C[:, absent] = 0
    few_fields = C[np.ix_(there, there)]
    with np.errstate(all="raise"):
        i2, j2 = gaussian.i2(activation, C), gaussian.j2(activation, C)
        i3 = gaussian.i3(activation, C, 3)
        i4 = None if activation == "relu" else gaussian.i4(activation, C, 3)
    assert (i2[absent] == 0).all()
    assert (i3[there, absent] == 0).all()
    assert (i3[:, :, absent] == 0).all()
    same = {
        "i2": (i2, gaussian.i2(activation, few_fields)),
        "j2": (j2, gaussian.j2(activation, few_fields)),
        "i3": (i3, gaussian.i3(activation, few_fields, 2)),
    }
    if i4 is not None:
        assert (i4[:, :, absent] == 0).all()
        assert (i4[:, :, :, absent] == 0).all()
        same["i4"] = i4, gaussian.i4(activation, few_fields, 2)
    for name, (padded, plain) in same.items():
        assert np.isfinite(padded).all(), name
        kept = padded[np.ix_(*[there] * padded.ndim)]
        np.testing.assert_allclose(kept, plain, rtol=1e-13, err_msg=name)


@each_activation
def test_leading_axes_are_kept(activation: Activation) -> None:
    A = np.random.default_rng(2).standard_normal((2, 3, 4, 6))
    C = A @ np.swapaxes(A, -1, -2) / 6
    Q, R, T = C[..., :2, :2], C[..., :2, 2:], C[:, :1, 2:, 2:]
    v, v_star = A[..., :2, 0], np.array([1.0, 2.0])
    variance = np.diagonal(C, axis1=-2, axis2=-1)
    batched = {
        "i2": gaussian.i2(activation, C),
        "j2": gaussian.j2(activation, C),
        "slope": gaussian.mean_square_slope(activation, variance),
        "eg": gaussian.committee_error(activation, Q, R, T, v, v_star),
        "joint": gaussian.joint_covariance(Q, R, T),
    }
    for i in np.ndindex(2, 3):
        run = Q[i], R[i], T[i[0], 0]
        alone = {
            "i2": gaussian.i2(activation, C[i]),
            "j2": gaussian.j2(activation, C[i]),
            "slope": gaussian.mean_square_slope(activation, variance[i]),
            "eg": gaussian.committee_error(activation, *run, v[i], v_star),
            "joint": np.block([[run[0], run[1]], [run[1].T, run[2]]]),
        }
        for name, values in batched.items():
            np.testing.assert_allclose(values[i], alone[name], rtol=1e-13, err_msg=name)


# ---- committees ------------------------------------------------------------------------


@few
@given(
    activation=ACTIVATIONS,
    T=covariances(3, ridge=0.0),
    v_star=arrays(np.float64, 3, elements=st.floats(-4, 4, width=16)),
    order=st.permutations(range(3)),
    step=st.floats(-1, 1, width=16),
)
def test_a_copy_of_the_teacher_has_no_error_until_its_second_layer_moves(
    activation: Activation, T: Array, v_star: Array, order: list[int], step: float
) -> None:
    Q, R, v = T[np.ix_(order, order)], T[order], v_star[order]
    copy = gaussian.committee_error(activation, Q, R, T, v, v_star)
    scale = 1 + np.abs(T).max() * (v_star**2).sum()
    assert abs(copy) <= 1e-14 * scale
    # Unit 0 off by `step`: eg = ½ step² ⟨g²⟩, no label noise in it.
    v[0] += step
    moved = gaussian.committee_error(activation, Q, R, T, v, v_star)
    expected = 0.5 * step**2 * gaussian.i2(activation, Q)[0, 0]
    assert moved == pytest.approx(expected, rel=1e-10, abs=1e-13 * scale)


@few
@given(T=covariances(2), flips=arrays(np.bool_, 2), factor=st.floats(0.25, 4, width=16))
def test_symmetries_of_the_units_leave_no_error(
    T: Array, flips: Array, factor: float
) -> None:
    # erf and lin are odd: (w, v) and (−w, −v) are one unit. ReLU and lin are homogeneous.
    v_star = np.array([1.0, 2.0])
    sign = np.where(flips, -1.0, 1.0)
    scaled = np.array([factor, 1.0])
    symmetries: dict[Activation, Array] = {
        "erf": sign,
        "lin": sign * scaled,
        "relu": scaled,
    }
    for activation, s in symmetries.items():
        Q, R = T * np.outer(s, s), T * s[:, None]
        eg = gaussian.committee_error(activation, Q, R, T, v_star / s, v_star)
        assert abs(eg) <= 1e-12 * (1 + np.abs(T).max()), activation


@few
@given(
    activation=ACTIVATIONS,
    C=covariances(5, ridge=0.0),
    v=arrays(np.float64, 3, elements=st.floats(-4, 4, width=16)),
    v_star=arrays(np.float64, 2, elements=st.floats(-4, 4, width=16)),
)
def test_errors_are_not_negative_and_absent_units_do_not_matter(
    activation: Activation, C: Array, v: Array, v_star: Array
) -> None:
    Q, R, T = C[:3, :3], C[:3, 3:], C[3:, 3:]
    eg = gaussian.committee_error(activation, Q, R, T, v, v_star)
    assert eg >= -1e-7
    Q_padded, R_padded = np.zeros((5, 5)), np.zeros((5, 2))
    Q_padded[:3, :3], R_padded[:3] = Q, R
    v_padded = np.append(v, [7.0, -7.0])
    padded = gaussian.committee_error(activation, Q_padded, R_padded, T, v_padded, v_star)
    assert padded == pytest.approx(eg, rel=1e-12, abs=1e-12)
