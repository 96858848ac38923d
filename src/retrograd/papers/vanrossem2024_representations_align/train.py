"""The simulations: gradient descent of many networks at once, and what is recorded of it.

A product's runs that share shapes and length are one batch. Every run draws its weights,
samples and dropout from streams of its own. Weights are float32, what is recorded of them
is reduced in float64.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import convergence, ensembles, tangent_kernel
from retrograd.errors import RetrogradError
from retrograd.papers.vanrossem2024_representations_align import data
from retrograd.papers.vanrossem2024_representations_align.networks import (
    Adam,
    Convolutional,
    Dense,
    Descent,
    Network,
    Optimiser,
)
from retrograd.papers.vanrossem2024_representations_align.params import (
    Architecture,
    Context,
    Digits,
    Grid,
    Layers,
    Regime,
    Setting,
    TwoPoints,
    Xor,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Nothing = Mapping[str, xr.Dataset]
Samples = Callable[[], tuple[Tensor, Tensor]]
Observe = Callable[[Network], dict[str, Array]]
HALF, WHOLE = 0.5, 1.0  # factors of the mean squared error in the loss
CHECK_EVERY = 100  # steps between looks at whether every run has stopped
CHUNK = 50  # steps whose dropout masks are drawn at once
LEVELS = 64  # grey levels of a distance matrix that is only looked at


# ---- batches of networks ---------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One member of a batch."""

    setting: Setting
    seed: int
    """index along the seed axis"""


class Training:
    """Runs that advance together (`ensembles.Ensemble`)."""

    def __init__(
        self,
        network: Network,
        optimiser: Optimiser,
        samples: Samples,
        observe: Observe,
        runs: Sequence[Run],
        *,
        factor: float = HALF,
        stop_loss: float = 0.0,
    ) -> None:
        """A run whose loss is below `stop_loss` stops, whatever the others do."""
        self.network, self.optimiser, self.step = network, optimiser, 0
        self._samples, self._observe, self._runs = samples, observe, runs
        self._factor, self._stop = factor, stop_loss

    @torch.no_grad()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`."""
        start = self.step
        lr = self.optimiser.lr
        while self.step < step:
            if self._stop and self.step % CHECK_EVERY == 0 and not lr.any():
                self.step = step
                break
            error = self.network.descend(*self._samples(), self._factor, self.optimiser)
            if self._stop:
                # The step that found the loss so low is the last one.
                loss = self._factor * (error * error).mean((1, 2))
                lr.mul_((loss >= self._stop)[:, None, None])
            self.step += 1
        report(self.step - start)

    @torch.no_grad()
    def record(self) -> dict[str, Array]:
        """What is observed now.

        Raises:
            RetrogradError: a run went non-finite; names setting, seed and step.
        """
        found = self._observe(self.network)
        for values in found.values():
            finite = np.isfinite(values.reshape(len(values), -1)).all(1)
            if not finite.all():
                run = self._runs[int(np.argmin(finite))]
                raise RetrogradError(
                    f"the run diverged: setting '{run.setting.name}', seed {run.seed}, was "
                    f"non-finite at step {self.step}; lower its lr or its gain"
                )
        return found


def _batched(settings: Sequence[Setting], seeds: int) -> Iterator[list[Run]]:
    """The runs of all settings, those with the same shapes and length together."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        alike = {"name": "", "gain": 1.0, "lr": 1.0, "lr_kernel": None}
        groups.setdefault(setting.model_copy(update=alike).model_dump_json(), []).append(
            setting
        )
    for group in groups.values():
        yield [Run(setting, seed) for setting in group for seed in range(seeds)]


def _network(
    runs: Sequence[Run], master: int, points: int, d_in: int, d_out: int, device: torch.device
) -> Network:
    """The runs' networks at the start."""
    drawn = [
        data.initial_weights(run.setting, d_in, d_out, master, [run.seed]) for run in runs
    ]
    weights = [
        torch.tensor(np.concatenate(layer), dtype=torch.float32, device=device)
        for layer in zip(*drawn, strict=True)
    ]
    kind = runs[0].setting
    if kind.kind == "cnn":
        return Convolutional(kind, weights)
    masks = _dropout(runs, master, points, d_in, device) if kind.kind == "dropout" else None
    return Dense(kind, weights, masks)


def _dropout(
    runs: Sequence[Run], master: int, points: int, d_in: int, device: torch.device
) -> Iterator[list[Tensor]]:
    """Masks of the inputs of every linear layer, (member, point, unit), step by step."""
    network = runs[0].setting
    sizes = [d_in, *[network.width] * network.depth]
    generators = [stream(master, run.seed, "dropout") for run in runs]
    shape = (CHUNK, points, sum(sizes))
    while True:
        uniform = np.stack([g.random(shape, np.float32) for g in generators], axis=1)
        kept = torch.from_numpy(uniform).to(device) >= network.dropout
        for mask in (kept / (1 - network.dropout)).unbind():
            yield list(mask.split(sizes, dim=-1))


def _learning_rates(network: Network, x: Tensor, runs: Sequence[Run]) -> Tensor:
    """Per member, (member, 1, 1): at most lr, and lr_kernel over the largest eigenvalue of
    the tangent kernel at the inputs, the largest among the seeds of the setting."""
    largest = np.zeros(len(runs))
    if any(run.setting.lr_kernel for run in runs):
        trained = [*network.weights, *network.biases]
        with torch.enable_grad():
            for tensor in trained:
                tensor.requires_grad_(True)
            outputs = network.forward(x)[1]
            largest = tangent_kernel.largest_eigenvalue(outputs, trained).numpy()
        for tensor in trained:
            tensor.requires_grad_(False)
    rates = []
    for run in runs:
        limits = [run.setting.lr] if run.setting.lr else []
        if run.setting.lr_kernel:
            of_setting = [r.setting.name == run.setting.name for r in runs]
            limits.append(run.setting.lr_kernel / largest[of_setting].max())
        rates.append(min(limits))
    return torch.tensor(rates, dtype=x.dtype, device=x.device)[:, None, None]


def _full_batch(
    runs: Sequence[Run],
    master: int,
    x: Array,
    y: Array,
    observe: Callable[[Tensor, Tensor], Observe],
    device: torch.device,
    **options: float,
) -> Training:
    """Training on all points at every step.

    Args:
        runs: of one batch.
        master: seed.
        x: inputs, (member or 1, point, d_in).
        y: targets, (member or 1, point, d_out).
        observe: makes the observer of these points.
        device: where the tensors live.
        options: further ones of `Training`.
    """
    inputs, targets = (
        torch.tensor(a, dtype=torch.float32, device=device)
        .expand(len(runs), -1, -1)
        .contiguous()
        for a in (x, y)
    )
    network = _network(runs, master, x.shape[1], x.shape[2], y.shape[2], device)
    lr = _learning_rates(network, inputs, runs)
    return Training(
        network,
        Descent(lr),
        lambda: (inputs, targets),
        observe(inputs, targets),
        runs,
        **options,
    )


# ---- what is observed ------------------------------------------------------------------


def _double(tensor: Tensor) -> Array:
    values: Array = tensor.detach().cpu().numpy().astype(float)
    return values


def pair_observer(layers: Sequence[int]) -> Callable[[Tensor, Tensor], Observe]:
    """Of two points: h2 (member, layer), y2, w and the loss (member,)."""

    def of(x: Tensor, y: Tensor) -> Observe:
        target = _double(y)

        def observe(network: Network) -> dict[str, Array]:
            hidden, output = network.forward(x)
            read = [_double(hidden[layer]) for layer in layers]
            found = _double(output)
            dy, dy_hat = (a[:, 1] - a[:, 0] for a in (target, found))
            return {
                "h2": np.stack([((h[:, 1] - h[:, 0]) ** 2).sum(-1) for h in read], 1),
                "y2": (dy_hat**2).sum(-1),
                "w": (dy_hat * (dy_hat - dy)).sum(-1),
                "loss": HALF * ((found - target) ** 2).mean((1, 2)),
            }

        return observe

    return of


def distance_observer(
    layer: int, factor: float
) -> Callable[[Tensor, Tensor], Observe]:
    """Of many points: squared distances (member, point, point), and the loss (member,)."""

    def of(x: Tensor, y: Tensor) -> Observe:
        def observe(network: Network) -> dict[str, Array]:
            hidden, output = network.forward(x)
            error = _double(output) - _double(y)
            return {
                "distance2": squared_distances(_double(hidden[layer])),
                "loss": factor * (error**2).mean((1, 2)),
            }

        return observe

    return of


def squared_distances(h: Array) -> Array:
    """Between all points of (..., point, unit): (..., point, point)."""
    norms = (h**2).sum(-1)
    found = norms[..., :, None] + norms[..., None, :] - 2 * h @ h.mT
    same = np.eye(h.shape[-2], dtype=bool)
    return np.where(same, 0, np.maximum(found, 0))


# ---- two points ------------------------------------------------------------------------


def two_points(params: TwoPoints, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Two-point runs in every setting.

    Returns:
        h2, y2, w, loss (setting, seed, time) and converged (setting, seed).
    """
    task = data.two_points(params.dx2**0.5, params.dy2**0.5, params.d_in, params.d_out)
    recorded: dict[tuple[str, int], dict[str, Array]] = {}
    for runs in _batched(params.settings, params.seeds):
        kind = runs[0].setting
        training = _full_batch(
            runs, params.seed, task.x[None], task.y[None], pair_observer([kind.layer]), device
        )
        steps = data.record_steps(kind.steps, params.records)
        found = ensembles.follow(training, steps.tolist(), kind.name, axes=1)
        for i, run in enumerate(runs):
            recorded[run.setting.name, run.seed] = {n: v[i] for n, v in found.items()}
    values = {
        name: np.stack(
            [
                [recorded[s.name, seed][name] for seed in range(params.seeds)]
                for s in params.settings
            ]
        )
        for name in data.TRAJECTORY
    }
    values["h2"] = values["h2"][..., 0]
    final = values["loss"][..., -1]
    converged = convergence.mask(("setting", "seed"), final, params.loss_threshold)
    return xr.Dataset(
        data.trajectory(("setting", "seed", "time"), values) | {"converged": converged},
        data.two_point_coordinates(params),
    )


def layers(params: Layers, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Two-point runs of one setting: h2 (layer, seed, time), y2, w, loss (seed, time)."""
    task = data.two_points(params.dx2**0.5, params.dy2**0.5, params.d_in, params.d_out)
    setting = params.setting
    (runs,) = _batched([setting], params.seeds)
    observer = pair_observer(range(setting.hidden_layers))
    training = _full_batch(
        runs, params.seed, task.x[None], task.y[None], observer, device
    )
    steps = data.record_steps(setting.steps, params.records)
    found = ensembles.follow(training, steps.tolist(), "layers", axes=1)
    h2 = np.moveaxis(found.pop("h2"), -1, 0)
    final = found["loss"][:, -1]
    variables = data.trajectory(("seed", "time"), found)
    variables |= data.trajectory(("layer", "seed", "time"), {"h2": h2})
    variables["converged"] = convergence.mask("seed", final, params.loss_threshold)
    return xr.Dataset(variables, data.layer_coordinates(params))


def grid(params: Grid, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """One network per pair of distances and seed, all in one batch.

    Returns:
        h2 and y2 (moment, dx, dy, seed), at the start and the end; loss (dx, dy, seed) at
        the end, and converged.
    """
    cells = [(dx, dy) for dx in params.dx for dy in params.dy]
    # A cell's networks are its own: run i of cell c draws from stream c · seeds + i.
    runs = [Run(params.setting, run) for run in range(len(cells) * params.seeds)]
    tasks = [data.two_points(*cell) for cell in cells for _ in range(params.seeds)]
    training = _full_batch(
        runs,
        params.seed,
        np.stack([task.x for task in tasks]),
        np.stack([task.y for task in tasks]),
        pair_observer([params.setting.layer]),
        device,
        stop_loss=params.stop_loss,
    )
    found = ensembles.follow(training, [0, params.setting.steps], "grid", axes=1)
    run = ("dx", "dy", "seed")
    shape = (len(params.dx), len(params.dy), params.seeds)
    h2, y2 = (
        np.moveaxis(values.reshape(*shape, 2), -1, 0) for values in (found["h2"], found["y2"])
    )
    loss = found["loss"][:, -1].reshape(shape)
    return xr.Dataset(
        {
            "h2": variable(("moment", *run), h2, data.TRAJECTORY["h2"]),
            "y2": variable(("moment", *run), y2, data.TRAJECTORY["y2"]),
            "loss": variable(run, loss, "loss at the end"),
            "converged": convergence.mask(run, loss, params.loss_threshold),
        },
        data.seed_coordinate(params.seeds)
        | data.grid_coordinates(params)
        | data.moment_coordinate(),
    )


# ---- many points -----------------------------------------------------------------------


def xor(params: Xor, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Networks that learn XOR.

    Returns:
        distance2 (setting, moment, seed, point, other_point), start and end; loss and
        converged (setting, seed).
    """
    task = data.xor()
    distances, losses = [], []
    for setting in params.settings:
        (runs,) = _batched([setting], params.seeds)
        training = _full_batch(
            runs,
            params.seed,
            task.x[None],
            task.y[None],
            distance_observer(setting.layer, WHOLE),
            device,
            factor=WHOLE,
            stop_loss=params.stop_loss,
        )
        found = ensembles.follow(training, [0, setting.steps], setting.name, axes=1)
        distances.append(np.moveaxis(found["distance2"], 1, 0))
        losses.append(found["loss"][:, -1])
    return xr.Dataset(
        {
            "distance2": variable(
                ("setting", "moment", "seed", "point", "other_point"),
                np.stack(distances),
                "squared distance of two representations",
            ),
            "loss": variable(("setting", "seed"), np.stack(losses), "loss at the end"),
            "converged": convergence.mask(
                ("setting", "seed"), np.stack(losses), params.loss_threshold
            ),
        },
        data.seed_coordinate(params.seeds)
        | data.xor_coordinates(params)
        | data.moment_coordinate(),
    )


def _mini_batches(
    task: data.Task, runs: Sequence[Run], master: int, size: int, device: torch.device
) -> Samples:
    """Every run's own mini-batches."""
    x, y = (
        torch.tensor(a, dtype=torch.float32, device=device) for a in (task.x, task.y)
    )
    orders = [data.batches(master, run.seed, size, len(task.x)) for run in runs]

    def samples() -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(np.stack([next(order) for order in orders])).to(device)
        return x[chosen], y[chosen]

    return samples


def _regime(
    regime: Regime,
    params: Digits | Context,
    task: data.Task,
    shown: data.Task,
    observe: Callable[[Tensor, Tensor], Observe],
    device: torch.device,
) -> Training:
    """Training on a task, in mini-batches if asked, observed at the shown points."""
    (runs,) = _batched([regime], params.seeds)
    x, y = (
        torch.tensor(a, dtype=torch.float32, device=device)
        .expand(len(runs), -1, -1)
        .contiguous()
        for a in (shown.x, shown.y)
    )
    network = _network(
        runs, params.seed, params.batch or len(task.x), x.shape[2], y.shape[2], device
    )
    lr = _learning_rates(network, x, runs)
    optimiser = Adam(lr) if regime.optimiser == "adam" else Descent(lr)
    samples: Samples = lambda: (x, y)  # noqa: E731
    if params.batch:
        samples = _mini_batches(task, runs, params.seed, params.batch, device)
    return Training(network, optimiser, samples, observe(x, y), runs)


def digits(params: Digits, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Networks that learn classes of images.

    Returns:
        Of squared distances D² among the shown images: class_mean (regime, moment, seed,
        image_class, other_class) over pairs of two images, class_mean_square at the end;
        relative_change of D; portrait (regime, image, other_image), D of the first seed,
        coarsely; loss and converged (regime, seed). Of a run in which one pair is
        followed: h2, y2, w, loss (seed, time), pair_converged (seed,).
    """
    images = data.images(params)
    means, squares, changes, portraits, losses = [], [], [], [], []
    for regime in params.regimes:
        observer = distance_observer(regime.layer, HALF)
        training = _regime(
            regime, params, images.task, images.shown_task, observer, device
        )
        found = ensembles.follow(training, [0, regime.steps], regime.name, axes=1)
        distance2 = np.moveaxis(found["distance2"], 1, 0)
        means.append(class_means(distance2, images.classes))
        squares.append(class_means(distance2[1] ** 2, images.classes))
        changes.append(relative_change(np.sqrt(distance2)))
        portraits.append(_coarse(np.sqrt(distance2[1, 0])))
        losses.append(found["loss"][:, -1])
    run, of_classes = ("regime", "seed"), ("image_class", "other_class")
    variables = {
        "class_mean": variable(
            ("regime", "moment", "seed", *of_classes),
            np.stack(means),
            "mean squared distance of two images' representations",
        ),
        "class_mean_square": variable(
            (*run, *of_classes), np.stack(squares), "mean of the square of that at the end"
        ),
        "relative_change": variable(
            run, np.stack(changes), "change of all distances, relative to the start"
        ),
        "portrait": variable(
            ("regime", "image", "other_image"),
            np.stack(portraits),
            f"distances at the end, seed 0, over the largest, to 1/{LEVELS}",
        ),
        "regime_loss": variable(run, np.stack(losses), "loss of the shown images"),
        "converged": convergence.mask(run, np.stack(losses), params.loss_threshold),
    }
    variables |= _pair(params, images, device)
    return xr.Dataset(variables, data.digits_coordinates(params, images))


def _pair(
    params: Digits, images: data.ImageTask, device: torch.device
) -> dict[str, xr.Variable]:
    """One image of class 0 and one of class 1, followed while all are learned."""
    a, b = images.pair
    shown = images.shown_task
    pair = data.Task(shown.x[[a, b]], shown.y[[a, b]])
    training = _regime(
        params.pair, params, images.task, pair, pair_observer([params.pair.layer]), device
    )
    steps = data.record_steps(params.pair.steps, params.records)
    found = ensembles.follow(training, steps.tolist(), "pair", axes=1)
    found["h2"] = found["h2"][..., 0]
    mask = convergence.mask("seed", found["loss"][:, -1], params.loss_threshold)
    return data.trajectory(("seed", "time"), found) | {"pair_converged": mask}


def class_means(values: Array, classes: NDArray[np.int64]) -> Array:
    """Means over pairs of two different images, from (..., image, image) by class."""
    member = (classes[:, None] == np.arange(data.CLASSES)).astype(float)
    counts = member.T @ (1 - np.eye(len(classes))) @ member
    means: Array = member.T @ values @ member / counts
    return means


def relative_change(distances: Array) -> Array:
    """|D_end − D_start| / |D_start| from (moment, seed, point, point)."""
    start, end = distances
    change: Array = np.linalg.norm(end - start, axis=(-1, -2)) / np.linalg.norm(
        start, axis=(-1, -2)
    )
    return change


def _coarse(distances: Array) -> NDArray[np.float32]:
    """Over the largest, in few levels, which no eye tells apart and which pack well."""
    levels = np.round(distances / distances.max() * LEVELS) / LEVELS
    return levels.astype(np.float32)


def context(params: Context, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Networks that learn which of two features matters in a context.

    Returns:
        relevant, irrelevant (regime, moment, seed): variance of the class means of either
        feature; embedding (regime, axis, sample), the first principal axes of the first
        seed's representation at the end; sample_context, first, second (sample,); loss
        and converged (regime, seed).
    """
    task, index = data.context_task(params)
    found: dict[str, list[Array]] = {n: [] for n in ("relevant", "irrelevant", "loss")}
    embeddings = []
    for regime in params.regimes:

        def observer(x: Tensor, y: Tensor, layer: int = regime.layer) -> Observe:
            return lambda network: _feature_variances(network, x, y, layer, index)

        training = _regime(regime, params, task, task, observer, device)
        recorded = ensembles.follow(training, [0, regime.steps], regime.name, axes=1)
        embeddings.append(np.moveaxis(recorded["embedding"][0, -1], -1, 0))
        for name, values in found.items():
            values.append(np.moveaxis(recorded[name], 1, 0))
    run = ("regime", "moment", "seed")
    loss = np.stack(found["loss"])[:, 1]
    variables = {
        name: variable(run, np.stack(found[name]), f"variance of class means, {name} feature")
        for name in ("relevant", "irrelevant")
    }
    variables |= {
        "embedding": variable(
            ("regime", "axis", "sample"),
            np.stack(embeddings).astype(np.float32),
            "principal coordinates of the representations, seed 0",
            tolerance=1e-3,
        ),
        "loss": variable(("regime", "seed"), loss, "loss at the end"),
        "converged": convergence.mask(("regime", "seed"), loss, params.loss_threshold),
    }
    return xr.Dataset(variables, data.context_coordinates(params, index))


def _feature_variances(
    network: Network, x: Tensor, y: Tensor, layer: int, index: NDArray[np.int64]
) -> dict[str, Array]:
    hidden, output = network.forward(x)
    h = _double(hidden[layer])
    variances = feature_variances(h, index)
    return {
        "relevant": variances[0],
        "irrelevant": variances[1],
        "embedding": principal_coordinates(h),
        "loss": HALF * ((_double(output) - _double(y)) ** 2).mean((1, 2)),
    }


def feature_variances(h: Array, index: NDArray[np.int64]) -> tuple[Array, Array]:
    """Variance of the class means of the relevant and of the irrelevant feature.

    Within a context, representations (member, sample, unit) are averaged over all samples
    with one value of a feature; the variance of these means, summed over units, is
    averaged over contexts.

    Args:
        h: representations.
        index: context, place of m1 and of m2, (sample, 3); m1 is relevant in context 0.
    """
    found = np.zeros((2, len(h)))
    for context in range(2):
        for feature in range(2):
            means = [
                h[:, (index[:, 0] == context) & (index[:, 1 + feature] == place)].mean(1)
                for place in range(int(index[:, 1].max()) + 1)
            ]
            variance = np.stack(means).var(0).sum(-1)
            found[int(feature != context)] += variance / 2
    return found[0], found[1]


def principal_coordinates(h: Array, axes: int = data.AXES) -> Array:
    """Classical scaling of (member, sample, unit): (member, sample, axis).

    An axis points where its largest coordinate is positive.
    """
    centred = h - h.mean(1, keepdims=True)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found: Array = left[..., :axes] * values[:, None, :axes]
    peak = np.take_along_axis(found, np.abs(found).argmax(1, keepdims=True), axis=1)
    return found * np.sign(peak)
