"""Fits of positive parameters of a model to trajectories, many runs at once.

The parameters live in log space. A scan of guesses finds the basin, then damped
Gauss-Newton steps (Levenberg and Marquardt: a trust region whose size follows what the
last step gained) go to its bottom. Everything is batched over runs: one call of the model
advances the guesses of all of them, since a call of numpy on a hundred numbers costs
little more than one on a single number. A loop of scipy's least_squares over the runs
finds the same minima, more slowly (benchmarks).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrograd.errors import RetrogradError

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]
DAMPINGS = np.array([0.03, 1.0, 30.0])  # tried at once, in units of the current one
PERTURBATION = 1e-6  # of the log of a parameter, for the forward difference


@dataclass(frozen=True)
class Fit:
    """Fitted parameters of every run.

    Attributes:
        parameters: positive, (run, parameter).
        cost: sum of squared errors over times and variables, (run,).
        nrmse: rms error of a variable over the range of its observed values,
            (run, variable); −1 where that range is 0.
        evaluations: trajectories that the model computed for the run, (run,).
        predicted: the model at the fitted parameters, (run, time, variable).
    """

    parameters: Array
    cost: Array
    nrmse: Array
    evaluations: NDArray[np.int32]
    predicted: Array


def fit(
    predict: Predict,
    observed: ArrayLike,
    guesses: ArrayLike,
    *,
    what: str,
    bound: float = 4.0,
    iterations: int = 60,
) -> Fit:
    """Fit every run: scan its guesses, then least squares from the best one.

    Args:
        predict: the model, from parameters (run, guess, parameter) to trajectories
            (run, guess, time, variable); not finite where it cannot be computed.
        observed: (run, time, variable).
        guesses: positive parameters to start from, (run, guess, parameter).
        what: is fitted, for the error message.
        bound: how far the log of a parameter may go from the best guess.
        iterations: of least squares, at most.

    Raises:
        RetrogradError: a run has no guess that the model can compute.
    """
    data, tried = np.asarray(observed, float), np.log(np.asarray(guesses, float))
    found = _costs(predict(np.exp(tried)), data)
    best = found.argmin(1)
    run = np.arange(len(data))
    if not np.isfinite(found[run, best]).all():
        lost = int(np.argmin(np.isfinite(found[run, best])))
        raise RetrogradError(
            f"{what}: the model is not finite at any of the {tried.shape[1]} guesses of "
            f"run {lost}; give it smaller ones"
        )
    start = tried[run, best]
    logs, cost, evaluations = _least_squares(predict, data, start, bound, iterations)
    predicted = predict(np.exp(logs)[:, None])[:, 0]
    return Fit(
        np.exp(logs),
        cost,
        nrmse(predicted, data),
        (tried.shape[1] + evaluations).astype(np.int32),
        predicted,
    )


def _least_squares(
    predict: Predict, data: Array, start: Array, bound: float, iterations: int
) -> tuple[Array, Array, NDArray[np.int64]]:
    """From logs `start` (run, parameter) to a minimum: logs, costs, evaluations.

    An iteration tries three dampings at once and takes the best if it lowers the cost;
    the model's derivatives there were computed with it.
    """
    runs, parameters = start.shape
    run, points = np.arange(runs), 1 + parameters
    shifts = np.concatenate([np.zeros((1, parameters)), PERTURBATION * np.eye(parameters)])
    low, high = start - bound, start + bound

    def linearised(at: Array) -> tuple[Array, Array, Array]:
        """At (run, guess, parameter): cost, residual, Jacobian, with axes (run, guess)."""
        shifted = at[:, :, None] + shifts
        model = predict(np.exp(shifted.reshape(runs, -1, parameters)))
        model = model.reshape(runs, at.shape[1], points, -1)
        residual = model[:, :, 0] - data.reshape(runs, 1, -1)
        slopes = (model[:, :, 1:] - model[:, :, :1]) / PERTURBATION
        finite = np.isfinite(model).all((2, 3))
        cost = np.where(finite, (residual**2).sum(-1), np.inf)
        return cost, residual, slopes

    with np.errstate(all="ignore"):
        logs = start
        cost, residual, slopes = (part[:, 0] for part in linearised(logs[:, None]))
        damping = np.full(runs, 1e-2)
        evaluations = np.full(runs, points)
        active = np.isfinite(cost)
        for _ in range(iterations):
            steps = _damped_steps(residual, slopes, damping[:, None] * DAMPINGS)
            tried = np.clip(logs[:, None] + steps, low[:, None], high[:, None])
            tried = np.where(np.isfinite(tried), tried, logs[:, None])
            costs, residuals, jacobians = linearised(tried)
            evaluations += active * len(DAMPINGS) * points
            best = costs.argmin(1)
            gained = cost - costs[run, best]
            better = active & (gained > 0)
            moved = np.abs(tried[run, best] - logs).max(1)
            # A run is done when a step gains nothing that anyone would see; one that
            # failed tries shorter steps, until these are too short to matter.
            still = moved < 1e-9
            done = np.where(better, still | (gained <= 1e-10 * cost), still)
            logs = np.where(better[:, None], tried[run, best], logs)
            residual = np.where(better[:, None], residuals[run, best], residual)
            slopes = np.where(better[:, None, None], jacobians[run, best], slopes)
            cost = np.where(better, costs[run, best], cost)
            damping *= np.where(better, DAMPINGS[best], DAMPINGS[-1] ** 2)
            active = active & ~done
            if not active.any():
                break
    return logs, cost, evaluations


def _damped_steps(residual: Array, slopes: Array, damping: Array) -> Array:
    """−(S Sᵀ + damping · diag)⁻¹ S r, (run, damping, parameter)."""
    normal = slopes @ slopes.mT
    parameters = normal.shape[-1]
    scale = np.maximum(normal[:, range(parameters), range(parameters)], 1e-300)
    diagonal = damping[:, :, None] * scale[:, None]
    damped = normal[:, None] + diagonal[..., None] * np.eye(parameters)
    downhill = -(slopes @ residual[..., None])
    solvable = np.isfinite(damped).all((1, 2, 3)) & np.isfinite(downhill).all((1, 2))
    damped[~solvable] = np.eye(parameters)
    downhill[~solvable] = 0
    steps = np.linalg.solve(damped, downhill[:, None])[..., 0]
    return np.asarray(steps, float)


def _costs(predicted: Array, data: Array) -> Array:
    """Sum of squared errors, (run, guess); infinite where the model is not finite."""
    with np.errstate(all="ignore"):
        cost = ((predicted - data[:, None]) ** 2).sum((2, 3))
    return np.where(np.isfinite(cost), cost, np.inf)


def nrmse(predicted: Array, observed: Array) -> Array:
    """Rms error per variable over the range of the observed, (run, variable); −1 if 0."""
    rms = np.sqrt(((predicted - observed) ** 2).mean(1))
    extent = observed.max(1) - observed.min(1)
    return np.divide(rms, extent, out=np.full(rms.shape, -1.0), where=extent > 0)


def runge_kutta(
    velocity: Callable[[Array], Array], start: Array, times: Array, substeps: int
) -> Array:
    """Integrate dy/dt = velocity(y) by the classical fourth-order rule, many runs at once.

    Every run has its own times. A state that overflows becomes not finite and stays so.

    Args:
        velocity: autonomous, from (run, guess, variable) to the same shape.
        start: state at the first time, (run, guess, variable).
        times: increasing, (run, time).
        substeps: steps of the rule between two times.

    Returns:
        (run, guess, time, variable).
    """
    states = [start]
    state = start
    with np.errstate(all="ignore"):
        for gap in np.diff(times, axis=1).T / substeps:
            dt = gap[:, None, None]
            for _ in range(substeps):
                a = velocity(state)
                b = velocity(state + dt / 2 * a)
                c = velocity(state + dt / 2 * b)
                d = velocity(state + dt * c)
                state = state + dt / 6 * (a + 2 * (b + c) + d)
            states.append(state)
    return np.stack(states, axis=2)
