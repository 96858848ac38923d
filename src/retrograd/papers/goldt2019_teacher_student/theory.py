"""The prediction for N → ∞: ODEs of the order parameters, and laws of the final error.

Symbols: λ_k, ρ_m are the fields of student unit k and teacher unit m, with covariance
C = [[Q, R], [Rᵀ, T]]; u = (v, −v*), so that φ − φ* = Σ_a u_a g(z_a) over all fields.
Time is α = step / N. Written from the paper's supplement; shares no code with train.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import gaussian, ode, progress
from retrograd.errors import RetrogradError
from retrograd.papers.goldt2019_teacher_student.data import (
    concat_sizes,
    condition_coordinates,
    record_steps,
    trajectories,
)
from retrograd.papers.goldt2019_teacher_student.params import (
    Condition,
    FinalError,
    Network,
    SizeSweep,
    Training,
)
from retrograd.products import variable

Array = NDArray[np.float64]
ArrayOrFloat = TypeVar("ArrayOrFloat", Array, float)
ETA_ALPHA = 200  # a fixed point is reached at α = 200 / η
SPARE_VARIANCE = 1e-6  # of units that the solution does not use


@dataclass(frozen=True)
class State:
    """Order parameters Q (K, K), R (K, M) and second layer v (K,) of one student."""

    Q: Array
    R: Array
    v: Array

    def flat(self) -> Array:
        return np.concatenate([self.Q.ravel(), self.R.ravel(), self.v])

    @classmethod
    def from_flat(cls, y: Array, K: int, M: int) -> "State":
        """The inverse of `flat`; leading axes are kept."""
        Q, R, v = np.split(y, [K * K, K * K + K * M], axis=-1)
        lead = y.shape[:-1]
        return cls(Q.reshape(*lead, K, K), R.reshape(*lead, K, M), v)


@dataclass(frozen=True)
class Committee:
    """What stays fixed while a student learns: its teacher and the rules of learning.

    `gradient_flow` drops the η² term of dQ (the limit of small learning rates, and the
    only closed form there is for ReLU, whose flow cannot be followed through the death
    of a unit: dR and dQ are singular where its Q_kk reaches 0).
    """

    activation: gaussian.Activation
    T: Array
    v_star: Array
    eta: float
    sigma: float
    both_layers: bool
    kappa: float = 0.0
    gradient_flow: bool = False

    def velocity(self, state: State) -> State:
        """dQ/dα, dR/dα, dv/dα: eqs. (8) to (10) of the paper."""
        Q, R, v = state.Q, state.R, state.v
        K = len(v)
        C = gaussian.joint_covariance(Q, R, self.T)
        u = np.concatenate([v, -self.v_star])
        # Σ_c u_c I3(i, b, c): how unit i moves along field b.
        drift = v[:, None] * (gaussian.i3(self.activation, C, K) @ u)
        dR = -self.eta * drift[:, K:] - self.kappa * R
        dQ = -self.eta * (drift[:, :K] + drift[:, :K].T) - 2 * self.kappa * Q
        if not self.gradient_flow:
            noise = u @ gaussian.i4(self.activation, C, K) @ u
            noise += self.sigma**2 * gaussian.j2(self.activation, C)[:K, :K]
            dQ += self.eta**2 * np.outer(v, v) * noise
        dv = np.zeros(K)
        if self.both_layers:
            dv = -self.eta * (gaussian.i2(self.activation, C)[:K] @ u) - self.kappa * v
        return State(0.5 * (dQ + dQ.T), dR, dv)

    def error(self, state: State) -> Array:
        """Generalisation error; leading axes of the state are kept."""
        return gaussian.committee_error(
            self.activation, state.Q, state.R, self.T, state.v, self.v_star
        )

    def integrate(self, start: State, alpha: Array) -> State:
        """Integrate from α = 0 and return the states at `alpha`, stacked in front.

        Raises:
            RetrogradError: the integrator gave up; says where.
        """
        K, M = start.R.shape

        def velocity(_: float, y: Array) -> Array:
            return self.velocity(State.from_flat(y, K, M)).flat()

        what = f"the ODE of K={K}, M={M}, η={self.eta:g}"
        path = ode.integrate(velocity, start.flat(), alpha, what=what)
        return State.from_flat(path, K, M)


# ---- trajectories --------------------------------------------------------------------


def theory(params: Training | SizeSweep, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """ODE trajectories from the sampled initial overlaps of every run.

    Args:
        params: the section that the simulation reads too.
        inputs: the `data` product that sampled the runs (its only input).

    Returns:
        What `data.trajectories` describes, as for the simulation; a sweep adds `size`.
    """
    (instance,) = inputs.values()
    if isinstance(params, SizeSweep):
        unit = params.N[0]
        curves = [_trajectories(params.at(N), instance.sel(size=N), unit) for N in params.N]
        return concat_sizes(params, curves)
    return _trajectories(params, instance)


def _trajectories(
    params: Training, instance: xr.Dataset, unit: int | None = None
) -> xr.Dataset:
    alpha = record_steps(params, unit) / params.N
    conditions = params.conditions()
    K_max, M = max(params.K), params.M
    lead = (params.seeds, len(conditions), len(alpha))
    Q, R, v = (np.zeros((*lead, *s)) for s in ((K_max, K_max), (K_max, M), (K_max,)))
    with progress.bar(lead[0] * lead[1], f"ODE N={params.N}", "curve") as bar:
        for run, c in np.ndindex(lead[:2]):
            committee, start = _start(params, conditions[c], instance, run, c)
            path = committee.integrate(start, alpha)
            k = slice(conditions[c].K)  # absent units keep their zeros
            Q[run, c, :, k, k], R[run, c, :, k], v[run, c, :, k] = (
                path.Q,
                path.R,
                path.v,
            )
            bar.update()
    T, v_star = instance["T"].values, instance["v_star"].values
    return trajectories(params, alpha, Q, R, v, T, v_star, unit)


def _start(
    params: Training, condition: Condition, instance: xr.Dataset, run: int, c: int
) -> tuple[Committee, State]:
    """The student of one run and condition, without the padding of the batch."""
    k = slice(condition.K)
    sampled = instance.isel(seed=run)
    committee = _committee(params, condition, sampled["T"].values, sampled["v_star"].values)
    Q, R, v = (sampled[name].values[c] for name in ("Q", "R", "v"))
    return committee, State(Q[k, k], R[k], v[k])


def _committee(params: Network, condition: Condition, T: Array, v_star: Array) -> Committee:
    return Committee(
        activation=params.activation,
        T=T,
        v_star=v_star,
        eta=condition.eta,
        sigma=condition.sigma,
        both_layers=condition.layers == "both",
        kappa=getattr(params, "kappa", 0.0),
        # ReLU has no closed form of the η² term: only its gradient flow is known.
        gradient_flow=params.activation == "relu",
    )


# ---- laws of the final error (numbers F1 to F8 of the project's specification) ----------
#
# First order in η unless said otherwise; M teacher units with v* each, T = I.


def first_order(
    activation: gaussian.Activation, eta: float, sigma: float, v: Array, variance: Array
) -> Array:
    """F1: eg* = (ησ²/4) Σ_k v_k² ⟨g'(λ_k)²⟩ at a solution with Q_kk = `variance`."""
    slopes = gaussian.mean_square_slope(activation, variance)
    error: Array = eta * sigma**2 / 4 * (v**2 * slopes).sum(-1)
    return error


def scm_erf(eta: float, sigma: float, v_star: float, M: int, K: int) -> float:
    """F2: M units specialise, the K − M others fade: grows linearly with K."""
    return eta * sigma**2 * v_star**2 / (2 * np.pi) * (K - M + M / np.sqrt(3))


def scm_lin(eta: float, sigma: float, v_star: float, K: int) -> float:
    """F3: exact in η; SGD is stable only for η v*² K < 2."""
    return both_lin(eta, sigma, v_star**2 * K)


def scm_relu(eta: float, sigma: float, v_star: float, K: int) -> float:
    """F4."""
    return both_relu(eta, sigma, v_star**2 * K)


def denoiser(eta: float, sigma: float, v_star: float, M: int, K: int) -> float:
    """F5: erf, both layers, n_m units share teacher m: falls as 1/K."""
    copies = np.bincount(np.arange(K) % M, minlength=M)
    scale = eta * sigma**2 * v_star**2 / (2 * np.sqrt(3) * np.pi)
    return scale * float((1 / copies).sum())


def both_lin(eta: float, sigma: float, S: ArrayOrFloat) -> ArrayOrFloat:
    """F6: exact quasi-steady law for S = Σ_k v_k²."""
    return eta * sigma**2 * S / (4 - 2 * eta * S)


def both_relu(eta: float, sigma: float, S: ArrayOrFloat) -> ArrayOrFloat:
    """F7: for S = Σ_k v_k²."""
    return eta * sigma**2 * S / 8


def fixed_point(params: Network, condition: Condition, eta_alpha: float) -> float:
    """F8: erf; the fixed point of the ODE, exact in η, reached at α = eta_alpha / η.

    From the overlaps of the solution: each of the first M units a teacher unit and the
    others nearly 0 (first layer trained), or the denoiser (both layers).
    """
    K, M = condition.K, params.M
    teacher = np.arange(K) % M
    R = np.eye(M)[teacher]
    v = np.full(K, params.v_star)
    if condition.layers == "both":
        Q = (teacher[:, None] == teacher).astype(float)
        v = v / np.bincount(teacher)[teacher]
    else:
        R[M:] = 0
        Q = np.diag(np.where(np.arange(K) < M, 1.0, SPARE_VARIANCE))
    committee = _committee(params, condition, np.eye(M), np.full(M, params.v_star))
    end = np.array([eta_alpha / condition.eta])
    return float(committee.error(committee.integrate(State(Q, R, v), end))[0])


def final_errors(
    params: Training | FinalError, inputs: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """The final error of the solution that each architecture finds.

    Args:
        params: conditions; `init` is not used.
        inputs: empty.

    Returns:
        Per condition: eg_final, exact in η where such a law is known (erf F8, linear F3),
        else of first order (ReLU F4); eg_first_order (F2, F4, F5); and
        eg_first_layer, the first-order law were only the first layer trained.
    """
    conditions = params.conditions()
    rows = []
    with progress.bar(len(conditions), "fixed points", "condition") as bar:
        for condition in conditions:
            rows.append(_final_error(params, condition))
            bar.update()
    texts = (
        "final generalisation error",
        "final generalisation error to first order in η",
        "first-order final generalisation error with the first layer trained only",
    )
    names = ("eg_final", "eg_first_order", "eg_first_layer")
    return xr.Dataset(
        {
            name: variable("condition", column, text)
            for name, column, text in zip(names, np.array(rows).T, texts, strict=True)
        },
        condition_coordinates(conditions),
    )


def _final_error(
    params: Training | FinalError, condition: Condition
) -> tuple[float, float, float]:
    K, M, v_star = condition.K, params.M, params.v_star
    eta, sigma = condition.eta, condition.sigma
    if params.activation == "erf":
        eta_alpha = params.eta_alpha if isinstance(params, FinalError) else ETA_ALPHA
        first_layer = scm_erf(eta, sigma, v_star, M, K)
        shared = denoiser(eta, sigma, v_star, M, K)
        law = shared if condition.layers == "both" else first_layer
        return fixed_point(params, condition, eta_alpha), law, first_layer
    if condition.layers == "both":
        raise RetrogradError(
            f"final_errors: {params.activation} with both layers has a law only for a "
            "measured Σ v_k²: use quasi_steady_errors"
        )
    v, variance = np.full(K, v_star), np.ones(K)
    law = float(first_order(params.activation, eta, sigma, v, variance))
    if params.activation == "lin":
        return scm_lin(eta, sigma, v_star, K), law, law
    return scm_relu(eta, sigma, v_star, K), law, law


def quasi_steady_errors(params: Training, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Both layers, linear or ReLU: the final error for the Σ_k v_k² of each run.

    There is no true fixed point: the second layer shrinks slowly, and S = Σ_k v_k² at
    the end of the run is read off the simulation (the only input).

    Returns:
        eg_final (seed, condition), by F6 or F7; eg_first_layer (condition), by F3 or F4;
        S (seed, condition).
    """
    (measured,) = inputs.values()
    conditions = params.conditions()
    lin = params.activation == "lin"
    S = (measured["v_end"] ** 2).sum("student").values
    law, scm = (both_lin, scm_lin) if lin else (both_relu, scm_relu)
    first_layer = [scm(params.eta, params.sigma, params.v_star, c.K) for c in conditions]
    run = ("seed", "condition")
    return xr.Dataset(
        {
            "eg_final": variable(
                run, law(params.eta, params.sigma, S), "final generalisation error"
            ),
            "eg_first_layer": variable(
                "condition",
                first_layer,
                "final generalisation error with the first layer trained only",
            ),
            "S": variable(run, S, "sum of the squared second-layer weights"),
        },
        condition_coordinates(conditions) | {"seed": measured["seed"].variable},
    )
