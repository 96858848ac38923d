"""van Rossem & Saxe 2024: the effective theory, its limits, and the fit of its rates."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from retrograd import ode, trajectory_fits
from retrograd.papers.vanrossem2024_representations_align import effective, theory
from vanrossem_setup import Array, linear_training, recorded

CASE = {"eta_h": 0.02, "eta_y": 0.05, "dx2": 1.3, "dy2": 0.8}
START = np.array([0.04, 1e-4, -0.0039])
RATES = st.floats(0.01, 0.2)
few = settings(max_examples=20, deadline=None)


def solved(start: Array, times: Array, **case: float) -> Array:
    return ode.integrate(
        lambda _, state: effective.velocity(state, **case),
        start,
        times,
        what="effective theory",
        rtol=1e-11,
        atol=1e-13,
    )


def aligned(h0: float, s0: float, dy2: float) -> Array:
    """A start with one output: y = s², w = s (s − dy)."""
    return np.array([h0, s0**2, s0 * (s0 - np.sqrt(dy2))])


# ---- the ODE ---------------------------------------------------------------------------


def test_the_case_of_the_specification_ends_where_it_says() -> None:
    end = solved(START, np.array([0, 4000.0]), **CASE)[-1]
    assert end[0] == pytest.approx(0.66462, abs=5e-6)


@given(h0=st.floats(1e-3, 2), y0=st.floats(0, 0.2), rate_h=RATES, rate_y=RATES)
@few
def test_the_invariant_is_conserved_and_gives_the_final_distance(
    h0: float, y0: float, rate_h: float, rate_y: float
) -> None:
    case = {"eta_h": rate_h, "eta_y": rate_y, "dx2": 1.3, "dy2": 0.8}
    start = aligned(h0, np.sqrt(y0), 0.8)
    assume(abs(start[2]) > 1e-6)
    path = solved(start, np.linspace(0, 40 / min(rate_h, rate_y) / 0.05, 50), **case)
    conserved = effective.invariant(path, rate_h, rate_y, 1.3)
    scale = (
        abs(path[:, 1] / (rate_y * path[:, 0])).max()
        + abs(path[:, 0] / (rate_h * 1.3)).max()
    )
    assert np.ptp(conserved) <= 1e-6 * scale
    final = effective.final_distance(h0, y0, rate_h / rate_y, 1.3, 0.8)
    assert path[-1, 0] == pytest.approx(float(final), abs=1e-7)


def test_the_final_distance_is_exact() -> None:
    end = solved(START, np.array([0, 1e5]), **CASE)[-1]
    final = effective.final_distance(START[0], START[1], 0.4, CASE["dx2"], CASE["dy2"])
    assert end == pytest.approx([float(final), CASE["dy2"], 0], abs=1e-9)


def test_a_learned_pair_stays() -> None:
    rest = effective.velocity(np.array([0.7, 0.8, 0.0]), **CASE)
    np.testing.assert_allclose(rest, 0, atol=1e-15)


def test_one_output_stays_one_output() -> None:
    # With d_out = 1, y − w = s dy, so (y − w)² = y |dy|² at all times.
    path = solved(aligned(0.05, 0.02, 0.8), np.linspace(0, 600, 40), **CASE)
    np.testing.assert_allclose((path[:, 1] - path[:, 2]) ** 2, 0.8 * path[:, 1], atol=1e-9)


def test_rich_and_lazy_limits_of_the_final_distance() -> None:
    assert effective.final_distance(1e-9, 0, 0.4, 1.3, 0.8) == pytest.approx(
        np.sqrt(0.4 * 1.3 * 0.8), rel=1e-8
    )
    assert effective.final_distance(100, 0, 1, 1, 1) == pytest.approx(100.01, abs=1e-4)
    # Equal targets: from small weights the two points merge.
    assert effective.final_distance(1e-6, 0, 1, 1, 0) == pytest.approx(1e-6)


def test_a_start_far_below_the_final_distance_does_not_cancel() -> None:
    # A = −ρ |dx|² y0/h0 is huge and negative here; the exact value is ρ dx² dy²/|A|.
    found = effective.final_distance(1e-9, 1e3, 1.0, 1.0, 1.0)
    assert found == pytest.approx(1e-12, rel=1e-6)


@given(h0=st.floats(1e-3, 3), y0=st.floats(0, 0.5), rho=st.floats(1e-2, 1e2))
@few
def test_the_starting_ratio_inverts_the_final_distance(
    h0: float, y0: float, rho: float
) -> None:
    end = effective.final_distance(h0, y0, rho, 1.3, 0.8)
    assume(abs(end / h0 - 1) > 1e-3)
    found = effective.starting_ratio(np.array([h0]), np.array([y0]), end[None], 1.3, 0.8)
    assert found == pytest.approx([rho], rel=1e-6)


def test_the_starting_ratio_is_that_of_the_rich_limit_where_none_leads_there() -> None:
    found = effective.starting_ratio(
        np.array([1.0]), np.array([0.0]), np.array([0.5]), 1.3, 0.8
    )
    assert found == pytest.approx([0.25 / (1.3 * 0.8)])


@given(st.floats(0.01, 2), st.floats(-1.5, 1.5), RATES, RATES)
@few
def test_the_exact_system_is_the_effective_one_if_the_decoder_is_parallel(
    h: float, s: float, rate_h: float, rate_y: float
) -> None:
    dy = np.sqrt(0.8)
    exact = effective.exact_velocity(np.array([h, s, s**2 / h]), rate_h, rate_y, 1.3, dy)
    state = np.array([h, s**2, s * (s - dy)])
    closed = effective.velocity(state, rate_h, rate_y, 1.3, 0.8)
    # dy/dt = 2 s ds/dt and dw/dt = (2 s − dy) ds/dt.
    expected = [exact[0], 2 * s * exact[1], (2 * s - dy) * exact[1]]
    np.testing.assert_allclose(closed, expected, rtol=1e-9, atol=1e-12)


# ---- gradient descent on linear networks ------------------------------------------------


@pytest.mark.parametrize("lr", [0.01, 0.005])
def test_an_aligned_linear_network_follows_the_ode_to_order_lr(lr: float) -> None:
    rng = np.random.default_rng(0)
    u = rng.standard_normal(30)
    u /= np.linalg.norm(u)
    dx, dy = 1.1, 0.9
    training = linear_training(0.2 * u[:, None], 0.3 * u[None], dx, dy, lr)
    steps = np.linspace(0, 12 / lr, 60).round()
    found, loss = recorded(training, steps)
    expected = solved(found[0], steps, eta_h=lr / 2, eta_y=lr / 2, dx2=dx**2, dy2=dy**2)
    assert np.abs(found - expected).max() <= 0.05 * lr
    # The mean error is 0, so all of the loss is that of the pair.
    error = effective.squared_error(found[:, 1], found[:, 2], dy**2)
    np.testing.assert_allclose(loss, error / 8, atol=1e-12)


def test_a_random_linear_network_follows_the_exact_system() -> None:
    rng = np.random.default_rng(1)
    W, V = 0.1 * rng.standard_normal((40, 1)), 0.1 * rng.standard_normal((1, 40))
    lr, dx, dy = 0.002, 1.2, 0.8
    steps = np.linspace(0, 10000, 40).round()
    found, _ = recorded(linear_training(W, V, dx, dy, lr), steps)
    start = [dx**2 * (W**2).sum(), dx * (V @ W).item(), (V**2).sum()]
    exact = ode.integrate(
        lambda _, state: effective.exact_velocity(state, lr / 2, lr / 2, dx**2, dy),
        start,
        steps,
        what="exact system",
    )
    np.testing.assert_allclose(found[:, 0], exact[:, 0], atol=1e-3)
    np.testing.assert_allclose(found[:, 1], exact[:, 1] ** 2, atol=1e-3)
    conserved = 2 / lr * (exact[:, 2] - exact[:, 0] / dx**2)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-6)
    # It is not aligned: the closure k = s²/h does not hold at the start.
    assert start[1] ** 2 / start[0] < 0.5 * start[2]


def test_a_random_linear_network_ends_at_dx_dy_with_rates_near_half_the_lr() -> None:
    rng = np.random.default_rng(2)
    std = 0.02 * np.sqrt(2 / 101)
    W, V = std * rng.standard_normal((100, 1)), std * rng.standard_normal((1, 100))
    lr, dy2 = 0.05, 0.5
    steps = np.linspace(0, 3000, 151).round()
    found, _ = recorded(linear_training(W, V, 1.0, np.sqrt(dy2), lr), steps)
    assert found[-1, 0] == pytest.approx(np.sqrt(dy2), abs=0.003)
    fitted = theory.fit_rates(found[None], steps[None], 1.0, dy2, "linear network")
    assert (fitted.parameters / lr > 0.5).all()
    assert (fitted.parameters / lr < 0.6).all()


# ---- fits ------------------------------------------------------------------------------


def synthetic(noise: float) -> tuple[Array, Array]:
    steps = np.linspace(0, 600, 61)
    path = solved(START, steps, **CASE)
    rng = np.random.default_rng(3)
    noisy = path + noise * path.max(0) * rng.standard_normal(path.shape)
    noisy[0] = path[0]
    return noisy[None], steps[None]


def test_the_rates_are_recovered_from_noisy_trajectories() -> None:
    observed, steps = synthetic(0.01)
    fitted = theory.fit_rates(observed, steps, CASE["dx2"], CASE["dy2"], "synthetic")
    np.testing.assert_allclose(fitted.parameters, [[0.02, 0.05]], rtol=0.01)
    assert (fitted.nrmse < 0.02).all()


def test_the_fitter_integrates_as_accurately_as_lsoda() -> None:
    observed, steps = synthetic(0)
    found = trajectory_fits.runge_kutta(
        lambda state: effective.velocity(state, **CASE),
        observed[:, :1],
        steps,
        theory.SUBSTEPS,
    )
    np.testing.assert_allclose(found[:, 0], observed, atol=1e-6)


@pytest.mark.parametrize("control", theory.CONTROLS)
def test_altered_theories_do_not_fit_what_the_theory_makes(control: str) -> None:
    observed, steps = synthetic(0)
    dx2, dy2 = CASE["dx2"], CASE["dy2"]
    own = theory.fit_rates(observed, steps, dx2, dy2, "synthetic").cost
    altered = theory.CONTROLS[control]  # type: ignore[index]
    other = theory.fit_rates(observed, steps, dx2, dy2, "altered", **altered).cost
    assert own < 1e-8
    assert other > 1e-3


def test_the_start_of_the_rich_limit_alone_would_miss_lazy_rates() -> None:
    # h0 comparable to h_T: the ratio h_T²/(dx² dy²) is off by more than the fit may move.
    case = CASE | {"eta_h": 5e-5}
    steps = np.linspace(0, 600, 61)
    path = solved(aligned(0.5, 0.05, case["dy2"]), steps, **case)
    fitted = theory.fit_rates(path[None], steps[None], case["dx2"], case["dy2"], "lazy")
    np.testing.assert_allclose(fitted.parameters, [[5e-5, 0.05]], rtol=1e-3)
    rich = path[-1, 0] ** 2 / (case["dx2"] * case["dy2"])
    assert rich / (5e-5 / 0.05) > np.exp(4)


def test_the_loss_has_its_own_rate_and_the_mean_error_follows_from_it() -> None:
    observed, steps = synthetic(0)
    y, w = observed[..., 1], observed[..., 2]
    ebar2 = np.array([0.3])
    loss = effective.loss(steps, y, w, ebar2[:, None], np.array([[0.01]]), CASE["dy2"])
    start = effective.mean_error(loss[:, 0], y[:, 0], w[:, 0], CASE["dy2"])
    np.testing.assert_allclose(start, ebar2)
    fitted = theory.fit_loss(observed, loss, start, steps, CASE["dy2"])
    np.testing.assert_allclose(fitted.parameters, [[0.01]], rtol=1e-6)
