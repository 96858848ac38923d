"""Lufkin et al. 2024: the amplifier and the effective dynamics against exact results."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy import special
from scipy.integrate import quad

from lufkin_setup import batches, elliptical, training
from retrograd import circulant, ode
from retrograd.errors import RetrogradError
from retrograd.marginals import Algebraic, Gaussian, Marginal, Nlgp, Sign, Uniform
from retrograd.papers.lufkin2024_localization import data, theory
from retrograd.papers.lufkin2024_localization.params import Models, stimulus

Array = NDArray[np.float64]
LAWS = [
    Gaussian(),
    Nlgp(0.3),
    Nlgp(10.0),
    Algebraic(5.0),
    Algebraic(50.0),
    Uniform(),
    Sign(),
]
few = settings(max_examples=25, deadline=None)
INSIDE = np.linspace(0, 0.999, 40)


def phi(law: Marginal, a: Any) -> Array:
    return theory.amplifier(law, np.arcsin(np.atleast_1d(a)))


# ---- the amplifier -----------------------------------------------------------------------


def test_gaussian_inputs_have_a_linear_amplifier() -> None:
    np.testing.assert_allclose(
        phi(Gaussian(), INSIDE), np.sqrt(2 / np.pi) * INSIDE, atol=1e-12
    )


def test_spins_have_an_error_function() -> None:
    expected = special.erf(INSIDE / np.sqrt(2 * (1 - INSIDE**2)))
    np.testing.assert_allclose(phi(Sign(), INSIDE), expected, atol=1e-12)
    assert phi(Sign(), 0.5)[0] == pytest.approx(0.436297, abs=1e-6)


@pytest.mark.parametrize("law", [Nlgp(1.0), Algebraic(6.1), Uniform()])
@pytest.mark.parametrize("a", [0.2, 0.9])
def test_the_quadrature_is_that_of_scipy(law: Marginal, a: float) -> None:
    slope = a / np.sqrt(2 * (1 - a**2))

    def integrand(z: float) -> float:
        x = float(law(z))
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        return 2 * x * float(special.erf(x * slope)) * density

    assert phi(law, a)[0] == pytest.approx(quad(integrand, 0, 12, limit=200)[0], abs=1e-8)


@pytest.mark.parametrize("law", LAWS)
def test_the_amplifier_ends_at_the_mean_magnitude(law: Marginal) -> None:
    assert phi(law, 1.0)[0] == law.mean_magnitude
    # The angles just before: the quadrature itself, which knows nothing of that mean.
    assert phi(law, np.cos(1e-6))[0] == pytest.approx(law.mean_magnitude, abs=3e-5)


@pytest.mark.parametrize("law", LAWS)
def test_all_amplifiers_start_with_the_same_slope_and_the_cubic(law: Marginal) -> None:
    # What is left is of order a⁵, or a^(k−1) if moments of order k do not exist.
    a = np.array([0.01, 0.02, 0.04])
    order = min(5.0, law.k - 1) if isinstance(law, Algebraic) else 5.0
    rest = phi(law, a) - theory.cubic_amplifier(law.excess_kurtosis, a)
    assert (abs(rest) < a**order).all()
    assert phi(law, 1e-5)[0] / 1e-5 == pytest.approx(np.sqrt(2 / np.pi), abs=1e-7)


def test_the_prefactor_belongs_to_both_terms_of_the_cubic() -> None:
    law = Nlgp(1.0)
    assert phi(law, 0.1)[0] == pytest.approx(0.079980, abs=1e-6)
    found = theory.cubic_amplifier(law.excess_kurtosis, np.array([0.1]))
    assert found[0] == pytest.approx(0.079980, abs=1e-6)


def test_tables_are_as_good_as_the_quadrature() -> None:
    a = np.linspace(-1, 1, 401)
    table = theory.Amplifier(LAWS)(np.tile(a, (len(LAWS), 1, 1)))[:, 0]
    for law, found in zip(LAWS, table, strict=True):
        exact = np.sign(a) * phi(law, abs(a))
        np.testing.assert_allclose(found, exact, atol=2e-7)
        np.testing.assert_allclose(found, -found[::-1], atol=1e-15)


def test_the_amplifier_is_the_mean_of_gated_inputs() -> None:
    # Independent entries, many of them: E[1(w·x > 0) x_i] = φ(a_i)/2 with a = w/|w|.
    law, rng = Uniform(), np.random.default_rng(0)
    w = np.concatenate([[4.0], np.ones(40)])
    x = law(rng.standard_normal((150_000, 41)))
    found = (x[:, 0] * (x @ w > 0)).mean()
    assert found == pytest.approx(phi(law, 4 / np.sqrt(56))[0] / 2, abs=0.005)


# ---- effective dynamics ------------------------------------------------------------------


WEIGHTS = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).standard_normal((1, 2, 16))
)


@few
@given(WEIGHTS, st.sampled_from(["nlgp 10", "alg 5", "shell"]))
def test_a_is_at_most_one_and_knows_no_scale(w: Array, label: str) -> None:
    row = data.covariance_row(stimulus(label), 16, 1.3)
    drive = w @ circulant.matrix(row)
    a = theory.normalised(w, drive)
    assert abs(a).max() <= 1 + 1e-12
    np.testing.assert_allclose(theory.normalised(5 * w, 5 * drive), a)


def rows(label: str, N: int, xi: Any) -> Array:
    return np.array([[data.covariance_row(stimulus(label), N, x) for x in xi]])


@few
@given(st.integers(1, 15))
def test_rolling_the_start_rolls_the_trajectory(shift: int) -> None:
    start = data.initial_weights(training(N=16, seeds=2))[:, 0]
    amplifier = theory.Amplifier([Nlgp(10.0)])
    given_rows = rows("nlgp 10", 16, (0.3, 0.7))
    w, rolled = (
        theory.effective(amplifier, given_rows, s, 0.1, [0, 50, 200])
        for s in (start, np.roll(start, shift, axis=-1))
    )
    np.testing.assert_allclose(np.roll(w, shift, axis=-1), rolled, atol=1e-12)


def test_modes_of_the_linear_flow_never_mix() -> None:
    start = np.cos(2 * np.pi * 3 * np.arange(16) / 16)[None]
    amplifier = theory.linear_amplifier([0.8])
    w = theory.effective(amplifier, rows("shell", 16, (1, 3)), start, 0.1, [0, 30])[
        0, 0, -1
    ]
    power = abs(np.fft.rfft(w))
    assert power[3] > 1e-3
    assert np.delete(power, 3).max() < 1e-12


def test_small_euler_steps_are_the_flow_of_the_fourier_modes() -> None:
    # d w_k/dt = ½ w_k [c λ₁/√q − λ₀ − λ₁], q = Σ λ₁|w_k|².
    N, c = 16, 0.8
    lambda_0, lambda_1 = circulant.eigenvalues(rows("shell", N, (1, 3))[0])
    start = data.initial_weights(training(N=N, seeds=1, init_scale=1))[:, 0]

    def velocity(t: float, v: Array) -> Array:
        modes = np.fft.fft(v) / np.sqrt(N)
        q = (lambda_1 * abs(modes) ** 2).sum()
        moved = modes * (c * lambda_1 / np.sqrt(q) - lambda_0 - lambda_1) / 2
        real: Array = np.fft.ifft(moved * np.sqrt(N)).real
        return real

    exact = ode.integrate(velocity, start[0], [0, 5.0], what="modes")[-1]
    euler = theory.effective(
        theory.linear_amplifier([c]), rows("shell", N, (1, 3)), start, 1e-3, [0, 5000]
    )
    np.testing.assert_allclose(euler[0, 0, -1], exact, atol=1e-3 * abs(exact).max())


def test_slopes_of_elliptical_families_are_those_of_the_specification() -> None:
    slope = {name: theory.elliptical_slope(stimulus(name), 40) for name in ("shell", "t 6")}
    assert slope["shell"] == pytest.approx(0.80292, abs=4e-5)
    assert slope["t 6"] == pytest.approx(0.75)
    assert theory.elliptical_slope(stimulus("t 3"), 40) == pytest.approx(2 / np.pi)
    rng = np.random.default_rng(1)
    r = 2 + np.arctanh(rng.random(100_000))
    u = rng.standard_normal((100_000, 40))
    entry = r / np.sqrt((r**2).mean() / 40) * u[:, 0] / np.linalg.norm(u, axis=1)
    extreme = theory.elliptical_slope(stimulus("extreme"), 40)
    assert abs(entry).mean() == pytest.approx(extreme, abs=0.01)


def test_the_stationary_norm_of_the_specification_is_reached() -> None:
    given_rows = rows("shell", 40, (1, 3))
    c = theory.elliptical_slope(stimulus("shell"), 40)
    norm = theory.stationary_norm(c, *given_rows[0])
    assert norm == pytest.approx(0.2611, abs=1e-4)
    start = np.ones((1, 40)) * 1e-3
    w = theory.effective(theory.linear_amplifier([c]), given_rows, start, 0.05, [0, 4000])
    assert np.linalg.norm(w[0, 0, -1]) == pytest.approx(norm, rel=1e-6)


def test_the_decay_has_half_the_sum_of_the_covariances() -> None:
    # One entry alone, uncorrelated inputs: φ(1) = (1 + 1) w. With another factor it is off.
    row = np.eye(8)[0]
    w = theory.effective(
        theory.Amplifier([Sign()]), np.array([[row, row]]), np.eye(8)[:1], 0.1, [0, 1000]
    )
    np.testing.assert_allclose(w[0, 0, -1], np.eye(8)[0] / 2, atol=1e-12)


def test_the_order_of_the_classes_decides_between_low_and_high_frequencies() -> None:
    params = Models(
        N=40,
        xi=0.7,
        J=0.7,
        samples=10,
        stimuli=["nlgp 1"],
        order={"xi": [1, 3], "lr": 0.05, "steps": 2000},
    )
    assert theory.low_power(params, (1, 3)) == pytest.approx(1, abs=5e-3)
    assert theory.low_power(params, (3, 1)) == pytest.approx(0, abs=5e-3)
    found = theory.amplifiers(params, {})["low_power"].values
    np.testing.assert_allclose(found, [1, 0], atol=5e-3)


def test_the_theory_starts_where_the_seeds_do_and_gives_its_variables() -> None:
    params = training(weights_at=[0, 30], keep_path=True, keep_end=True)
    product = theory.theory(params, {})
    start = data.initial_weights(params)[:, 0]
    first = product["weights"].sel(condition="nlgp 10", weights_step=0)
    np.testing.assert_allclose(first, start, rtol=2**-8)
    path = product["path"].sel(condition="alg 5")
    np.testing.assert_allclose(path.isel(record=0), start[0], rtol=2**-8)
    np.testing.assert_array_equal(
        path.isel(record=-1), product["end"].sel(condition="alg 5")
    )
    last = product["weights"].sel(condition="alg 5", weights_step=30, seed=0)
    np.testing.assert_array_equal(path.isel(record=-1), last)


def test_a_seed_is_the_same_alone_and_in_a_batch_by_theory() -> None:
    one, many = (theory.theory(training(seeds=n), {}) for n in (1, 3))
    np.testing.assert_allclose(one["ipr"], many["ipr"].isel(seed=[0]), rtol=1e-6)


def test_batches_are_put_one_after_the_other() -> None:
    product = theory.theory(batches(), {})
    assert product["condition"].values.tolist() == ["shell", "t 6", "ising"]
    assert product["lr"].values.tolist() == [0.1, 0.1, 0.05]
    alone = theory.theory(batches().each()[1], {})
    np.testing.assert_array_equal(product["norm"].sel(condition=["ising"]), alone["norm"])
    np.testing.assert_array_equal(product["path"].sel(condition=["ising"]), alone["path"])


@pytest.mark.parametrize(
    "changes",
    [{"K": 2}, {"activation": "sigmoid"}, {"bias": True}, {"N": 9, "geometry": "torus"}],
)
def test_networks_without_a_theory_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RetrogradError, match="the effective dynamics are"):
        theory.theory(training(**changes), {})


def test_elliptical_families_have_linear_amplifiers_whatever_their_kurtosis() -> None:
    product = theory.theory(elliptical(record_at=[0, 2000], N=16), {})
    assert float(product["ipr"].isel(record=-1).max()) < 1.6 / 16
