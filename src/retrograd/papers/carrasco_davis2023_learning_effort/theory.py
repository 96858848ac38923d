"""Predictions: closed forms, optimality conditions, and differences of the value.

Written from the model's equations alone, in numpy, one run at a time: nothing here
knows the batched simulation or its adjoint. Time t is k·dt; the network's time constant
is 1; s = E[x²] of the single neuron; ρ = −ln γ.
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.integrate import solve_bvp
from scipy.interpolate import CubicSpline

from retrograd import ode, progress
from retrograd.errors import RetrogradError
from retrograd.papers.carrasco_davis2023_learning_effort.data import (
    GAIN_MAX,
    MU,
    RATE_MAX,
    SIGMA,
    GradientProblem,
    Task,
    gradient_problem,
    record_steps,
    seed_coordinate,
)
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    GradientCheck,
    LearningRate,
    RateCondition,
    SingleNeuron,
)
from retrograd.products import variable

Array = NDArray[np.float64]

# ---- the single neuron -----------------------------------------------------------------


def uncontrolled_weight(
    mu: float, s: float, weight_decay: float, dt: float, steps: Array
) -> Array:
    """Theory 1: w_k = w* (1 − (1 − dt (s + λ))^k) from w = 0, w* = mu/(s + λ)."""
    rate = s + weight_decay
    weight: Array = mu / rate * (1 - (1 - dt * rate) ** steps)
    return weight


def neuron_loss(w: Array, G: Array, mu: float, s: float, weight_decay: float) -> Array:
    """L = ½ (1 − 2 mu w G + s w² G²) + ½ λ w², for the gain G = 1 + g."""
    loss: Array = 0.5 * (1 - 2 * mu * w * G + s * (w * G) ** 2 + weight_decay * w**2)
    return loss


def optimal_gain(params: SingleNeuron, times: Array) -> tuple[Array, Array]:
    """Weight and gain (w, g) at `times` by Pontryagin's principle, for dt → 0.

    With the current-value costate q, dw/dt = f = mu G − w G² s − λ w and
    dq/dt = ρ q − f + q (s G² + λ), w(0) = 0, q(T) = 0; at every time G maximises
    −L − β (G − 1)² + q f, which is a parabola, so that its vertex is clipped.

    Raises:
        RetrogradError: the boundary value problem was not solved.
    """
    mu, s, beta, decay = (
        params.mu,
        params.mu**2 + params.sigma**2,
        params.beta,
        params.weight_decay,
    )
    rho, end = -np.log(params.gamma), params.steps * params.dt

    def gain(w: Array, q: Array) -> Array:
        vertex = (0.5 * mu * (w + q) + beta) / (0.5 * s * w**2 + q * w * s + beta)
        return np.clip(vertex, 1, 1 + GAIN_MAX)

    def velocity(_: Array, y: Array) -> Array:
        w, q = y
        G = gain(w, q)
        f = mu * G - w * G**2 * s - decay * w
        return np.stack([f, rho * q - f + q * (s * G**2 + decay)])

    mesh = np.linspace(0, end, 201)
    guess = mu / (s + decay) * (1 - np.exp(-(s + decay) * mesh))
    solved = solve_bvp(
        velocity,
        lambda start, stop: np.array([start[0], stop[1]]),
        mesh,
        np.stack([guess, guess[-1] - guess]),
        tol=1e-6,
        max_nodes=20_000,
    )
    if not solved.success:
        raise RetrogradError(f"the optimal gain of one neuron: {solved.message}")
    w, q = solved.sol(times)
    return w, gain(w, q) - 1


def single_neuron(params: SingleNeuron, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The baseline in closed form (Theory 1) and the optimal control by Pontryagin.

    Returns:
        weight, loss (case, time), g and cost (time), as the simulation has them.
    """
    s = params.mu**2 + params.sigma**2
    steps = record_steps(params.steps, params.records).astype(float)
    times = steps * params.dt
    base = uncontrolled_weight(params.mu, s, params.weight_decay, params.dt, steps)
    w, g = optimal_gain(params, times)
    weights, gains = np.stack([base, w]), np.stack([np.zeros_like(g), g])
    loss = neuron_loss(weights, 1 + gains, params.mu, s, params.weight_decay)
    per_case = ("case", "time")
    return xr.Dataset(
        {
            "weight": variable(per_case, weights, "weight w"),
            "loss": variable(per_case, loss, "average loss L"),
            "g": variable("time", g, "optimal gain g"),
            "cost": variable("time", params.beta * g**2, "cost of control C"),
        },
        {
            "case": variable("case", ["baseline", "control"], "without and with control"),
            "time": variable("time", times, "time t", "time constants"),
        },
    )


# ---- the optimal learning rate ---------------------------------------------------------


def optimal_rate(condition: RateCondition, times: Array, loss: Array) -> Array:
    """Theory 4: the optimal speed u at `times`, from the controlled loss alone.

    W(t) = W_base(τ(t)) with dτ/dt = u, so that the costate q = dV/dτ obeys
    dq/dt = ρ q + (dL/dt)/u with q = 0 at the end, and u = 1 + offset + q/(2β) in the
    box: 2 du/dt = 2ρ (u − 1 − offset) + (dL/dt)/(β u). It does not hold at u = 0, where
    nothing is learned, and it is a necessary condition only.

    Args:
        condition: γ, β, offset.
        times: increasing from 0, (time,).
        loss: L at the times, which must resolve it: it is interpolated, (time,).
    """
    rho, usual = -np.log(condition.gamma), 1.0 + condition.offset
    slope = CubicSpline(times, loss).derivative()
    end = times[-1]

    def speed(q: Array) -> Array:
        return np.clip(usual + q / (2 * condition.beta), 1 - RATE_MAX, 1 + RATE_MAX)

    def backward(left: float, q: Array) -> Array:
        return -(rho * q + slope(end - left) / np.maximum(speed(q), 1e-12))

    q = ode.integrate(
        backward, np.zeros(1), (end - times)[::-1], what=f"optimal rate, {condition.label}"
    )
    return speed(q[::-1, 0])


def learning_rate(params: LearningRate, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The optimal learning rate of every run, from its loss under control.

    Args:
        params: the section.
        inputs: the simulation (its only input), of which the controlled loss is used.

    Returns:
        u (condition, seed, time), as the simulation has it.
    """
    (measured,) = inputs.values()
    loss, times = measured["loss"].values.astype(float), measured["time"].values
    u = np.zeros_like(loss)
    for c, condition in enumerate(params.conditions):
        for run in range(params.seeds):
            u[c, run] = optimal_rate(condition, times, loss[c, run])
    coords = {name: measured[name].variable for name in ("condition", "seed", "time")}
    dims = ("condition", "seed", "time")
    return xr.Dataset(
        {"u": variable(dims, u.astype(np.float32), "speed of learning u = 1 + g")}, coords
    )


# ---- the value, equation by equation ---------------------------------------------------


def learn(
    tasks: list[Task],
    W1: Array,
    W2: Array,
    dt: float,
    weight_decay: float,
    effects: list[dict[str, Array]],
) -> Array:
    """Losses (time,) of one network; task and effects (d, u, A1, A2) step by step."""
    losses = []
    for task, effect in zip(tasks, effects, strict=True):
        A1, A2 = effect.get("A1", np.ones_like(W1)), effect.get("A2", np.ones_like(W2))
        d, u = effect.get("d", np.ones(len(W2))), effect.get("u", np.ones(()))
        U1, U2 = W1 * A1, W2 * A2
        map_ = U2 @ U1
        fit = task.Syy.sum() - 2 * np.sum(map_ * task.Syx) + np.sum(map_ @ task.Sx * map_)
        decay = weight_decay * (np.sum(W1**2) + np.sum(W2**2))
        losses.append((fit + decay) / 2)
        E = np.diag(d) @ (task.Syx - map_ @ task.Sx)
        dW1 = u * (U2.T @ E * A1 - weight_decay * W1)
        dW2 = u * (E @ U1.T * A2 - weight_decay * W2)
        W1, W2 = W1 + dt * dW1, W2 + dt * dW2
    return np.array(losses)


def learn_neuron(g: Array, dt: float, weight_decay: float) -> Array:
    """Losses (time,) of the single neuron of a gradient problem."""
    s, w, losses = MU**2 + SIGMA**2, 0.0, []
    for G in 1 + g:
        losses.append(0.5 * (1 - 2 * MU * w * G + s * w**2 * G**2 + weight_decay * w**2))
        w += dt * (MU * G - w * G**2 * s - weight_decay * w)
    return np.array(losses)


def cost(case: str, control: Array, beta: float) -> Array:
    """C (time,) of a control (time, unit): the table of the model."""
    squares = (control**2).sum(-1)
    match case:
        case "gain" | "switch":
            return np.exp(beta * squares) - 1
        case "attentive":
            return beta * ((control - 1) ** 2).sum(-1)
        case "category":
            outputs = control.shape[-1]
            return beta * (squares - outputs) ** 2 / outputs
        case "rate_total":
            return beta * ((control + 1) ** 2).sum(-1)
        case _:
            return beta * squares


def value(params: GradientCheck, problem: GradientProblem, control: Array) -> float:
    """V = Σ_k γ^(t_k) (−L_k − C_k) dt; of initial weights, −dt Σ_k of the mean loss."""
    case, steps, dt = problem.case, params.steps, params.dt
    if case.startswith("init"):
        size = problem.W1.size
        W1 = control[:size].reshape(problem.W1.shape)
        W2 = control[size:].reshape(problem.W2.shape)
        runs = [
            learn([task] * steps, W1, W2, dt, params.weight_decay, [{}] * steps)
            for task in problem.tasks
        ]
        mean = np.mean(runs, axis=0)
        return -dt * float(mean[-1] if case == "init_final" else mean.sum())
    if case == "neuron":
        losses = learn_neuron(control[:, 0], dt, params.weight_decay)
    else:
        turn = np.arange(steps) * len(problem.tasks) // steps
        tasks = [problem.tasks[i] for i in turn]
        effects = [_effect(problem, c) for c in control]
        losses = learn(tasks, problem.W1, problem.W2, dt, params.weight_decay, effects)
    discounts = params.gamma ** (np.arange(steps) * dt)
    return -dt * float(discounts @ (losses + cost(case, control, params.beta)))


def _effect(problem: GradientProblem, control: Array) -> dict[str, Array]:
    """What the control of one step (unit,) does."""
    match problem.case:
        case "gain" | "switch":
            size = problem.W1.size
            first, second = control[:size], control[size:]
            return {
                "A1": 1 + first.reshape(problem.W1.shape),
                "A2": 1 + second.reshape(problem.W2.shape),
            }
        case "category":
            return {"d": control**2}
        case "rate_deviation" | "rate_total":
            return {"u": 1 + control[0]}
        case _:
            return {"d": np.repeat(control, 2)}  # two tasks of two outputs each


# Central differences of order 8: the weights of f(±h), f(±2h), f(±3h), f(±4h).
_ORDER_8 = (4 / 5, -1 / 5, 4 / 105, -1 / 280)


def directional_derivative(f: Callable[[float], float], h: float) -> float:
    """f'(0) by central differences of order 8, with steps h."""
    return sum(
        weight * (f(n * h) - f(-n * h)) / h for n, weight in enumerate(_ORDER_8, start=1)
    )


def differences(params: GradientCheck, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The value, and its derivative along one direction, of every problem.

    Returns:
        value, derivative (problem, seed), as the adjoint gives them.
    """
    found = np.zeros((2, len(params.cases), params.seeds))
    with progress.bar(found[0].size, "differences", "problem") as bar:
        for c, case in enumerate(params.cases):
            for run in range(params.seeds):
                problem = gradient_problem(params, case, run)

                def along(length: float, problem: GradientProblem = problem) -> float:
                    return value(
                        params, problem, problem.control + length * problem.direction
                    )

                found[:, c, run] = along(0.0), directional_derivative(along, 0.008)
                bar.update()
    dims = ("problem", "seed")
    return xr.Dataset(
        {
            "value": variable(dims, found[0], "value V"),
            "derivative": variable(dims, found[1], "derivative of V along a direction"),
        },
        {
            "problem": variable("problem", params.cases, "kind of control"),
            "seed": seed_coordinate(params.seeds),
        },
    )
