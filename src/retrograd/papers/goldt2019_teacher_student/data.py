"""The problem: a sampled teacher, the initial students, and the inputs they see.

Everything is drawn per run from streams of its own, so run i is the same alone and in
any batch; and a student of K units is the first K rows of what a larger one would be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.comparison import rms_deviation
from retrograd.gaussian import committee_error
from retrograd.papers.goldt2019_teacher_student.params import (
    Condition,
    SizeSweep,
    Training,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
NEARLY_ZERO = 1e-9  # of units that an informed student has to spare
UNITS = {
    "student": "student unit k",
    "other_student": "student unit l",
    "teacher": "teacher unit m",
    "other_teacher": "teacher unit n",
}


@dataclass(frozen=True)
class Weights:
    """Teacher and initial students of all runs, padded with zeros to the largest K.

    Shapes: w_star (seed, teacher, N), w (seed, condition, student, N),
    v (seed, condition, student), v_star (teacher,).
    """

    w_star: Array
    v_star: Array
    w: Array
    v: Array


def sample_weights(params: Training) -> Weights:
    """Draw the teacher and the initial students of every run."""
    conditions = params.conditions()
    runs = [_sample_run(params, conditions, run) for run in range(params.seeds)]
    w_star, w, v = (np.stack(parts) for parts in zip(*runs, strict=True))
    return Weights(w_star, np.full(params.M, params.v_star), w, v)


def _sample_run(
    params: Training, conditions: Sequence[Condition], run: int
) -> tuple[Array, Array, Array]:
    K_max = max(params.K)

    def normals(what: str, *shape: int) -> Array:
        return stream(params.seed, run, f"{what}, N={params.N}").standard_normal(shape)

    w_star = normals("teacher", params.M, params.N)
    first = normals("first layer", K_max, params.N)
    second = normals("second layer", K_max)
    w = np.zeros((len(conditions), K_max, params.N))
    v = np.zeros((len(conditions), K_max))
    for c, condition in enumerate(conditions):
        k = slice(condition.K)
        w[c, k], v[c, k] = _student(params, condition, w_star, first[k], second[k])
    return w_star, w, v


def _student(
    params: Training, condition: Condition, w_star: Array, first: Array, second: Array
) -> tuple[Array, Array]:
    """Initial weights of one student from its normals: w (K, N) and v (K,)."""
    K, M, v_star = condition.K, params.M, params.v_star
    sampled = condition.layers == "both"  # else the second layer is the teacher's
    match params.init:
        case "random":
            return first, second if sampled else np.full(K, v_star)
        case "small":
            v = second / np.sqrt(K) if sampled else np.full(K, v_star)
            return first / np.sqrt(params.N), v
        case "informed":
            w = np.concatenate([w_star, NEARLY_ZERO * first[M:]])
            return w, np.full(K, v_star)
        case "denoiser":
            teacher = np.arange(K) % M
            return w_star[teacher], v_star / np.bincount(teacher)[teacher]


class Samples:
    """The inputs and label noise of every run, in order, in pieces of any length."""

    def __init__(self, params: Training) -> None:
        self._N = params.N
        self._streams = {
            what: [
                stream(params.seed, run, f"{what}, N={params.N}")
                for run in range(params.seeds)
            ]
            for what in ("inputs", "noise", "order")
        }
        self._set: tuple[Array, Array] | None = None
        if params.patterns_per_input is not None:
            self._set = self._fresh(round(params.patterns_per_input * params.N))

    def next(self, steps: int) -> tuple[Array, Array]:
        """Inputs x (steps, seed, N) and standard normal noise ζ (steps, seed)."""
        if self._set is None:
            return self._fresh(steps)
        # A fixed set, drawn with replacement; a pattern keeps its noise.
        x, zeta = self._set
        order = [rng.integers(len(x), size=steps) for rng in self._streams["order"]]
        runs = np.arange(len(order))
        chosen = np.stack(order, axis=1), runs
        return x[chosen], zeta[chosen]

    def _fresh(self, steps: int) -> tuple[Array, Array]:
        runs = len(self._streams["inputs"])
        x, zeta = np.empty((steps, runs, self._N)), np.empty((steps, runs))
        for run in range(runs):
            x[:, run] = self._streams["inputs"][run].standard_normal((steps, self._N))
            zeta[:, run] = self._streams["noise"][run].standard_normal(steps)
        return x, zeta


def record_steps(params: Training, unit: int | None = None) -> NDArray[np.int64]:
    """Steps at which a run is recorded: log-spaced, and equally spaced in the window.

    Args:
        params: the run.
        unit: record at α that are multiples of 1/unit only (default: any step), so that
            runs at other N can share the times.
    """
    steps = _log_spaced(params, unit)
    if params.window:
        unit = unit or params.N
        ends = (params.alpha_max - params.window) * unit, round(params.alpha_max * unit)
        window = np.rint(np.linspace(*ends, params.window_records + 1)).astype(np.int64)
        steps = np.union1d(steps, window * (params.N // unit))
    return steps


def _log_spaced(params: Training, unit: int | None) -> NDArray[np.int64]:
    unit = unit or params.N
    last = round(params.alpha_max * unit)
    steps = np.concatenate([[0], np.geomspace(1, last, params.records)])
    return np.unique(np.rint(steps).astype(np.int64)) * (params.N // unit)


def overlaps(a: Array, b: Array) -> Array:
    """a_k · b_m / N for all pairs: (..., K, M) from (..., K, N) and (..., M, N)."""
    # Products and sums row by row, not a matrix product, whose bits depend on the batch.
    return (a[..., :, None, :] * b[..., None, :, :]).sum(-1) / a.shape[-1]


def normalised_overlaps(Q: Array, R: Array, T: Array) -> Array:
    """ρ_km = R_km / √(Q_kk T_mm); 0 for absent units.

    Shapes: Q (seed, ..., K, K), R (seed, ..., K, M), T (seed, M, M); gives R's shape.
    """
    student = np.diagonal(Q, axis1=-2, axis2=-1)[..., :, None]
    teacher = np.diagonal(T, axis1=-2, axis2=-1)
    between = (1,) * (R.ndim - teacher.ndim)
    scale = np.sqrt(student * teacher.reshape(len(T), *between, -1))
    return np.divide(R, scale, out=np.zeros_like(R), where=scale > 0)


def condition_coordinates(conditions: Sequence[Condition]) -> dict[str, xr.Variable]:
    """Coordinates of the conditions, which simulation and theory share."""
    of = {
        "layers": ([c.layers for c in conditions], "trained layers"),
        "K": ([c.K for c in conditions], "student units"),
        "eta": ([c.eta for c in conditions], "learning rate"),
        "sigma": (
            [c.sigma for c in conditions],
            "standard deviation of the label noise",
        ),
    }
    labels = variable("condition", [c.label for c in conditions], "condition")
    return {"condition": labels} | {
        name: variable("condition", values, text) for name, (values, text) in of.items()
    }


def _unit_coordinates(variables: Mapping[str, xr.Variable]) -> dict[str, xr.Variable]:
    """Indices of the units along the dims that the variables have."""
    sizes = xr.Dataset(variables).sizes
    return {
        dim: variable(dim, np.arange(sizes[dim]), text)
        for dim, text in UNITS.items()
        if dim in sizes
    }


def seed_coordinate(params: Training | SizeSweep) -> xr.Variable:
    return variable("seed", np.arange(params.seeds), "index of the run's random streams")


def instance(params: Training | SizeSweep) -> xr.Dataset:
    """The sampled problem by its overlaps: where the ODE of the same runs must start.

    Variables: Q (seed, condition, student, other_student), R (seed, condition, student,
    teacher), v (seed, condition, student), T (seed, teacher, other_teacher), v_star
    (teacher), eg (seed, condition); with an axis `size` for a sweep over N.
    """
    if isinstance(params, SizeSweep):
        return concat_sizes(params, [instance(params.at(N)) for N in params.N])
    drawn = sample_weights(params)
    Q = overlaps(drawn.w, drawn.w)
    R = overlaps(drawn.w, drawn.w_star[:, None])
    T = overlaps(drawn.w_star, drawn.w_star)
    eg = committee_error(params.activation, Q, R, T[:, None], drawn.v, drawn.v_star)
    run = ("seed", "condition")
    variables = {
        "Q": variable((*run, "student", "other_student"), Q, "student overlaps"),
        "R": variable((*run, "student", "teacher"), R, "student-teacher overlaps"),
        "v": variable((*run, "student"), drawn.v, "second layer of the student"),
        "T": variable(("seed", "teacher", "other_teacher"), T, "teacher overlaps"),
        "v_star": variable("teacher", drawn.v_star, "second layer of the teacher"),
        "eg": variable(run, eg, "generalisation error"),
    }
    return xr.Dataset(variables, _coordinates(params, variables))


def _coordinates(
    params: Training, variables: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    seeds = {"seed": seed_coordinate(params)}
    return condition_coordinates(params.conditions()) | seeds | _unit_coordinates(variables)


def trajectories(
    params: Training,
    alpha: Array,
    Q: Array,
    R: Array,
    v: Array,
    T: Array,
    v_star: Array,
    unit: int | None = None,
) -> xr.Dataset:
    """The product of recorded runs, simulated or predicted.

    Args:
        params: what was run.
        alpha: recorded times, (time,).
        Q: (seed, condition, time, student, other_student), zeros for absent units; so
            are R (..., student, teacher) and v (..., student).
        R: see Q.
        v: see Q.
        T: (seed, teacher, other_teacher).
        v_star: (teacher,).
        unit: see `record_steps`.

    Returns:
        eg (seed, condition, time), of the overlaps; v_start, v_end (seed, condition,
        student); rho_end (seed, condition, student, teacher), the normalised overlaps;
        v_star (teacher); Q_end and R_end, or Q, R and v over time, as `record_overlaps`
        says; and if there is a window eg_final (seed, condition), the mean of eg over it.
        Time is α.
    """
    eg = committee_error(params.activation, Q, R, T[:, None, None], v, v_star)
    in_window = alpha > params.alpha_max - params.window
    at = np.isin(alpha, _log_spaced(params, unit) / params.N)
    run, time = ("seed", "condition"), ("seed", "condition", "time")
    student, pair = ("student",), ("student", "other_student")
    second, rho = "second layer of the student", normalised_overlaps(Q, R, T)
    variables = {
        "eg": variable(time, eg[:, :, at], "generalisation error"),
        "v_star": variable("teacher", v_star, "second layer of the teacher"),
        "v_start": variable((*run, *student), v[:, :, 0], f"{second} at the start"),
        "v_end": variable((*run, *student), v[:, :, -1], f"{second} at the end"),
        "rho_end": variable(
            (*run, "student", "teacher"),
            rho[:, :, -1],
            "normalised student-teacher overlaps at the end",
        ),
    }
    if params.window:
        variables["eg_final"] = variable(
            run, eg[..., in_window].mean(-1), "mean generalisation error in the window"
        )
    recorded = {
        "Q": (Q, pair, "student overlaps"),
        "R": (R, ("student", "teacher"), "student-teacher overlaps"),
        "v": (v, student, second),
    }
    for name, (values, dims, text) in recorded.items():
        if params.record_overlaps == "path":
            path = values[:, :, at].astype(np.float32)
            variables[name] = variable((*time, *dims), path, text)
        elif params.record_overlaps == "end" and name != "v":
            text = f"{text} at the end"
            variables[f"{name}_end"] = variable((*run, *dims), values[:, :, -1], text)
    times = variable("time", alpha[at], "α, steps per input dimension")
    return xr.Dataset(variables, _coordinates(params, variables) | {"time": times})


def concat_sizes(params: SizeSweep, datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Stack the datasets of a sweep along `size`, the input dimension."""
    size = variable("size", params.N, "input dimension N")
    joined = xr.concat(
        datasets,
        "size",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="exact",
    )
    return joined.assign_coords(size=size)


# ---- reading products ------------------------------------------------------------------


ORDER_PARAMETERS = ("Q", "R", "v")


def order_parameter_deviation(sgd: xr.Dataset, ode: xr.Dataset) -> xr.DataArray:
    """RMS over all entries of Q, R and v of SGD − ODE, at every recorded time."""
    units = ("student", "other_student", "teacher")
    return rms_deviation(sgd, ode, ORDER_PARAMETERS, units)


def by_K(values: xr.DataArray) -> xr.DataArray:
    """The conditions of a product in which only K varies, along K."""
    return values.swap_dims(condition="K").drop_vars("condition")
