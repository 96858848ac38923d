"""The problem: teachers, their composites, the stream of tasks, inputs, initial weights.

Everything that differs between runs is drawn per run from streams of its own, so run i is
the same alone and in any batch; the conditions of a run share its inputs and weights.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from retrograd import curricula
from retrograd.curricula import Curriculum
from retrograd.linear_networks import orthogonal
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
    Order,
    Stream,
    TwoLayer,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
WEIGHT_SCALE = 0.01  # standard deviation of initial weights, times √d_in


# ---- tasks -----------------------------------------------------------------------------


def teachers(params: Stream) -> Array:
    """W* of every task, (task, d_out, d_in): W*_m W*_m'ᵀ = δ_mm' I / d_in."""
    rng = stream(params.teacher_seed, 0, "teachers")
    rows = orthogonal(rng, params.d_in, params.d_in)[: params.tasks * params.d_out]
    return rows.reshape(params.tasks, params.d_out, params.d_in) / np.sqrt(params.d_in)


def targets(params: Stream) -> Array:
    """The map that each entry of the curriculum asks for: teachers, then composites.

    Composite number i is made of tasks i and i + 1 (of M, cyclically): AB, BC, CA.
    """
    w_star = teachers(params)
    if not isinstance(params, Gated) or params.composites == "none":
        return w_star
    cycle = [*range(params.tasks), 0]
    make = {"averaged": curricula.averaged, "interleaved": curricula.interleaved}
    return np.concatenate([w_star, make[params.composites](w_star, [*pairwise(cycle)])])


def curriculum(params: Stream, tau_B: float) -> Curriculum:
    """The stream of tasks, as entries of `targets`: tasks in turn, then composites."""
    length = curricula.steps_of(tau_B, params.dt)
    blocks = -(-params.steps // length)
    tasks = range(params.tasks)
    composed = params.composites_from if isinstance(params, Gated) else None
    if composed is None or composed >= blocks:
        return curricula.cyclic(tasks, blocks, length).first(params.steps)
    composites = range(params.tasks, 2 * params.tasks)
    later = curricula.cyclic(composites, blocks - composed, length, start=composed)
    return curricula.cyclic(tasks, composed, length).then(later).first(params.steps)


def kept_steps(params: Stream, tasks: Curriculum) -> Integers:
    """Steps whose means over the runs a product keeps."""
    offsets = np.rint(np.array(params.offsets) / params.dt).astype(np.int64)
    steps = tasks.after_switches(offsets)
    if params.offset_blocks is not None:
        steps = steps[np.isin(tasks.block_at(steps), params.offset_blocks)]
    return steps


# ---- inputs ----------------------------------------------------------------------------


class Covariances:
    """The empirical input covariance X̂ = XᵀX/B of every step's batch, run by run.

    All that gradient and loss need of a batch. B Gaussian inputs have a Wishart-distributed
    XᵀX, which is drawn by its Bartlett factor: A Aᵀ with a lower triangular A, normals
    below the diagonal and the root of χ²(B − i) on it. That is exact, and needs d(d+1)/2
    numbers instead of B d.
    """

    def __init__(self, params: Stream) -> None:
        self._B, self._d = params.batch, params.d_in
        self._streams = [
            [stream(params.seed, run, what) for what in ("inputs", "input norms")]
            for run in range(params.seeds)
        ]
        self._below = np.tril_indices(self._d, -1)

    def next(self, steps: int) -> Array:
        """X̂ of the following steps, (steps, seed, d_in, d_in)."""
        d = self._d
        found = np.empty((steps, len(self._streams), d, d))
        factor = np.zeros((steps, d, d))
        for run, (normals, norms) in enumerate(self._streams):
            below = normals.standard_normal((steps, len(self._below[0])))
            factor[:, self._below[0], self._below[1]] = below
            squares = norms.chisquare(self._B - np.arange(d), (steps, d))
            factor[:, np.arange(d), np.arange(d)] = np.sqrt(squares)
            np.matmul(factor, factor.transpose(0, 2, 1), out=found[:, run])
        return found / self._B


# ---- initial weights -------------------------------------------------------------------


def students(params: Gated) -> Array:
    """Initial W, (seed, condition, path, d_out, d_in): N(0, 0.01²/d_in).

    Within the teachers' span (`init: span`) it is the random W, projected.
    """
    shape = (params.paths, params.d_out, params.d_in)
    drawn = _normals(params, "students", shape)
    held = overlaps(drawn, teachers(params))
    projected = np.einsum("spm,moi->spoi", held, teachers(params))
    of = {"random": drawn, "span": projected}
    return np.stack([of[c.init] for c in params.conditions()], axis=1)


def layers(params: TwoLayer) -> tuple[Array, Array]:
    """Initial W1 (seed, condition, hidden, d_in), W2 (seed, condition, d_out, hidden)."""
    shapes = {
        "first layer": (params.hidden, params.d_in),
        "second layer": (params.d_out, params.hidden),
    }
    conditions = len(params.conditions())
    first, second = (
        np.repeat(_normals(params, what, shape)[:, None], conditions, axis=1)
        for what, shape in shapes.items()
    )
    return first, second


def _normals(params: Stream, what: str, shape: tuple[int, ...]) -> Array:
    scale = WEIGHT_SCALE / np.sqrt(params.d_in)
    runs = range(params.seeds)
    return scale * np.stack(
        [stream(params.seed, run, what).standard_normal(shape) for run in runs]
    )


def overlaps(W: Array, w_star: Array) -> Array:
    """a_pm = ⟨W^p, W*_m⟩ / σ, (..., path, task), of W (..., path, d_out, d_in)."""
    sigma = (w_star[0] ** 2).sum()
    found: Array = np.einsum("...poi,moi->...pm", W, w_star) / sigma
    return found


@dataclass(frozen=True)
class Decomposition:
    """W^p = Σ_m a_pm W*_m + R^p: `a` (..., path, task), and what R^p is known by.

    `gram` is ⟨R^p, R^q⟩, (..., path, other_path).
    """

    a: Array
    gram: Array


def decompose(W: Array, w_star: Array) -> Decomposition:
    """Split students into what they hold of the teachers, and the rest."""
    a = overlaps(W, w_star)
    rest = W - np.einsum("...pm,moi->...poi", a, w_star)
    return Decomposition(a, np.einsum("...poi,...qoi->...pq", rest, rest))


# ---- products --------------------------------------------------------------------------


def instance(params: Gated) -> xr.Dataset:
    """Initial students in the teachers' eigenspace: where the reduced theory starts.

    Variables: a (seed, condition, path, task), gram (seed, condition, path, other_path).
    """
    split = decompose(students(params), teachers(params))
    run = ("seed", "condition")
    return xr.Dataset(
        {
            "a": variable((*run, "path", "task"), split.a, "teacher content of students"),
            "gram": variable(
                (*run, "path", "other_path"),
                split.gram,
                "scalar products of what students hold outside of the teachers' span",
            ),
        },
        run_coordinates(params)
        | {
            "path": index("path", params.paths, "student"),
            "other_path": index("other_path", params.paths, "other student"),
            "task": index("task", params.tasks, "teacher"),
        },
    )


def trajectories(
    params: Gated, steps: Integers, loss: Array, c: Array, **others: xr.Variable
) -> xr.Dataset:
    """The product of a population run, simulated or predicted.

    Args:
        params: what was run.
        steps: recorded steps, (time,).
        loss: task loss, (seed, condition, time).
        c: gates, (seed, condition, time, path).
        others: further variables.
    """
    run = ("seed", "condition", "time")
    return xr.Dataset(
        {
            "loss": variable(run, loss, "task loss"),
            "c": variable((*run, "path"), c, "gates"),
        }
        | others,
        run_coordinates(params)
        | {
            "time": variable("time", steps * params.dt, "time"),
            "path": index("path", params.paths, "student"),
        },
    )


def index(dim: str, size: int, text: str) -> xr.Variable:
    return variable(dim, np.arange(size), text)


def run_coordinates(params: Stream) -> dict[str, xr.Variable]:
    """Coordinates of the axes seed and condition, that simulation and theory share."""
    names = [c.name for c in params.conditions()]
    return {
        "condition": variable("condition", names, "condition"),
        "seed": index("seed", params.seeds, "index of the run's random streams"),
    }


def condition_coordinates(params: Stream) -> dict[str, xr.Variable]:
    """What differs between conditions, along that axis."""
    conditions = params.conditions()
    numbers = {
        "tau_B": ([c.tau_B for c in conditions], "length of a block"),
        "tau_c": ([c.regime.tau_c for c in conditions], "time scale of the gates"),
        "strength": ([c.regime.strength for c in conditions], "strength of the bounds"),
    }
    return {
        name: variable("condition", np.array(values, float), text)
        for name, (values, text) in numbers.items()
    }


# ---- reading students ------------------------------------------------------------------


def best_pairing(cosines: Array) -> Integers:
    """The path that stands for each task, (..., task), from cosines (..., task, path).

    The pairing with the largest sum: which path learns which task is arbitrary.
    """
    flat = cosines.reshape(-1, *cosines.shape[-2:])
    found = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in flat]
    return np.array(found).reshape(cosines.shape[:-1])


def total_alignment(cosines: Array) -> Array:
    """Mean cosine of the best pairing of tasks and paths, (...), from (..., task, path)."""
    pairing = best_pairing(cosines)
    paired: Array = np.take_along_axis(cosines, pairing[..., None], -1)[..., 0].mean(-1)
    return paired


def standard_error(values: Array) -> Array:
    """Of the mean over seeds, the first axis; 0 of a single seed."""
    seeds = len(values)
    spread: Array = values.std(0, ddof=min(1, seeds - 1))
    return spread / np.sqrt(seeds)


# ---- images ----------------------------------------------------------------------------


# Ways to label the ten classes: class k gets label ORDERS[name][k].
ORDERS: dict[Order, tuple[int, ...]] = {
    "as they are": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    "evens first": (0, 5, 1, 6, 2, 7, 3, 8, 4, 9),
    "upper and lower": (0, 5, 1, 6, 2, 7, 3, 8, 4, 9),
    "warm and cool": (0, 1, 6, 3, 7, 2, 5, 4, 8, 9),
}
