"""Data sets, initial weights and coordinates, shared by simulation and theory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from retrograd import datasets
from retrograd.papers.vanrossem2024_representations_align.params import (
    AXES,
    Architecture,
    Context,
    Digits,
    OtherTasks,
    TwoPoints,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
X_A, Y_A = -1.0, 0.6  # where the first of two points lies
CLASSES = 10
EMBEDDING = 2  # principal axes of the context task's representation that are recorded
MANTISSA = 12  # bits of a recorded trajectory: to 1/8000, which halves the file


@dataclass(frozen=True)
class Task:
    """What is learned: inputs x (point, d_in) and targets y (point, d_out)."""

    x: Array
    y: Array


# ---- tasks -----------------------------------------------------------------------------


def two_points(dx: float, dy: float, d_in: int = 1, d_out: int = 1) -> Task:
    """Two inputs dx apart, with targets dy apart; all coordinates of a point are equal."""
    x = np.array([X_A, X_A + dx])[:, None] * np.ones(d_in) / np.sqrt(d_in)
    y = np.array([Y_A, Y_A + dy])[:, None] * np.ones(d_out) / np.sqrt(d_out)
    return Task(x, y)


def xor() -> Task:
    """The points 00, 01, 10, 11."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    return Task(x, x.sum(1, keepdims=True) % 2)


def context_task(params: Context) -> tuple[Task, NDArray[np.int64]]:
    """Blobs with two contexts; and (sample, 3): context, place of m1 and of m2.

    A blob exp(−((u − m1)² + (v − m2)²)/2) on [−1, 1]² is normalised to sum 1; the two
    last inputs say which context it is, and the target is m1 in the first, m2 in the
    second.
    """
    axis = np.linspace(-1, 1, params.pixels)
    places = np.linspace(-1, 1, params.places)
    index = np.array(
        [
            (context, i, j)
            for context in range(2)
            for i in range(params.places)
            for j in range(params.places)
        ]
    )
    m1, m2 = places[index[:, 1]], places[index[:, 2]]
    u = np.exp(-((axis - m1[:, None]) ** 2) / 2)
    v = np.exp(-((axis - m2[:, None]) ** 2) / 2)
    blobs = (u[:, :, None] * v[:, None, :]).reshape(len(index), -1)
    blobs /= blobs.sum(1, keepdims=True)
    x = np.concatenate([blobs, np.eye(2)[index[:, 0]]], axis=1)
    return Task(x, np.where(index[:, 0] == 0, m1, m2)[:, None]), index


@dataclass(frozen=True)
class ImageTask:
    """Images, and those of them among which distances are taken.

    Attributes:
        task: all that are learned: x standardised by one mean and one deviation,
            (image, pixel), and one-hot y (image, class).
        shown: indices of the first images of every class, sorted by class, (image,).
        classes: class of each of these, (image,).
    """

    task: Task
    shown: NDArray[np.int64]
    classes: NDArray[np.int64]

    @property
    def shown_task(self) -> Task:
        return Task(self.task.x[self.shown], self.task.y[self.shown])

    @property
    def pair_task(self) -> Task:
        """The first image of class 0 and the first of class 1."""
        pair = [self.shown[np.argmax(self.classes == c)] for c in (0, 1)]
        return Task(self.task.x[pair], self.task.y[pair])


def images(params: Digits) -> ImageTask:
    """The labelled images of the config, and the first `per_class` of every class."""
    if params.data == "digits" and params.part == "all":
        # In the order they ship in, where the first of each class are by few writers.
        x, labels = load_digits(return_X_y=True)
        x = x / 16
    else:
        found = datasets.named(params.data)
        x, labels = found.train_x, found.train_y
        if params.part == "all":
            x = np.concatenate([x, found.test_x])
            labels = np.concatenate([labels, found.test_y])
    x = x.astype(float)
    x = (x - x.mean()) / x.std()
    first = [np.flatnonzero(labels == c)[: params.per_class] for c in range(CLASSES)]
    shown = np.concatenate(first)
    return ImageTask(Task(x, np.eye(CLASSES)[labels]), shown, labels[shown])


def batches(seed: int, run: int, size: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Endless mini-batches of `size` of `count` samples, in a new order every epoch."""
    rng = stream(seed, run, "order of samples")
    left = np.empty(0, np.int64)
    while True:
        while len(left) < size:
            left = np.append(left, rng.permutation(count))
        yield left[:size]
        left = left[size:]


# ---- initial weights -------------------------------------------------------------------


def layer_shapes(
    network: Architecture, d_in: int, d_out: int
) -> list[tuple[tuple[int, ...], int]]:
    """Shape (out, in) or (out channels, in channels, kernel), and fan in + fan out."""
    P = network.width
    shapes: list[tuple[tuple[int, ...], int]] = []
    if network.kind == "cnn":
        channels = [1, *[network.channels] * network.depth, 1]
        shapes.append(((P, d_in), d_in + P))
        for before, after in pairwise(channels):
            shape = (after, before, network.kernel)
            shapes.append((shape, (before + after) * network.kernel))
        left = network.pixels_left
        return [*shapes, ((d_out, left), left + d_out)]
    widths = [d_in, *[P] * network.depth, d_out]
    return [((after, before), before + after) for before, after in pairwise(widths)]


def initial_weights(
    network: Architecture, d_in: int, d_out: int, seed: int, run: int
) -> list[Array]:
    """Glorot-normal weights times the gain, one array per layer, in float64.

    A run draws from a stream of its own, so networks that differ in the gain alone are
    scaled copies of each other.
    """
    rng = stream(seed, run, "initial weights")
    return [
        network.gain * np.sqrt(2 / fans) * rng.standard_normal(shape)
        for shape, fans in layer_shapes(network, d_in, d_out)
    ]


def record_steps(steps: int, records: int) -> NDArray[np.int64]:
    """Equally spaced steps from 0 to the last, to within a step."""
    return np.linspace(0, steps, records).round().astype(np.int64)


# ---- coordinates -----------------------------------------------------------------------


def coordinate(dim: str, values: Any, text: str, units: str = "1") -> xr.Variable:
    values = np.asarray(values)
    return variable(
        dim, values.astype(np.int32) if values.dtype.kind == "i" else values, text, units
    )


def seed_coordinate(seeds: int) -> dict[str, xr.Variable]:
    text = "index of the run's random streams"
    return {"seed": coordinate("seed", range(seeds), text)}


def two_point_coordinates(params: TwoPoints) -> dict[str, xr.Variable]:
    """Axes setting, seed, time and layer; the gain and the steps of every setting."""
    settings = params.settings
    steps = np.stack([record_steps(s.steps, params.records) for s in settings])
    found = seed_coordinate(params.seeds) | {
        "setting": coordinate("setting", [s.name for s in settings], "setting"),
        "gain": coordinate("setting", [s.gain for s in settings], "gain g"),
        "width": coordinate("setting", [s.width for s in settings], "hidden units P"),
        "time": coordinate("time", range(params.records), "index of the record"),
        "step": variable(("setting", "time"), steps.astype(np.int32), "step", "step"),
    }
    if params.layers:
        count = range(settings[0].hidden_layers)
        found["layer"] = coordinate("layer", count, "hidden layer, counted from 0")
    return found


def joined(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Two-point products as one dataset: what belongs to a part has its name in front.

    The axis `setting` gets the part's name, and the values of its coordinate of that
    name, if it has one (gain or width).
    """
    renamed = []
    for axis, part in parts.items():
        if axis in part.coords:
            part = part.swap_dims(setting=axis).drop_vars("setting")
        else:
            part = part.rename(setting=axis)
        part = part.drop_vars(
            [name for name in AXES if name in part.coords and name != axis]
        )
        names = [str(name) for name in part.variables if name != axis]
        renamed.append(part.rename({name: f"{axis}_{name}" for name in names}))
    return xr.merge(renamed, combine_attrs="no_conflicts")


def part(whole: xr.Dataset, axis: str) -> xr.Dataset:
    """What was joined under this name, with `setting` in its place again."""
    names = [n for n in map(str, whole.variables) if n.startswith(f"{axis}_")]
    chosen = whole[[*names, axis]].rename({name: name[len(axis) + 1 :] for name in names})
    return chosen.rename({axis: "setting"})


def pair_coordinates(params: Digits) -> dict[str, xr.Variable]:
    steps = record_steps(params.pair.steps, params.records)
    return seed_coordinate(params.seeds) | {
        "time": coordinate("time", range(params.records), "index of the record"),
        "step": coordinate("time", steps, "step", "step"),
    }


def class_coordinates() -> dict[str, xr.Variable]:
    return {
        dim: coordinate(dim, range(CLASSES), "class")
        for dim in ("image_class", "other_class")
    }


def other_task_coordinates(params: OtherTasks) -> dict[str, xr.Variable]:
    """Axes dx, dy of the grid; setting, seed, point, other_point of XOR."""
    names = [setting.name for setting in params.xor.settings]
    return seed_coordinate(params.seeds) | {
        "dx": coordinate("dx", params.grid.dx, "distance of the inputs |dx|"),
        "dy": coordinate("dy", params.grid.dy, "distance of the targets |dy|"),
        "setting": coordinate("setting", names, "setting"),
        "point": coordinate("point", range(4), "input: 00, 01, 10, 11"),
        "other_point": coordinate("other_point", range(4), "input: 00, 01, 10, 11"),
    }


def regime_coordinates(params: Digits | Context) -> dict[str, xr.Variable]:
    names = [regime.name for regime in params.regimes]
    return seed_coordinate(params.seeds) | {"regime": coordinate("regime", names, "regime")}


def digits_coordinates(params: Digits) -> dict[str, xr.Variable]:
    return regime_coordinates(params) | pair_coordinates(params) | class_coordinates()


def context_coordinates(params: Context) -> dict[str, xr.Variable]:
    """Axes of the context task; a sample is a context and the two places of its blob."""
    sizes = {
        "context": (2, "context; the first place is relevant in context 0"),
        "first": (params.places, "place of the blob along u, m1"),
        "second": (params.places, "place of the blob along v, m2"),
        "axis": (EMBEDDING, "principal axis"),
    }
    return regime_coordinates(params) | {
        dim: coordinate(dim, range(size), text) for dim, (size, text) in sizes.items()
    }


TRAJECTORY = {
    "h2": "squared distance of the two representations",
    "y2": "squared distance of the two outputs",
    "w": "dŷ·(dŷ − dy): alignment of outputs and errors",
    "loss": "loss",
}
PAIR = ("h2", "y2", "w")  # the state of the effective theory


def trajectory(
    dims: tuple[str, ...], values: Mapping[str, Array]
) -> dict[str, xr.Variable]:
    """Recorded or predicted h2, y2, w, loss, as far as they are given, coarsely."""
    return {
        name: variable(dims, coarse(values[name]), text)
        for name, text in TRAJECTORY.items()
        if name in values
    }


def coarse(values: Array) -> NDArray[np.float32]:
    """Rounded to few bits of mantissa, in float32."""
    mantissa, exponent = np.frexp(values)
    rounded = np.round(mantissa * 2.0**MANTISSA) / 2.0**MANTISSA
    return np.ldexp(rounded, exponent).astype(np.float32)
