"""One-point marginals: against closed forms, quadrature, sampling, and invariants."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from retrograd.marginals import (
    FAMILIES,
    NODES,
    WEIGHTS,
    Algebraic,
    Gaussian,
    Marginal,
    Nlgp,
    NormalField,
    Sign,
    Uniform,
    marginal,
)

MARGINALS = st.one_of(
    st.floats(0.01, 100).map(Nlgp),
    st.floats(4.1, 60).map(Algebraic),
    st.sampled_from([Gaussian(), Uniform(), Sign()]),
)
few = settings(max_examples=30, deadline=None)


@few
@given(MARGINALS)
def test_laws_are_standard_symmetric_and_monotone(law: Marginal) -> None:
    z = np.linspace(-6, 6, 801)
    x = law(z)
    np.testing.assert_allclose(x, -x[::-1], atol=1e-12)
    assert (np.diff(x) >= 0).all()
    assert WEIGHTS @ law(NODES) ** 2 == pytest.approx(1, abs=1e-9)
    assert WEIGHTS @ law(NODES) == pytest.approx(law.mean_magnitude, abs=1e-5)
    assert law.mean_magnitude <= 1
    assert law.excess_kurtosis >= -2


@few
@given(MARGINALS, st.floats(-1, 1))
def test_covariances_are_odd_and_below_the_gaussian_one(law: Marginal, G: float) -> None:
    # |Σ| ≤ |G|: the maximal correlation of two Gaussians is their own.
    found = float(law.covariance(G))
    assert found == pytest.approx(-float(law.covariance(-G)), abs=1e-12)
    assert abs(found) <= abs(G) + 1e-12
    assert found * G >= 0
    assert float(law.covariance(1.0)) == pytest.approx(1)


@pytest.mark.parametrize("law", [Nlgp(0.3), Nlgp(3.0), Uniform(), Gaussian(), Sign()])
def test_closed_covariances_are_the_hermite_series(law: Marginal) -> None:
    G = np.linspace(-0.7, 0.7, 15)
    np.testing.assert_allclose(law.covariance(G), Marginal.covariance(law, G), atol=2e-6)


def test_the_covariance_of_an_algebraic_law_is_that_of_samples() -> None:
    rng, law = np.random.default_rng(0), Algebraic(6.1)
    a, b = rng.standard_normal((2, 400_000))
    sampled = (law(a) * law(0.6 * a + 0.8 * b)).mean()
    assert sampled == pytest.approx(float(law.covariance(0.6)), abs=0.006)


@few
@given(MARGINALS, st.floats(0.001, 0.999))
def test_quantiles_invert_the_distribution(law: Marginal, p: float) -> None:
    x = float(law.quantile(p))
    if isinstance(law, Algebraic):
        scaled = x * law.scale
        found = (1 + scaled / (1 + abs(scaled) ** law.k) ** (1 / law.k)) / 2
        assert found == pytest.approx(p, rel=1e-9)
    elif isinstance(law, Uniform):
        assert (1 + x / np.sqrt(3)) / 2 == pytest.approx(p)
    assert x == pytest.approx(-float(law.quantile(1 - p)), abs=1e-9)


# The table of the specification.
KURTOSES = {
    Nlgp: "0.1 -0.076 0.167 -0.196 0.278 -0.449 0.464 -0.848 0.774 -1.269 1.0 -1.44 "
    "1.292 -1.577 2.154 -1.761 3.594 -1.864 5.995 -1.921 10 -1.954 100 -1.9955",
    Algebraic: "4.1 26.33 4.3 7.762 4.5 4.054 4.74 2.255 5 1.285 5.4 0.502 6.1 -0.142 "
    "7.7 -0.679 10 -0.930 50 -1.191",
}


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (family(float(parameter)), float(excess))
        for family, table in KURTOSES.items()
        for parameter, excess in zip(table.split()[::2], table.split()[1::2], strict=True)
    ],
)
def test_excess_kurtoses_are_those_of_the_table(law: Marginal, expected: float) -> None:
    assert law.excess_kurtosis == pytest.approx(expected, abs=1e-3, rel=2e-4)


@few
@given(st.floats(12, 60))
def test_the_kurtosis_of_light_algebraic_tails_is_that_of_quadrature(k: float) -> None:
    law = Algebraic(k)
    assert WEIGHTS @ law(NODES) ** 4 - 3 == pytest.approx(law.excess_kurtosis, abs=1e-6)


def test_mean_magnitudes_and_norms_are_those_of_the_specification() -> None:
    assert Nlgp(1.0).norm ** 2 == pytest.approx(0.464559, abs=1e-6)
    assert Nlgp(1.0).mean_magnitude == pytest.approx(0.892292, abs=1e-6)
    assert Uniform().mean_magnitude == pytest.approx(0.866025, abs=1e-6)
    assert Algebraic(5.0).mean_magnitude == pytest.approx(0.8092, abs=2e-4)


def test_the_gain_convention_is_that_of_the_variance_of_samples() -> None:
    # With erf(g z/√2) as in Ingrosso & Goldt the variance would be 0.73 at g = 1.
    x = Nlgp(1.0)(np.random.default_rng(1).standard_normal(200_000))
    assert x.var() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("k", [4.3, 10.0, 50.0])
def test_algebraic_tails_are_exact_where_one_minus_v_underflows(k: float) -> None:
    # For large z, 1 − |v|^k = k erfc(z/√2), and erfc ~ √(2/π) e^(−z²/2)/z.
    z = np.array([9.0, 12.0, 20.0])
    log_erfc = 0.5 * np.log(2 / np.pi) - z**2 / 2 - np.log(z) + np.log1p(-1 / z**2)
    expected = np.exp(-(np.log(k) + log_erfc) / k) / Algebraic(k).scale
    np.testing.assert_allclose(Algebraic(k)(z), expected, rtol=2e-4)
    single = Algebraic(k).of(NormalField(torch.tensor([5.77], dtype=torch.float32)))
    assert float(single) == pytest.approx(float(Algebraic(k)(5.77)), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_numpy_and_torch_give_the_same(family: str) -> None:
    law = marginal(family, *{"nlgp": (0.8,), "alg": (5.0,)}.get(family, ()))
    z = np.random.default_rng(2).standard_normal(1000)
    found = law.of(NormalField(torch.tensor(z))).numpy()
    np.testing.assert_allclose(found, law(z), rtol=1e-12, atol=1e-13)


def test_an_algebraic_law_without_kurtosis_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be above 4"):
        Algebraic(4.0)
