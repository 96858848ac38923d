"""What is recorded of a network, simulated or predicted: definitions, and the products.

Everything is read off the Gram matrix QQᵀ, Q = [W1ᵀ; W2], whose blocks are A = W1ᵀW1,
B = W2W2ᵀ and the map W2W1. Simulation and theory share these variables, dims and
coordinates, and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from retrograd.linear_networks import kernel_distance, modes
from retrograd.papers.domine2024_lazy_to_rich.params import Continual, Recorded
from retrograd.products import variable

Array = NDArray[np.float64]
KERNEL_DISTANCE = "distance of the NTK from its start"


# ---- Gram matrix, loss, kernel ---------------------------------------------------------


def stack(W1: Array, W2: Array) -> Array:
    """Q = [W1ᵀ; W2]: (..., input + output, hidden)."""
    return np.concatenate([np.swapaxes(W1, -1, -2), W2], axis=-2)


def gram(Q: Array) -> Array:
    """QQᵀ: (..., input + output, same)."""
    return Q @ np.swapaxes(Q, -1, -2)


class Blocks(NamedTuple):
    """The blocks of QQᵀ: map W2W1 (..., output, input), A = W1ᵀW1 and B = W2W2ᵀ."""

    map: Array
    A: Array
    B: Array


def blocks(gram: Array, inputs: int) -> Blocks:
    of_inputs, of_outputs = slice(None, inputs), slice(inputs, None)
    return Blocks(
        gram[..., of_outputs, of_inputs],
        gram[..., of_inputs, of_inputs],
        gram[..., of_outputs, of_outputs],
    )


def loss(map: Array, target: Array) -> Array:
    """½ ‖Σ − W2W1‖²: without the part that no linear network can learn."""
    error: Array = 0.5 * ((target - map) ** 2).sum((-2, -1))
    return error


# ---- representations -------------------------------------------------------------------


def anisotropy(M: Array) -> Array:
    """‖M − (tr M/N) I‖ / ‖M‖: 0 for the identity, and what is specific to the task."""
    ratio: Array = _norm(_traceless(M)) / _norm(M)
    return ratio


def traceless_cosine(M: Array, other: Array) -> Array:
    """Cosine of the traceless parts: the alignment apart from the common identity."""
    a, b = _traceless(M), _traceless(other)
    cosine: Array = (a * b).sum((-2, -1)) / (_norm(a) * _norm(b))
    return cosine


def _traceless(M: Array) -> Array:
    mean = np.trace(M, axis1=-2, axis2=-1) / M.shape[-1]
    traceless: Array = M - mean[..., None, None] * np.eye(M.shape[-1])
    return traceless


def _norm(M: Array) -> Array:
    norm: Array = np.linalg.norm(M, axis=(-2, -1))
    return norm


RELATIONS = ("sibling", "cousin", "far")


def by_relation(generalised: Array) -> Array:
    """Mean over the pairs of items in each relation: (..., relation).

    Args:
        generalised: (..., item, other item), of the eight items of the hierarchy.
    """
    item = np.arange(generalised.shape[-1])
    levels = [(item[:, None] // size != item // size).astype(int) for size in (1, 2, 4)]
    apart = sum(levels[1:], start=levels[0])  # 0 for the item itself
    means = [generalised[..., apart == r + 1].mean(-1) for r in range(len(RELATIONS))]
    return np.stack(means, axis=-1)


# ---- times and coordinates -------------------------------------------------------------


def record_steps(params: Recorded) -> NDArray[np.int64]:
    """Steps at which a run is recorded: 0, log-spaced ones, and the checkpoints."""
    spaced = np.geomspace(params.t_min, params.t_max, params.records)
    times = np.concatenate([[0], spaced, params.checkpoints])
    return np.unique(np.rint(times / params.eta).astype(np.int64))


def task_steps(params: Continual) -> NDArray[np.int64]:
    """Steps at which a sequence of tasks is recorded, of all tasks: (task, step)."""
    steps = record_steps(params)[1:]
    return np.arange(params.tasks)[:, None] * steps[-1] + steps


def coordinates(
    seeds: int | None = None,
    lam: Sequence[float] | None = None,
    time: ArrayLike | None = None,
    **others: tuple[Any, str],
) -> dict[str, xr.Variable]:
    """Coordinates that simulation and theory share.

    Args:
        seeds: number of runs.
        lam: λ.
        time: t.
        others: name=(values or their number, what they are).
    """
    found = {}
    if seeds is not None:
        found["seed"] = variable("seed", np.arange(seeds), "index of the run's streams")
    if lam is not None:
        found["lam"] = variable("lam", np.array(lam, float), "λ, balance of the layers")
    if time is not None:
        found["time"] = variable("time", np.asarray(time, float), "t = η·steps")
    for name, (values, text) in others.items():
        listed = np.arange(values) if isinstance(values, int) else list(values)
        found[name] = variable(name, listed, text)
    return found


# ---- products --------------------------------------------------------------------------


def trajectories(
    gram: Array, target: Array, lam: Sequence[float], times: ArrayLike
) -> xr.Dataset:
    """The product of a run of square networks recorded as QQᵀ (lam, time, ...).

    Returns:
        loss, kernel_distance (lam, time); and matrix (lam, time, block, row, column), the
        entries of map, A and B.
    """
    n = len(target)
    now, start = blocks(gram, n), blocks(gram[:, :1], n)
    moved = kernel_distance(start.A, start.B, now.A, now.B)
    path = ("lam", "time")
    matrices = np.stack(now, axis=2).astype(np.float32)
    return xr.Dataset(
        {
            "loss": variable(path, loss(now.map, target), "loss"),
            "kernel_distance": variable(path, moved, KERNEL_DISTANCE),
            "matrix": variable((*path, "block", "row", "column"), matrices, "entries"),
        },
        coordinates(lam=lam, time=times) | _square(n),
    )


def _square(size: int) -> dict[str, xr.Variable]:
    return coordinates(
        block=(Blocks._fields, "which matrix"),
        row=(size, "row"),
        column=(size, "column"),
    )


def aligned_modes(
    a: Array, s: Sequence[float], lam: Sequence[float], times: ArrayLike
) -> xr.Dataset:
    """The product of aligned modes: a (lam, mode, time)."""
    return xr.Dataset(
        {"a": variable(("lam", "mode", "time"), a.astype(np.float32), "mode strength")},
        coordinates(lam=lam, time=times, mode=(s, "singular value of the target")),
    )


def kernel_distances(
    distances: Array, shapes: Sequence[str], lam: Sequence[float], times: ArrayLike
) -> xr.Dataset:
    """The product of kernel distances (shape, seed, lam), at a time of each λ."""
    axes = ("shape", "seed", "lam")
    return xr.Dataset(
        {"kernel_distance": variable(axes, distances, KERNEL_DISTANCE)},
        coordinates(seeds=distances.shape[1], lam=lam, shape=(list(shapes), "architecture"))
        | {"time_of": variable("lam", times, "time of the distance, t = η·steps")},
    )


def switches(
    names: Sequence[str], losses: Array, lam: Sequence[float], times: ArrayLike
) -> xr.Dataset:
    """The product of second tasks: loss (switch, seed, lam, time)."""
    axes = ("switch", "seed", "lam", "time")
    return xr.Dataset(
        {"loss": variable(axes, losses.astype(np.float32), "loss on the second task")},
        coordinates(
            seeds=losses.shape[1],
            lam=lam,
            time=times,
            switch=(list(names), "second task"),
        ),
    )


def task_sequence(
    losses: Array, targets: Array, lam: Sequence[float], times: ArrayLike
) -> xr.Dataset:
    """The product of tasks learned one after another.

    Args:
        losses: on every task, whichever is learned, (seed, lam, time, task).
        targets: (seed, task, output, input).
        lam: λ.
        times: t, equally many per task.

    Returns:
        loss (task, lam, time) of the first run; and forgotten (seed, lam), the loss on the
        first task when the second is learned, less that of the second target, ½ ‖Σ1 − Σ2‖².
    """
    tasks = targets.shape[1]
    second_learned = 2 * np.size(times) // tasks - 1
    curves = np.moveaxis(losses[0], -1, 0).astype(np.float32)
    distance = loss(targets[:, 0], targets[:, 1])
    forgotten = losses[:, :, second_learned, 0] - distance[:, None]
    text = "loss on task 1 after task 2, less half the squared distance of the tasks"
    return xr.Dataset(
        {
            "loss": variable(("task", "lam", "time"), curves, "loss on a task, first run"),
            "forgotten": variable(("seed", "lam"), forgotten, text),
        },
        coordinates(
            seeds=len(losses), lam=lam, time=times, task=(tasks, "task, by its order")
        ),
    )


STATISTICS = (
    "kernel distance",
    *(f"transfer to {relation}" for relation in RELATIONS),
    "loss with noisy parameters",
    "loss with noisy inputs",
    "anisotropy of A",
    "anisotropy of B",
    "cosine of A",
    "cosine of B",
)


def hierarchy_statistics(
    learned: Blocks,
    target: Array,
    kernel_distance: Array,
    transfer: Array,
    noisy_loss: Array,
) -> Array:
    """What is recorded of networks that have learned the hierarchy: (..., name).

    Args:
        learned: map, A and B at the end, (..., row, column).
        target: Σ.
        kernel_distance: from start to end, (...).
        transfer: by relation of the items, (..., relation).
        noisy_loss: with noise in the parameters and in the inputs, (..., noise).

    Returns:
        The last three; and of A and B the anisotropy and the cosine with ṼS̃Ṽᵀ or ŨS̃Ũᵀ, in
        the order of STATISTICS.
    """
    U, s, V = modes(target)
    sides = [(learned.A, (V * s) @ V.T), (learned.B, (U * s) @ U.T)]
    statistics = [
        kernel_distance,
        *np.moveaxis(transfer, -1, 0),
        *np.moveaxis(noisy_loss, -1, 0),
        *(anisotropy(M) for M, _ in sides),
        *(traceless_cosine(M, specific) for M, specific in sides),
    ]
    return np.stack(statistics, axis=-1)


def learned_hierarchy(
    statistics: Array, axis: tuple[str, Sequence[object], str]
) -> xr.Dataset:
    """The product of `hierarchy_statistics`: statistic (seed, axis, name).

    Args:
        statistics: (seed, axis, name).
        axis: what differs between the networks of a run: name, values, what it is.
    """
    name, values, text = axis
    return xr.Dataset(
        {"statistic": variable(("seed", name, "name"), statistics, "of trained networks")},
        coordinates(seeds=len(statistics), name=(STATISTICS, "what is measured"))
        | {name: variable(name, list(values), text)},
    )


def representations(matrices: Mapping[str, Array]) -> xr.Dataset:
    """matrix (network, block, row, column): map, A and B, by the name of the network."""
    whole = np.stack(list(matrices.values())).astype(np.float32)
    dims = ("network", "block", "row", "column")
    return xr.Dataset(
        {"matrix": variable(dims, whole, "entries of W2W1, A and B, first run")},
        _square(whole.shape[-1]) | coordinates(network=(list(matrices), "trained network")),
    )
