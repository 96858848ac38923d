"""Löwe et al. 2024: sigmoid fits, steepness, and the theory of the hidden weight."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import least_squares
from scipy.special import expit

from lowe_setup import CPU, Array, learning, one_condition, study, task
from retrograd.comparison import agreement
from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight import networks, theory, train
from retrograd.papers.lowe2023_insight.networks import G_C, W_C
from retrograd.papers.lowe2023_insight.params import Learning
from retrograd.papers.lowe2023_insight.switch_fit import (
    FMAX,
    FREE,
    Fit,
    jump,
    time_locked,
    width,
)

BINS = 1 + np.arange(12)
STEP = np.where(BINS <= 7, 0.6, 0.95)
few = settings(max_examples=20, deadline=None)


def sigmoid(fmin: float, amplitude: float, m: float, ts: float) -> Array:
    curve: Array = fmin + amplitude * expit(m * (BINS - ts))
    return curve


def error(series: Array, amplitude: float, m: float, ts: float) -> float:
    return float(((series - sigmoid(series[:4].mean(), amplitude, m, ts)) ** 2).sum())


def test_a_step_is_fitted_where_it_is() -> None:
    # Pitfalls: seven bins at 0.6, five at 0.95.
    fit = Fit.to(STEP, 4)
    assert fit.t_switch == pytest.approx(7.5)
    assert fit.delay(4) == pytest.approx(175)
    assert fit.fmin + fit.amplitude == pytest.approx(0.95196, abs=1e-5)
    assert fit.sse == pytest.approx(1.916e-4, rel=1e-3)
    assert fit.score == pytest.approx(0.6157, abs=1e-4)


def test_steepness_7_measures_the_size_of_a_rise_and_not_its_speed() -> None:
    # Pitfalls: a slow ramp scores as an insight does; its free slope tells.
    ramp = np.concatenate([np.full(4, 0.55), np.linspace(0.55, 0.95, 8)])
    assert Fit.to(ramp, 4).score == pytest.approx(0.514, abs=1e-3)
    assert Fit.to(ramp, 4, FREE).slope < 0.3 * Fit.to(STEP, 4, FREE).slope
    assert jump(ramp, Fit.to(ramp, 4).t_switch) < 0.5 * jump(STEP, np.array(7.5))


@few
@given(st.floats(0.5, 0.7), st.floats(0.05, 0.3), st.floats(0.2, 9), st.floats(5.5, 11))
def test_a_sigmoid_is_found_up_to_the_grid(
    fmin: float, A: float, m: float, ts: float
) -> None:
    series = sigmoid(fmin, A, m, ts)
    fit = Fit.to(series, 4, FREE)
    assert (
        fit.sse <= error(series, A, round(m / 0.05) * 0.05, round(ts / 0.05) * 0.05) + 1e-15
    )
    # A shallow one has risen within the first four bins already, whose mean is fmin.
    assert m < 1 or fit.sse < 1e-3


@few
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_closed_form_is_no_worse_than_scipys_least_squares(
    seed: int, free: bool
) -> None:
    rng = np.random.default_rng(seed)
    size, ts = rng.uniform(0, 0.4), rng.uniform(1, 11)
    series = sigmoid(0.55, size, rng.uniform(0.3, 9), ts) + 0.02 * rng.standard_normal(12)
    fit = Fit.to(series, 4, FREE if free else (7.0,))
    low = np.array([FMAX[0] - fit.fmin, 0.0, 1e-3 if free else 6.999])
    high = np.array([FMAX[1] - fit.fmin, 12.0, 9.0 if free else 7.001])
    starts = [(fit.amplitude, fit.t_switch, fit.steepness), (0.2, 6, 7), (0.2, 9, 7)]
    solutions = [
        least_squares(
            lambda p: sigmoid(fit.fmin.item(), p[0], p[2], p[1]) - series,
            np.clip(start, low + 1e-9, high - 1e-9),
            bounds=(low, high),
        )
        for start in starts
    ]
    best = min(solutions, key=lambda s: s.cost)
    amplitude, ts, m = best.x
    # The grid has a point within half a step of the optimum, in ts and in m.
    nearby = [
        error(series, amplitude, m + dm, ts + dts)
        for dm in ((-0.025, 0, 0.025) if free else (0,))
        for dts in (-0.025, 0, 0.025)
    ]
    assert 2 * best.cost - 1e-6 <= fit.sse <= max(nearby) + 1e-9
    given_shape = error(
        series, fit.amplitude.item(), fit.steepness.item(), fit.t_switch.item()
    )
    assert fit.sse == pytest.approx(given_shape)


def test_the_amplitude_respects_its_bounds() -> None:
    fit = Fit.to(np.where(BINS <= 4, 0.9, 1.5), 4)
    assert fit.fmin + fit.amplitude == pytest.approx(1)
    fit = Fit.to(np.where(BINS <= 4, 0.6, 0.0), 4)
    assert fit.fmin + fit.amplitude == pytest.approx(0.35)


def test_many_series_are_fitted_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    series = 0.6 + 0.1 * rng.standard_normal((3, 50, 12))
    together = Fit.to(series, 4)
    for index in np.ndindex(3, 50):
        alone = Fit.to(series[index], 4)
        assert alone.t_switch == together.t_switch[index]
        assert alone.sse == pytest.approx(together.sse[index], rel=1e-9)


def test_the_jump_is_across_the_bin_of_the_switch() -> None:
    series = np.array([BINS**2, STEP])
    np.testing.assert_allclose(jump(series, np.array([7.3, 7.5])), [81 - 49, 0.35])
    # Kept within the series.
    np.testing.assert_allclose(jump(series, np.array([0.0, 12])), [9 - 1, 0])


def test_time_locking_aligns_steps_and_leaves_out_what_does_not_exist() -> None:
    series = np.array([np.where(k >= BINS, 0.6, 0.9) for k in (5, 8, 11)])
    locked = time_locked(series, np.array([5.5, 8.5, 11.5]), 4)
    np.testing.assert_allclose(locked, [0.6] * 4 + [0.9] * 5)
    assert (time_locked(series[:0], np.zeros(0), 4) == 0).all()


@pytest.mark.parametrize("length", [0, 100, 250])
def test_the_width_is_that_of_a_linear_rise(length: int) -> None:
    trials = np.arange(401)
    rise = np.clip((trials - 75) / max(length, 1), 0, 1)
    expected = 0.8 * length if length else 0.8 * 25  # at least that of the boxcar
    assert width(0.5 + 0.4 * rise, 25) == pytest.approx(expected, abs=4)


# ---- theory ----------------------------------------------------------------------------


def walks(onset: int, trials: int, runs: int) -> Array:
    """Largest size of a walk of unit steps in trials onset ... onset + trials."""
    rng = np.random.default_rng(0)
    w = np.sqrt(onset) * rng.standard_normal(runs)
    largest = abs(w)
    for _ in range(trials):
        w += rng.standard_normal(runs)
        np.maximum(largest, abs(w), out=largest)
    return largest


@pytest.fixture(scope="module")
def largest() -> Array:
    return walks(1000, 400, 40_000)


@pytest.mark.parametrize(
    ("changes", "M_c", "published"),
    [
        ({}, 0.22, 0.557),
        ({"lam": 0.03}, 0.22, 0.96),
        ({"lam": 0.05}, 0.22, 0.76),
        ({"lam": 0.1}, 0.22, 0.30),
        ({"sigma_xi": 0.01}, 0.22, 0.0),
        ({"sigma_xi": 0.03}, 0.22, 0.195),
        ({"sigma_xi": 0.1}, 0.22, 0.918),
        ({}, 0.15, 0.277),
        ({}, 0.32, 0.784),
    ],
)
def test_the_escape_fraction_is_that_of_simulated_walks(
    changes: dict[str, float], M_c: float, published: float, largest: Array
) -> None:
    c = learning(**changes)
    found = theory.escape_fraction(c, M_c, 1000, 400)
    bound = 2 * c.lam / (c.alpha * M_c) / (c.alpha * c.sigma_xi)
    assert found == pytest.approx((largest > bound).mean(), abs=0.01)
    assert found == pytest.approx(published, abs=0.01)


def test_the_escape_fraction_does_not_depend_on_the_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = theory.escape_fraction(learning(), 0.22, 1000, 400)
    monkeypatch.setattr(theory, "SPACING", 0.05)
    assert usual == pytest.approx(
        theory.escape_fraction(learning(), 0.22, 1000, 400), abs=1e-3
    )


def test_the_limits_of_the_escape_fraction() -> None:
    assert theory.escape_fraction(learning(sigma_xi=0), 0.22, 1000, 400) == 0
    assert theory.escape_fraction(learning(lam=0), 0.22, 1000, 400) == 1
    # Without trials it is the tail of the normal density of the walk: 0.263 at the default.
    tail = theory.escape_fraction(learning(), 0.22, 1000, 0)
    assert tail == pytest.approx(0.2635, abs=2e-3)


def test_the_escape_weight_is_1_061() -> None:
    assert theory.escape_weight(learning(), 0.22) == pytest.approx(1.0606, abs=1e-4)


def test_the_walk_of_the_printed_rule_is_not_scaled_by_the_learning_rate() -> None:
    assert theory.walk_sd(learning(), 1000) == pytest.approx(0.9487, abs=1e-4)
    assert theory.walk_sd(learning(rule="paper"), 1000) == pytest.approx(0.05 * 1000**0.5)


def test_a_gate_without_input_is_at_zero_as_often_as_predicted() -> None:
    c = learning()
    assert theory.gate_at_zero(c, 1000) == pytest.approx(1 / 1.1615, abs=1e-4)
    rng, theta = np.random.default_rng(0), np.zeros((4, 1, 1, 1, 4000))
    theta[1::2] = 0.01
    rule, nothing = networks.Rule([c]), np.zeros((1, 1, 4000))
    for t in range(1, 41):
        xi = rng.standard_normal((4, 1, 1, 4000))
        theta = rule.step(theta, np.zeros((2, 1, 1, 4000)), nothing, nothing, xi)
        if t in (2, 40):  # not the first: that gate starts near 0, not at it
            zero = (theta[1::2] == 0).mean()
            assert zero == pytest.approx(theory.gate_at_zero(c, t), abs=0.03)


@pytest.mark.parametrize("rule", ["code", "paper"])
def test_the_hidden_weight_of_networks_walks_as_predicted(rule: str) -> None:
    # Either rule on the task of the code, in which colour has no mean before the onset.
    params = one_condition(
        task=task(), seeds=1, networks=300, conditions={"a": learning(rule=rule)}
    )
    ensemble = networks.Ensemble(params)
    ensemble.advance(200)
    w_c = ensemble.theta[W_C]  # of tests and controls, 600
    predicted = theory.walk_sd(next(iter(params.conditions.values())), 200)
    assert w_c.std() == pytest.approx(float(predicted), rel=0.1)
    assert (abs(ensemble.theta[G_C]) < 1).all()


def test_simulation_and_theory_share_variables_and_agree() -> None:
    params = one_condition(task=task(), seeds=2, networks=60)
    rows = agreement(train.train(params, {}, CPU), theory.walk(params, {}))
    assert {row["name"] for row in rows} == {"w_c_sd", "w_c_mean_size", "g_c_zero"}
    assert all(row["largest"] < 0.2 for row in rows)
    sweep = study(task=task(), seeds=2, networks=60)
    (row,) = agreement(train.conditions(sweep, {}, CPU), theory.escape(sweep, {}))
    assert row["name"] == "insight_fraction"
    assert row["largest"] < 0.3


@pytest.mark.parametrize(
    "other",
    [learning(penalty="l2"), learning(gates="fixed"), learning(rule="paper")],
)
def test_the_escape_heuristic_refuses_what_it_does_not_know(other: Learning) -> None:
    with pytest.raises(RetrogradError, match="condition 'other' has"):
        theory.escape(study(conditions={"other": other}), {})
