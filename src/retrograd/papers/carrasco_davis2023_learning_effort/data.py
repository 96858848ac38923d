"""The tasks by their moments, the initial weights, and the samples of SGD.

Average learning of a linear network sees a task only through its second moments,
Sx = E[x xᵀ], Syx = E[y xᵀ] and E[y²] per output, which are not centred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    Category,
    Engagement,
    GainSingle,
    Gaussian,
    GradientCase,
    GradientCheck,
    Images,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
SIDE = 5  # pixels along an image, after resizing
ENGAGEMENT_MAX = {"attentive": 2.0, "active": 1.0, "vector": 2.0}  # of psi; least is 0
CATEGORY_MAX = 2.0  # of phi; least is 0
RATE_MAX = 1.0  # of g = u − 1, either sign
GAIN_MAX = 0.5  # of one weight's gain, either sign; the single neuron's is in [0, .5]


@dataclass(frozen=True)
class Task:
    """Moments: Sx (I, I), Syx (O, I), Syy (O,) = E[y²], and the means mx (I,), my (O,)."""

    Sx: Array
    Syx: Array
    Syy: Array
    mx: Array
    my: Array

    @property
    def optimal_losses(self) -> Array:
        """Least ½ E[(ŷ − y)²] of a linear map, per output: (O,)."""
        explained = (self.Syx @ np.linalg.pinv(self.Sx, hermitian=True) * self.Syx).sum(-1)
        least: Array = (self.Syy - explained) / 2
        return least


def empirical(x: Array, y: Array) -> Task:
    """Moments of samples x (sample, I) and y (sample, O)."""
    count = len(x)
    means = x.mean(0), y.mean(0)
    return Task(x.T @ x / count, y.T @ x / count, (y**2).mean(0), *means)


def compose(tasks: Sequence[Task]) -> Task:
    """Independent tasks side by side: inputs concatenated, and outputs."""

    def pair(a: Task, b: Task) -> Task:
        return Task(
            np.block([[a.Sx, np.outer(a.mx, b.mx)], [np.outer(b.mx, a.mx), b.Sx]]),
            np.block([[a.Syx, np.outer(a.my, b.mx)], [np.outer(b.my, a.mx), b.Syx]]),
            *(np.concatenate([getattr(t, n) for t in (a, b)]) for n in ("Syy", "mx", "my")),
        )

    return reduce(pair, tasks)


# ---- synthetic tasks -------------------------------------------------------------------


def two_gauss(mu: float, sigma: float) -> Task:
    """y = ±1 equiprobable, x ~ N(mu y, sigma²)."""
    one, zero = np.ones(1), np.zeros(1)
    return Task(np.full((1, 1), mu**2 + sigma**2), np.full((1, 1), mu), one, zero, zero)


def affine_gauss(task: Gaussian) -> Task:
    """Two labels ±1, equal with probability 1 − p; x_i ~ N(mu_i y_i, sigma_i²); x_3 = 1."""
    c = 1 - 2 * task.p
    (mu1, mu2), (s1, s2) = task.mu, task.sigma
    Sx = np.diag([mu1**2 + s1**2, mu2**2 + s2**2, 1.0])
    Sx[0, 1] = Sx[1, 0] = mu1 * mu2 * c
    Syx = np.array([[mu1, mu2 * c, 0], [mu1 * c, mu2, 0]])
    return Task(Sx, Syx, np.ones(2), np.array([0.0, 0, 1]), np.zeros(2))


def semantic(levels: int) -> Task:
    """Items are the leaves of a binary tree, one-hot; features are all its nodes.

    Rows of y from the root down: 1 node of level 0, 2 of level 1, 4 of level 2, ...
    """
    M = np.ones((1, 1))
    for _ in range(levels - 1):
        M = np.repeat(M, 2, axis=1)
        M = np.concatenate([M, np.eye(M.shape[1])])
    return empirical(np.eye(M.shape[1]), M.T)


# ---- images ----------------------------------------------------------------------------


def area_average(pixels: int) -> Array:
    """(5, pixels): means over equal parts of a row of pixels, cut pixels in part."""
    ends = np.linspace(0, pixels, SIDE + 1)
    lower = np.maximum(ends[:-1, None], np.arange(pixels))
    upper = np.minimum(ends[1:, None], np.arange(pixels) + 1)
    return np.maximum(upper - lower, 0) * SIDE / pixels


def smoothed_resize(pixels: int) -> Array:
    """(5, pixels): linear interpolation after a Gaussian against aliasing.

    What scikit-image's `resize` does along an axis by default; it is linear and the same
    for both axes, so a matrix from either side does it.
    """
    from scipy import ndimage  # here, as it is slow to import and seldom needed

    factor = pixels / SIDE
    smooth = ndimage.gaussian_filter1d(
        np.eye(pixels), (factor - 1) / 2, axis=0, mode="mirror"
    )
    zoom: Array = ndimage.zoom(
        smooth, (1 / factor, 1), order=1, mode="mirror", grid_mode=True
    )
    return zoom


@cache
def images(name: Images) -> tuple[Array, NDArray[np.int64]]:
    """Images of 5×5 pixels in [0, 1] with a constant 1 appended (image, 26); labels."""
    if name == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        full, labels, resize = bunch.images / 16, bunch.target, area_average(8)
    else:
        from retrograd import datasets

        mnist = datasets.mnist()
        full = np.asarray(mnist.train_x, float).reshape(-1, 28, 28)
        labels, resize = mnist.train_y, smoothed_resize(28)
    small = (resize @ full @ resize.T).reshape(len(full), -1)
    return np.column_stack([small, np.ones(len(small))]), np.asarray(labels, np.int64)


def classes(name: Images, chosen: Sequence[int]) -> Task:
    """Tell the chosen digits apart; targets are one-hot, in the order chosen."""
    x, labels = images(name)
    y = (labels[:, None] == np.array(chosen)).astype(float)
    there = y.any(1)
    return empirical(x[there], y[there])


# ---- the tasks of the sections ---------------------------------------------------------


def task(params: Category | GainSingle | Engagement) -> Task:
    """The one task of a section; in `Engagement` it is composed of all."""
    if isinstance(params, Engagement):
        return compose([classes(params.images, pair) for pair in params.pairs])
    if params.data == "semantic":
        return semantic(params.levels)
    if isinstance(params, Category):
        return classes(params.data, range(10))
    if params.data == "gaussian":
        assert params.gaussian is not None  # by its validator
        return affine_gauss(params.gaussian)
    return classes(params.data, params.pair)


def groups(params: Category) -> Array:
    """(group, output), 1 where an output is in the group: a level, or one class."""
    if params.data == "semantic":
        level = np.repeat(np.arange(params.levels), 2 ** np.arange(params.levels))
        return (level == np.arange(params.levels)[:, None]).astype(float)
    return np.eye(10)


def task_coordinate(pairs: Sequence[tuple[int, int]]) -> xr.Variable:
    return variable("task", [f"{a} or {b}" for a, b in pairs], "digits to tell apart")


def seed_coordinate(seeds: int) -> xr.Variable:
    return variable("seed", np.arange(seeds), "index of the run's random streams")


# ---- what is drawn ---------------------------------------------------------------------


def initial_weights(
    seed: int, seeds: int, hidden: int, task: Task, sd: float
) -> tuple[Array, Array]:
    """W1 (seed, H, I) and W2 (seed, O, H), independent N(0, sd²)."""
    O, I = task.Syx.shape  # noqa: E741
    first, second = (
        np.stack([stream(seed, r, what).standard_normal(shape) for r in range(seeds)])
        for what, shape in (("first layer", (hidden, I)), ("second layer", (O, hidden)))
    )
    return sd * first, sd * second


class TwoGaussSamples:
    """Fresh batches of `two_gauss`, of every run: x and y (steps, run, batch)."""

    def __init__(self, seed: int, runs: int, mu: float, sigma: float, batch: int) -> None:
        self._streams = [stream(seed, run, "two_gauss") for run in range(runs)]
        self._mu, self._sigma, self._batch = mu, sigma, batch

    def next(self, steps: int) -> tuple[Array, Array]:
        shape = (steps, self._batch)
        drawn = [(r.integers(0, 2, shape), r.standard_normal(shape)) for r in self._streams]
        y, noise = (np.stack(parts, axis=1) for parts in zip(*drawn, strict=True))
        y = 2.0 * y - 1
        return self._mu * y + self._sigma * noise, y


class AffineGaussSamples:
    """Fresh batches of `affine_gauss` of every run, in a grid of runs.

    x (*runs, batch, 3), y (*runs, batch, 2).
    """

    def __init__(
        self, seed: int, runs: tuple[int, ...], task: Gaussian, batch: int
    ) -> None:
        count = int(np.prod(runs))
        self._streams = [stream(seed, run, "affine_gauss") for run in range(count)]
        self._runs, self._task, self._batch = runs, task, batch

    def next(self) -> tuple[Array, Array]:
        x, y = zip(*(self._draw(rng) for rng in self._streams), strict=True)
        return tuple(np.stack(a).reshape(*self._runs, self._batch, -1) for a in (x, y))  # type: ignore[return-value]

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        uniform, noise = rng.random((2, self._batch)), rng.standard_normal((2, self._batch))
        first = np.where(uniform[0] < 0.5, -1.0, 1.0)
        y = np.stack([first, np.where(uniform[1] < self._task.p, -first, first)])
        mu, sigma = (np.array(v)[:, None] for v in (self._task.mu, self._task.sigma))
        x = np.concatenate([mu * y + sigma * noise, np.ones((1, self._batch))])
        return x.T, y.T


def record_steps(steps: int, records: int) -> NDArray[np.int64]:
    """At most `records` equally spaced steps from the first to the last, steps − 1."""
    return np.unique(np.rint(np.linspace(0, steps - 1, records)).astype(np.int64))


def early_steps(steps: int, records: int) -> NDArray[np.int64]:
    """The same, but the denser the earlier."""
    at = (steps - 1) * np.linspace(0, 1, records) ** 2
    return np.unique(np.rint(at).astype(np.int64))


def switch_steps(steps: int, block: int, records: int) -> NDArray[np.int64]:
    """The same, but in every block of steps the denser the nearer to one of its ends."""
    count = max(2, records * block // steps)
    half = block / 2 * np.linspace(0, 1, count // 2 + 1) ** 2
    ends = np.concatenate([half, block - half[1:]])
    starts = np.arange(0, steps, block)
    at = np.rint(starts[:, None] + ends).astype(np.int64).ravel()
    return np.unique(at[at < steps])


def log_steps(steps: int, records: int) -> NDArray[np.int64]:
    """Step 0, and at most `records` − 1 logarithmically spaced ones to steps − 1."""
    later = np.geomspace(1, steps - 1, records - 1)
    return np.unique(np.rint(np.append(0, later)).astype(np.int64))


# ---- problems whose gradient is checked ------------------------------------------------


@dataclass(frozen=True)
class GradientProblem:
    """One small problem, one run: where the gradient is taken, and in which direction.

    `tasks` are learned in turn if kind is "switch" (from one half of the steps to the
    next), by networks side by side if it starts with "init", and else the one is learned.
    `control` and `direction` (time, unit); of the initial weights (unit,), W1 then W2.
    """

    case: GradientCase
    tasks: list[Task]
    W1: Array
    W2: Array
    control: Array
    direction: Array


MU, SIGMA = 2.0, 1.0  # of the single neuron in these problems


def gradient_problem(
    params: GradientCheck, case: GradientCase, run: int
) -> GradientProblem:
    rng = stream(params.seed, run, f"gradient, {case}")
    A = affine_gauss(Gaussian(mu=(1.5, 1), p=0.8))
    B = affine_gauss(Gaussian(mu=(-1, 1.2), p=0.2))
    tree = semantic(3)
    engaged = (0.2, 0.9)  # within the box, so that the cost has a slope everywhere
    bounds: dict[GradientCase, tuple[list[Task], int, tuple[float, float]]] = {
        "neuron": ([two_gauss(MU, SIGMA)], 1, (0.05, 0.45)),
        "gain": ([A], 5 * params.hidden, (-0.2, 0.2)),
        "switch": ([A, B], 5 * params.hidden, (-0.2, 0.2)),
        "attentive": ([compose([A, B])], 2, engaged),
        "active": ([compose([A, B])], 2, engaged),
        "vector": ([compose([A, B])], 2, engaged),
        "category": ([tree], len(tree.Syy), engaged),
        "rate_deviation": ([tree], 1, (-0.5, 0.5)),
        "rate_total": ([tree], 1, (-0.5, 0.5)),
        "init_cumulative": ([A, B], 0, (0, 0)),
        "init_final": ([A, B], 0, (0, 0)),
    }
    tasks, units, (low, high) = bounds[case]
    O, I = tasks[0].Syx.shape  # noqa: E741
    W1 = params.init_sd * rng.standard_normal((params.hidden, I))
    W2 = params.init_sd * rng.standard_normal((O, params.hidden))
    control = rng.uniform(low, high, (params.steps, units))
    if case.startswith("init"):
        control = np.concatenate([W1.ravel(), W2.ravel()])
    direction = rng.standard_normal(control.shape)
    direction /= np.linalg.norm(direction)
    return GradientProblem(case, tasks, W1, W2, control, direction)
