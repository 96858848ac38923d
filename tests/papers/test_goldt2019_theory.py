"""Goldt et al. 2019: the ODEs and the laws of the final error."""

import itertools
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.integrate import solve_ivp

from activations import SLOPE, VALUE
from goldt2019_setup import (
    ACTIVATIONS,
    ORDER_PARAMETERS,
    RATES,
    SEEDS,
    committee,
    each_activation,
    few,
    of_the_teachers_sign,
    sampled_state,
    sgd,
    training,
)
from retrograd.errors import RetrogradError
from retrograd.gaussian import Activation
from retrograd.papers.goldt2019_teacher_student import theory
from retrograd.papers.goldt2019_teacher_student.params import (
    Condition,
    FinalError,
    Network,
)
from retrograd.papers.goldt2019_teacher_student.theory import State

# ---- ODE: its right-hand side ----------------------------------------------------------


@each_activation
@pytest.mark.parametrize("kappa", [0.0, 0.4])
def test_velocity_is_the_mean_step_of_sgd(activation: Activation, kappa: float) -> None:
    # Eqs. (8)-(10) from the update of "Model and training", fields sampled from N(0, C).
    samples, K, M = 400_000, 2, 2
    state, T = sampled_state(3, K, M)
    rules = committee(activation, T, kappa=kappa)
    rng = np.random.default_rng(4)
    C = np.block([[state.Q, state.R], [state.R.T, T]])
    fields = rng.standard_normal((samples, K + M)) @ np.linalg.cholesky(C).T
    student, v, eta = fields[:, :K], state.v, rules.eta
    g, g_star = (VALUE[activation](z) for z in (student, fields[:, K:]))
    noise = rules.sigma * rng.standard_normal(samples)
    e = g @ v - g_star @ rules.v_star - noise
    # Per sample: w_k moves by push_k x/√N − κ w_k/N, |x|²/N → 1.
    push = -eta * v * SLOPE[activation](student) * e[:, None]
    along = push[:, :, None] * fields[:, None, :]
    dQ = along[:, :, :K] + np.swapaxes(along[:, :, :K], 1, 2) - 2 * kappa * state.Q
    if not rules.gradient_flow:
        dQ += push[:, :, None] * push[:, None, :]
    steps = {
        "Q": dQ,
        "R": along[:, :, K:] - kappa * state.R,
        "v": -eta * g * e[:, None] - kappa * v,
    }
    velocity = rules.velocity(state)
    for name, step in steps.items():
        standard_error = step.std(0) / np.sqrt(samples)
        deviation = abs(getattr(velocity, name) - step.mean(0))
        assert (deviation <= 4 * standard_error).all(), name


@few
@given(activation=ACTIVATIONS, seed=SEEDS, both=st.booleans())
def test_velocity_keeps_q_symmetric_and_an_untrained_second_layer(
    activation: Activation, seed: int, both: bool
) -> None:
    state, T = sampled_state(seed, 3, 2)
    velocity = committee(activation, T, both_layers=both, kappa=0.2).velocity(state)
    np.testing.assert_array_equal(velocity.Q, velocity.Q.T)
    assert bool(velocity.v.any()) is both


@few
@given(activation=ACTIVATIONS, seed=SEEDS, order=st.permutations(range(2)))
def test_the_teacher_is_a_fixed_point_without_noise(
    activation: Activation, seed: int, order: list[int]
) -> None:
    _, T = sampled_state(seed, 1, 2)
    rules = committee(activation, T, sigma=0.0)
    copy = State(T[np.ix_(order, order)], T[order], rules.v_star[order])
    assert abs(rules.velocity(copy).flat()).max() <= 1e-8
    assert abs(rules.error(copy)) <= 1e-14


@few
@given(seed=SEEDS, eta=st.floats(0.01, 3))
def test_one_linear_unit_obeys_its_exact_equation(seed: int, eta: float) -> None:
    # "Pitfalls": K = M = 1, v fixed to 1, E = 2 eg: dE/dα = −(2η − η²) E.
    state, T = sampled_state(seed, 1, 1)
    state = State(state.Q, state.R, np.ones(1))
    rules = committee("lin", T, eta=eta, sigma=0.0, both_layers=False)
    velocity = rules.velocity(state)
    rate = velocity.Q - 2 * velocity.R
    expected = -(2 * eta - eta**2) * 2 * rules.error(state)
    assert rate.item() == pytest.approx(expected, rel=1e-10)


# ---- ODE: its solutions ----------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.1, 0.4])
def test_linear_ode_reaches_the_closed_law(eta: float) -> None:
    # F3, exact in η.
    state, _ = sampled_state(5, 3, 2)
    state = State(state.Q, state.R, np.ones(3))
    rules = committee(
        "lin", np.eye(2), v_star=np.ones(2), eta=eta, sigma=1.0, both_layers=False
    )
    end = rules.integrate(state, np.array([60 / eta]))
    law = theory.scm_lin(eta, 1.0, 1.0, 3)
    assert rules.error(end).item() == pytest.approx(law, rel=1e-6)


@settings(max_examples=5, deadline=None)
@given(activation=ACTIVATIONS, seed=SEEDS, both=st.booleans())
def test_gradient_flow_never_raises_the_error(
    activation: Activation, seed: int, both: bool
) -> None:
    state, T = of_the_teachers_sign(sampled_state(seed, 3, 2))
    rules = committee(activation, T, both_layers=both, gradient_flow=True)
    # The method for long runs, whose interpolation between its steps is the better one.
    eg = rules.error(rules.integrate(state, np.linspace(0, 40, 200)))
    assert np.diff(eg).max() <= 1e-7
    assert eg[-1] < 0.9 * eg[0]


@settings(max_examples=5, deadline=None)
@given(activation=st.sampled_from(["lin", "relu"]), seed=SEEDS)
def test_gradient_flow_of_homogeneous_units_conserves_their_balance(
    activation: Activation, seed: int
) -> None:
    # F7: Q_kk − v_k² is conserved when both layers learn at the same rate.
    state, T = of_the_teachers_sign(sampled_state(seed, 4, 2))
    rules = committee(activation, T, gradient_flow=True, eta=0.1)
    path = rules.integrate(state, np.linspace(0, 50, 20))
    balance = np.diagonal(path.Q, axis1=1, axis2=2) - path.v**2
    assert abs(path.v - path.v[0]).max() > 1e-3
    np.testing.assert_allclose(balance, balance[:1].repeat(20, 0), atol=1e-8)


def test_ode_agrees_with_explicit_euler() -> None:
    # "Tests": dt = 1e-3, within 1e-3 relative in eg (the authors' own integrator).
    state, T = sampled_state(1, 3, 2)
    rules = committee("erf", T)
    eg = rules.error(rules.integrate(state, np.array([1.0, 3.0])))
    y, dt = state.flat(), 1e-3
    for step in range(3001):
        if step in (1000, 3000):
            euler = rules.error(State.from_flat(y, 3, 2))
            assert euler == pytest.approx(eg[step // 2000], rel=1e-3)
        y = y + dt * rules.velocity(State.from_flat(y, 3, 2)).flat()


def test_ode_agrees_with_another_integrator() -> None:
    """DOP853 at the recorded times themselves: its interpolation is not used."""
    state, T = sampled_state(1, 3, 2)
    rules, alpha = committee("erf", T), np.linspace(0, 100, 5)
    found = rules.integrate(state, alpha)
    y = state.flat()
    for i, (start, end) in enumerate(itertools.pairwise(alpha), start=1):
        y = solve_ivp(
            lambda _, y: rules.velocity(State.from_flat(y, 3, 2)).flat(),
            (start, end), y, method="DOP853", rtol=1e-10, atol=1e-12,
        ).y[:, -1]  # fmt: skip
        expected = State.from_flat(y, 3, 2)
        for name in ORDER_PARAMETERS:
            np.testing.assert_allclose(
                getattr(found, name)[i], getattr(expected, name), atol=1e-6
            )


# ---- laws of the final error -----------------------------------------------------------


@few
@given(
    eta=RATES,
    sigma=RATES,
    v_star=st.floats(0.5, 4),
    M=st.integers(1, 4),
    L=st.integers(0, 6),
)
def test_the_first_order_law_gives_the_others_at_their_solutions(
    eta: float, sigma: float, v_star: float, M: int, L: int
) -> None:
    # F1 at the solutions that the specification names for F2 (erf), F4 (ReLU), F5.
    K = M + L
    v, specialised = np.full(K, v_star), np.array([1.0] * M + [0.0] * L)
    copies = [sum(k % M == m for k in range(K)) for m in range(M)]
    shared = np.array([v_star / copies[k % M] for k in range(K)])
    laws = {
        "F2": (theory.scm_erf(eta, sigma, v_star, M, K), "erf", v, specialised),
        "F4": (theory.scm_relu(eta, sigma, v_star, K), "relu", v, specialised),
        "F5": (theory.denoiser(eta, sigma, v_star, M, K), "erf", shared, np.ones(K)),
    }
    for name, (law, activation, second, variance) in laws.items():
        general = theory.first_order(activation, eta, sigma, second, variance)
        assert general == pytest.approx(law, rel=1e-12), name


@few
@given(sigma=RATES, v_star=st.floats(0.5, 2), K=st.integers(1, 8))
def test_the_linear_laws_agree_with_the_first_order_law_as_the_rate_vanishes(
    sigma: float, v_star: float, K: int
) -> None:
    # F3 and F6 are F1 / (1 − ηS/2), S = Σ v².
    v, S = np.full(K, v_star), K * v_star**2
    for eta in (1e-2 / S, 1e-4 / S):
        general = theory.first_order("lin", eta, sigma, v, np.ones(K))
        for law in (
            theory.scm_lin(eta, sigma, v_star, K), theory.both_lin(eta, sigma, S)
        ):  # fmt: skip
            assert law / general - 1 == pytest.approx(eta * S / 2, rel=2e-2)


@few
@given(
    eta=RATES,
    sigma=RATES,
    v_star=st.floats(0.5, 4),
    M=st.integers(1, 4),
    n=st.integers(1, 4),
)
def test_growth_and_decay_with_k(
    eta: float, sigma: float, v_star: float, M: int, n: int
) -> None:
    # F2 grows by ησ²v*²/2π per unit; F5 falls as 1/K when M divides K.
    unit = eta * sigma**2 * v_star**2
    steps = np.diff([theory.scm_erf(eta, sigma, v_star, M, K) for K in range(M, M + 5)])
    np.testing.assert_allclose(steps, unit / (2 * np.pi), rtol=1e-9)
    law = theory.denoiser(eta, sigma, v_star, M, n * M)
    assert law == pytest.approx(unit * M / (2 * np.sqrt(3) * np.pi) / n, rel=1e-12)


def fixed_point(
    layers: Any, K: int, eta: float, sigma: float = 0.1, **changes: Any
) -> float:
    network: dict[str, Any] = {"M": 2, "K": [K], "activation": "erf", "layers": [layers]}
    params = Network(**(network | {"v_star": 1.0, "init": "denoiser"} | changes))
    return theory.fixed_point(params, Condition(layers, K, eta, sigma), eta_alpha=200)


@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("layers", ["first", "both"])
def test_the_fixed_point_tends_to_its_first_order_law(layers: str, K: int) -> None:
    # G4b, G8: F8 over F2 (first layer) and over F5 (both layers).
    excess = []
    for eta in (0.02, 0.01):
        laws = {
            "first": theory.scm_erf(eta, 0.1, 1.0, 2, K),
            "both": theory.denoiser(eta, 0.1, 1.0, 2, K),
        }
        excess.append(fixed_point(layers, K, eta) / laws[layers] - 1)
    assert 0 < excess[0] < 0.05
    assert excess[1] / excess[0] == pytest.approx(0.5, rel=0.25)


def test_the_fixed_point_is_proportional_to_the_noise_variance() -> None:
    # G4c.
    for K in (2, 3, 6):
        ratio = fixed_point("first", K, 0.1) / fixed_point("first", K, 0.1, sigma=0.05)
        assert ratio == pytest.approx(4, abs=0.02)


def test_fixed_points_agree_with_the_prototype() -> None:
    # G3, measured by the specification's own prototype: η = σ = 0.1, M = 2, v* = 1.
    prototype = {2: 1.920e-4, 3: 3.694e-4, 4: 5.595e-4, 6: 9.829e-4}
    for K, eg in prototype.items():
        assert fixed_point("first", K, 0.1) == pytest.approx(eg, rel=1e-3)


@pytest.mark.parametrize("layers", ["first", "both"])
def test_final_errors_of_erf_units_are_f8_with_their_laws(layers: str) -> None:
    params = FinalError(
        M=2,
        K=[2, 4],
        activation="erf",
        layers=[layers],
        v_star=1,
        init="denoiser",
        eta=[0.1, 0.05],
        sigma=[0.1],
    )
    found = theory.final_errors(params, {})
    for c, condition in enumerate(params.conditions()):
        rates = condition.eta, condition.sigma, 1.0, 2, condition.K
        shared, first = theory.denoiser(*rates), theory.scm_erf(*rates)
        row = found.isel(condition=c)
        assert row["eg_first_order"] == (first if layers == "first" else shared)
        assert row["eg_first_layer"] == first
        assert row["eg_final"] == fixed_point(layers, condition.K, condition.eta)


def test_final_errors_of_linear_and_relu_committees_are_f3_and_f4() -> None:
    for activation, law in (("lin", theory.scm_lin), ("relu", theory.scm_relu)):
        params = training(activation=activation, layers=["first"])
        eg = theory.final_errors(params, {})["eg_final"]
        expected = [law(params.eta, params.sigma, params.v_star, K) for K in params.K]
        np.testing.assert_allclose(eg, expected, rtol=1e-14)
        with pytest.raises(RetrogradError, match="use quasi_steady_errors"):
            theory.final_errors(training(activation=activation), {})


def test_quasi_steady_errors_read_the_second_layer_off_the_runs() -> None:
    # F6 and F7, with S = Σ_k v_k² at the end of each run.
    for activation in ("lin", "relu"):
        params = training(activation=activation, layers=["both"])
        measured = sgd(activation=activation, layers=["both"])
        found = theory.quasi_steady_errors(params, {"sgd": measured})
        S = (measured["v_end"].values ** 2).sum(-1)
        scale = params.eta * params.sigma**2 * S
        lin = scale / (4 - 2 * params.eta * S)
        law = lin if activation == "lin" else scale / 8
        np.testing.assert_allclose(found["eg_final"], law, rtol=1e-14)
