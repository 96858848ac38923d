"""Fits of trajectory models: integrator, recovery, and scipy's answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from retrograd import ode, trajectory_fits
from retrograd.errors import RetrogradError

Array = trajectory_fits.Array
TIMES = np.array([np.linspace(0, 10, 30), np.linspace(0, 20, 30)])
GUESSES = np.geomspace(1e-2, 1e2, 12)


def decay(parameters: Array, times: Array = TIMES) -> Array:
    """Amplitude and rate, (run, guess, 2): amplitude · exp(−rate t), and its square."""
    amplitude, rate = parameters[..., :1], parameters[..., 1:]
    curve = amplitude * np.exp(-rate * times[:, None])
    return np.stack([curve, curve**2], -1)


def guesses(runs: int) -> Array:
    pairs = np.stack(np.meshgrid(GUESSES, GUESSES), -1).reshape(1, -1, 2)
    return np.repeat(pairs, runs, axis=0)


@settings(max_examples=20, deadline=None)
@given(
    rates=st.lists(st.floats(0.05, 2), min_size=2, max_size=2),
    amplitudes=st.lists(st.floats(0.1, 5), min_size=2, max_size=2),
)
def test_parameters_are_recovered_exactly(
    rates: list[float], amplitudes: list[float]
) -> None:
    true = np.stack([amplitudes, rates], -1)
    observed = decay(true[:, None])[:, 0]
    found = trajectory_fits.fit(decay, observed, guesses(2), what="decay")
    np.testing.assert_allclose(found.parameters, true, rtol=1e-5)
    np.testing.assert_allclose(found.predicted, observed, atol=1e-5)
    assert (found.nrmse < 1e-5).all()


def test_noise_moves_the_parameters_little_and_the_fit_is_that_of_scipy() -> None:
    true = np.array([[2.0, 0.4], [0.7, 0.2]])
    observed = decay(true[:, None])[:, 0]
    rng = np.random.default_rng(0)
    observed = observed * (1 + 0.01 * rng.standard_normal(observed.shape))
    found = trajectory_fits.fit(decay, observed, guesses(2), what="decay")
    np.testing.assert_allclose(found.parameters, true, rtol=0.01)
    for run in range(2):

        def residual(logs: Array, run: int = run) -> Array:
            times = TIMES[run : run + 1]
            model = decay(np.exp(logs)[None, None], times)[0, 0]
            return (model - observed[run]).ravel()

        expected = least_squares(residual, np.log([1.0, 0.1]), xtol=1e-14, ftol=1e-14)
        np.testing.assert_allclose(found.cost[run], 2 * expected.cost, rtol=1e-9)
        np.testing.assert_allclose(found.parameters[run], np.exp(expected.x), rtol=1e-4)


def test_a_run_is_fitted_alone_as_among_others() -> None:
    rng = np.random.default_rng(1)
    observed = decay(np.array([[[2.0, 0.4]], [[0.7, 0.2]]]))[:, 0]
    observed += 0.01 * rng.standard_normal(observed.shape)
    both = trajectory_fits.fit(decay, observed, guesses(2), what="decay")
    alone = trajectory_fits.fit(
        lambda p: decay(p, TIMES[1:]), observed[1:], guesses(1), what="decay"
    )
    np.testing.assert_allclose(both.parameters[1], alone.parameters[0], rtol=1e-6)
    assert both.evaluations[1] == alone.evaluations[0] > len(GUESSES) ** 2


def test_parameters_stay_within_their_bound() -> None:
    observed = decay(np.array([[[1.0, 5.0]], [[1.0, 5.0]]]))[:, 0]
    start = np.full((2, 1, 2), [1.0, 0.1])
    found = trajectory_fits.fit(decay, observed, start, what="decay", bound=1.0)
    assert (found.parameters[:, 1] <= 0.1 * np.e * (1 + 1e-12)).all()
    np.testing.assert_allclose(found.parameters[:, 1], 0.1 * np.e)


def test_a_model_that_is_nowhere_finite_is_an_error_that_names_the_run() -> None:
    def broken(parameters: Array) -> Array:
        made = decay(parameters)
        made[1] = np.nan
        return made

    observed = decay(np.ones((2, 1, 2)))[:, 0]
    with pytest.raises(RetrogradError, match=r"decay: .* of run 1"):
        trajectory_fits.fit(broken, observed, guesses(2), what="decay")


def test_the_error_over_a_range_of_zero_is_minus_one() -> None:
    observed = np.stack([np.linspace(0, 2, 5), np.ones(5)], -1)[None]
    np.testing.assert_allclose(
        trajectory_fits.nrmse(observed + 0.1, observed), [[0.05, -1]]
    )


def oscillator(state: Array) -> Array:
    x, v = np.moveaxis(state, -1, 0)
    return np.stack([v, -x - 0.1 * v * x**2], -1)


def test_runge_kutta_is_that_of_an_accurate_integrator_and_of_fourth_order() -> None:
    start = np.array([[[1.0, 0.0]], [[0.5, 1.0]]])
    errors = []
    for substeps in (4, 8):
        found = trajectory_fits.runge_kutta(oscillator, start, TIMES, substeps)
        worst = 0.0
        for run in range(2):
            expected = ode.integrate(
                lambda _, y: oscillator(y),
                start[run, 0],
                TIMES[run],
                what="x",
                rtol=1e-12,
                atol=1e-13,
                method="DOP853",
            )
            worst = max(worst, float(np.abs(found[run, 0] - expected).max()))
        errors.append(worst)
    assert errors[1] < 1e-5
    assert 10 < errors[0] / errors[1] < 24


def test_a_state_that_overflows_is_not_finite_and_warns_nobody() -> None:
    found = trajectory_fits.runge_kutta(lambda y: y**3, np.full((2, 1, 1), 10.0), TIMES, 2)
    assert np.isfinite(found[:, 0, 0]).all()
    assert not np.isfinite(found[:, 0, -1]).any()
