"""The problem: targets and initial weights.

All inputs are white, so a task is its target Σ (output, input) alone. Everything is drawn
per run from streams of its own: run i is the same alone and in any batch, and at every λ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from retrograd.linear_networks import (
    balance,
    balanced_weights,
    modes,
    orthogonal,
)
from retrograd.papers.domine2024_lazy_to_rich import observables
from retrograd.papers.domine2024_lazy_to_rich.params import (
    Aligned,
    Architectures,
    Continual,
    GaussianWeights,
    Lecun,
    Regression,
    Semantic,
    Shape,
    Switch,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
WELL_CONDITIONED = 100.0


@dataclass(frozen=True)
class Networks:
    """Networks about to learn; the leading axes (seed, λ, ...) broadcast.

    W1 (..., hidden, input), W2 (..., output, hidden), target Σ (..., output, input), and
    lam (...), their balance.
    """

    W1: Array
    W2: Array
    target: Array
    lam: Array


# ---- targets ---------------------------------------------------------------------------


def random_target(params: Regression, shape: Shape, run: int, task: int = 0) -> Array:
    """Σ with random singular vectors and singular values from hi down to lo."""
    drawn = stream(params.seed, run, f"target {task} of {shape.label}")
    U, _, V = modes(drawn.standard_normal((shape.outputs, shape.inputs)))
    return U * np.linspace(params.hi, params.lo, shape.modes) @ V.T


ITEMS = 8
# Items by row: what all share, the two halves, their pairs, and the items of a pair.
_HIERARCHY = """
    + + + 0 + 0 0 0
    + + + 0 - 0 0 0
    + + - 0 0 + 0 0
    + + - 0 0 - 0 0
    + - 0 + 0 0 + 0
    + - 0 + 0 0 - 0
    + - 0 - 0 0 0 +
    + - 0 - 0 0 0 -
"""


def hierarchy() -> Array:
    """Σ = Hᵀ/√8 (feature, item) of eight one-hot items; no two modes are equally strong."""
    value = {"+": 1.0, "-": -1.0, "0": 0.0}
    rows = [[value[sign] for sign in row.split()] for row in _HIERARCHY.split("\n")[1:-1]]
    feature = np.arange(1, ITEMS + 1)
    return (np.array(rows) * (1 + 0.1 / feature)).T / np.sqrt(ITEMS)


PERMUTED = (6, 3, 0, 7, 2, 1, 5, 4)  # the items of the second task of a fine-tuning


# ---- initial weights -------------------------------------------------------------------


def sample(
    params: Regression, shape: Shape, lam: Sequence[float], runs: int | None = None
) -> Networks:
    """λ-balanced networks and their random targets: axes (seed, λ), of the first runs."""
    runs = params.seeds if runs is None else runs
    targets = np.stack([random_target(params, shape, run) for run in range(runs)])
    return sample_weights(params.seed, params.s0, targets, shape, lam)


def sample_weights(
    seed: int,
    s0: float,
    targets: Array,
    shape: Shape,
    lam: Sequence[float],
) -> Networks:
    """λ-balanced networks with random singular vectors for given targets.

    Args:
        seed: master seed.
        s0: every singular value of the initial W2 W1.
        targets: one per run, (run, output, input).
        shape: sizes.
        lam: λ; all networks of a run differ in nothing else.
    """
    drawn = []
    for run, target in enumerate(targets):
        rng = stream(seed, run, f"weights of {shape.label}")
        U, V, R = singular_vectors(rng, shape, target)
        drawn.append(
            balanced_weights(U, np.full(shape.modes, s0), V, R, np.array(lam, float))
        )
    W1, W2 = (np.stack(layer) for layer in zip(*drawn, strict=True))
    return Networks(W1, W2, targets[:, None], np.array(lam, float))


def singular_vectors(
    rng: np.random.Generator, shape: Shape, target: Array
) -> tuple[Array, Array, Array]:
    """Haar U (output, output), V (input, input), R (hidden, hidden) of initial weights.

    Half of all square networks with λ = 0 can never learn (det W2 W1 keeps its sign): their
    flow ends at a saddle. They, and those next to them, are drawn again, at any λ.
    """
    towards = modes(target)
    while True:
        sizes = (shape.outputs, shape.inputs, shape.hidden)
        U, V, R = (orthogonal(rng, n, n) for n in sizes)
        W1, W2 = balanced_weights(U, np.ones(shape.modes), V, R, 0.0)
        growing = W2.T @ towards.U + W1 @ towards.V  # B of the exact solution at λ = 0
        if np.linalg.cond(growing) < WELL_CONDITIONED:
            return U, V, R


def converged(target: Array, R: Array, lam: ArrayLike) -> tuple[Array, Array]:
    """λ-balanced weights whose product is the target: W1 and W2 with the axes of lam."""
    U, s, Vt = np.linalg.svd(target)
    return balanced_weights(U, s, Vt.T, R, np.asarray(lam, float))


def aligned_networks(params: Aligned) -> tuple[Networks, Array, Array]:
    """Networks (1, λ) that start with the singular vectors U, V of their target."""
    s = np.array(params.singular_values)
    rng, n = stream(params.seed, 0, f"aligned network of {len(s)} modes"), len(s)
    U, V, R = (orthogonal(rng, n, n) for _ in range(3))
    lam = np.array(params.lam)
    W1, W2 = balanced_weights(U, np.full(n, params.a0), V, R, lam)
    return Networks(W1[None], W2[None], U * s @ V.T, lam), U, V


def gaussian_networks(params: Semantic, init: GaussianWeights) -> Networks:
    """Networks (seed, 1) with Gaussian weights about to learn the hierarchy."""
    shape = Shape(ITEMS, init.hidden, ITEMS)
    drawn = [_gaussian_weights(params.seed, r, init, shape) for r in range(params.seeds)]
    W1, W2 = (np.stack(layer)[:, None] for layer in zip(*drawn, strict=True))
    return Networks(W1, W2, hierarchy(), np.zeros(1))  # they have no λ


def _gaussian_weights(
    seed: int, run: int, init: GaussianWeights, shape: Shape
) -> tuple[Array, Array]:
    rng = stream(seed, run, f"Gaussian weights of {shape.label}, sd {init.sd:g}")
    W1 = init.sd * rng.standard_normal((shape.hidden, shape.inputs))
    return W1, init.sd * rng.standard_normal((shape.outputs, shape.hidden))


# ---- problems --------------------------------------------------------------------------


def learning_rates(params: Architectures | Semantic, s_max: float) -> Array:
    """η per λ: the same fraction of the fastest mode's time, (lam,)."""
    rates: Array = params.rate / np.hypot(params.lam, 2 * s_max)
    return rates


def switched(params: Switch) -> dict[str, Networks]:
    """Networks that have learned one task, aimed at another: axes (seed, λ).

    In the reversal Σ becomes −Σ; in the fine-tuning the items of the hierarchy are
    permuted. The weights have converged on the first task with balance λ: what learning
    it from any initial weights leaves, or what they are re-factored to.
    """
    firsts = [random_target(params, params.shape, run) for run in range(params.seeds)]
    items = hierarchy()
    tasks = {
        "reversal": [(first, -first) for first in firsts],
        "fine-tuning": [(items, items[:, list(PERMUTED)])] * params.seeds,
    }
    return {name: _switched(params, name, pairs) for name, pairs in tasks.items()}


def _switched(params: Switch, name: str, tasks: Sequence[tuple[Array, Array]]) -> Networks:
    lam, weights = np.array(params.lam), []
    for run, (first, _) in enumerate(tasks):
        rng = stream(params.seed, run, f"hidden units, {name}")
        R = orthogonal(rng, len(first), len(first))
        weights.append(converged(first, R, lam))
    W1, W2 = (np.stack(layer) for layer in zip(*weights, strict=True))
    return Networks(W1, W2, np.stack([second for _, second in tasks])[:, None], lam)


def sample_tasks(params: Continual) -> tuple[Networks, Array]:
    """Networks (seed, λ) aimed at the first task, and all targets (seed, task, ...)."""
    targets = np.stack(
        [
            [random_target(params, params.shape, run, task) for task in range(params.tasks)]
            for run in range(params.seeds)
        ]
    )
    return sample(params, params.shape, params.lam), targets


def hierarchy_networks(params: Semantic) -> Networks:
    """λ-balanced networks about to learn the hierarchy: axes (seed, λ)."""
    targets = np.stack([hierarchy()] * params.seeds)
    shape = Shape(ITEMS, ITEMS, ITEMS)
    return sample_weights(params.seed, params.s0, targets, shape, params.lam)


# ---- the balance of practical initial weights ------------------------------------------


def lecun(params: Lecun) -> xr.Dataset:
    """How nearly LeCun's initial weights are λ-balanced, of (N, N/2, 2N) networks.

    Returns:
        lam (seed, size), the mean diagonal of W2ᵀW2 − W1W1ᵀ; rms_deviation (seed, size),
        of its entries from λ̂ I; balance (hidden, other_hidden) of the first run.
    """
    block = next(N for N in params.N if params.block <= N // 2)
    lams, rms = (np.empty((params.seeds, len(params.N))) for _ in range(2))
    for (run, column), _ in np.ndenumerate(lams):
        N = params.N[column]
        entries = balance(*_lecun_weights(params.seed, run, Shape(N, N // 2, 2 * N)))
        lams[run, column] = np.trace(entries) / len(entries)
        deviation = entries - lams[run, column] * np.eye(len(entries))
        rms[run, column] = np.sqrt((deviation**2).mean())
        if (run, N) == (0, block):
            kept = entries[: params.block, : params.block].astype(np.float32)
    per_run = ("seed", "size")
    return xr.Dataset(
        {
            "lam": variable(per_run, lams, "mean diagonal of W2ᵀW2 − W1W1ᵀ"),
            "rms_deviation": variable(per_run, rms, "rms entry of W2ᵀW2 − W1W1ᵀ − λI"),
            "balance": variable(("hidden", "other_hidden"), kept, "W2ᵀW2 − W1W1ᵀ"),
        },
        observables.coordinates(
            seeds=params.seeds,
            size=(params.N, "input dimension N"),
            hidden=(params.block, "hidden unit"),
            other_hidden=(params.block, "other hidden unit"),
        ),
    )


def _lecun_weights(seed: int, run: int, shape: Shape) -> tuple[Array, Array]:
    """Variance 1 / (number of units that feed a unit) in either layer."""
    rng = stream(seed, run, f"LeCun weights of {shape.label}")
    W1 = rng.standard_normal((shape.hidden, shape.inputs)) / np.sqrt(shape.inputs)
    W2 = rng.standard_normal((shape.outputs, shape.hidden)) / np.sqrt(shape.hidden)
    return W1, W2
