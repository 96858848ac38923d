"""Runs that advance together: their weights, samples, learning rates, and steps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd import tangent_kernel
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
from retrograd.papers.vanrossem2024_representations_align.observables import (
    HALF,
    Observe,
    Observer,
)
from retrograd.papers.vanrossem2024_representations_align.params import Regime, Setting
from retrograd.randomness import stream

Array = NDArray[np.float64]
Samples = Callable[[], tuple[Tensor, Tensor]]
CHECK_EVERY = 100  # steps between looks at whether every run has stopped
CHUNK = 50  # steps whose dropout masks are drawn at once


@dataclass(frozen=True)
class Run:
    """One member of a batch."""

    setting: Setting
    seed: int
    """index of the run's random streams"""


class Training:
    """Runs that advance together (`ensembles.Ensemble`)."""

    def __init__(
        self,
        runs: Sequence[Run],
        network: Network,
        optimiser: Optimiser,
        samples: Samples,
        observe: Observe,
        *,
        factor: float = HALF,
        stop_loss: float = 0.0,
    ) -> None:
        """The loss is `factor` times the mean squared error; a run whose loss is below
        `stop_loss` stops, whatever the others do."""
        self.network, self.optimiser, self.step = network, optimiser, 0
        self._runs, self._samples, self._observe = runs, samples, observe
        self._factor, self._stop = factor, stop_loss

    @torch.no_grad()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`."""
        start, lr = self.step, self.optimiser.lr
        while self.step < step:
            if self._stop and self.step % CHECK_EVERY == 0 and not lr.any():
                self.step = step
                break
            error = self.network.descend(*self._samples(), self._factor, self.optimiser)
            if self._stop:
                # The step before which the loss was so low is the last one.
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


def batched(settings: Sequence[Setting], seeds: int) -> Iterator[list[Run]]:
    """The runs of all settings, those with the same shapes and length together."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        alike = {"name": "", "gain": 1.0, "lr": 1.0, "lr_kernel": None}
        key = setting.model_copy(update=alike).model_dump_json()
        groups.setdefault(key, []).append(setting)
    for group in groups.values():
        yield [Run(setting, seed) for setting in group for seed in range(seeds)]


def full_batch(
    runs: Sequence[Run],
    master: int,
    x: Array,
    y: Array,
    observer: Observer,
    device: torch.device,
    *,
    factor: float = HALF,
    stop_loss: float = 0.0,
) -> Training:
    """Plain gradient descent on all points at every step.

    Args:
        runs: of one batch.
        master: seed.
        x: inputs, (member or 1, point, d_in).
        y: targets, (member or 1, point, d_out).
        observer: of these points.
        device: where the tensors live.
        factor: of the mean squared error.
        stop_loss: see `Training`.
    """
    inputs, targets = _tensors(len(runs), x, y, device)
    network = build(runs, master, x.shape[1], x.shape[2], y.shape[2], device)
    optimiser = Descent(learning_rates(network, inputs, runs))
    return Training(
        runs,
        network,
        optimiser,
        lambda: (inputs, targets),
        observer(inputs, targets),
        factor=factor,
        stop_loss=stop_loss,
    )


def mini_batch(
    regime: Regime,
    seeds: int,
    master: int,
    task: data.Task,
    size: int,
    shown: data.Task,
    observer: Observer,
    device: torch.device,
) -> Training:
    """Training of every seed on its own mini-batches, observed at the shown points."""
    (runs,) = batched([regime], seeds)
    x, y = _tensors(len(runs), shown.x[None], shown.y[None], device)
    network = build(runs, master, size, x.shape[2], y.shape[2], device)
    lr = learning_rates(network, x, runs)
    optimiser = Adam(lr) if regime.optimiser == "adam" else Descent(lr)
    all_x, all_y = (a[0] for a in _tensors(1, task.x[None], task.y[None], device))
    orders = [data.batches(master, run.seed, size, len(task.x)) for run in runs]

    def samples() -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(np.stack([next(order) for order in orders])).to(device)
        return all_x[chosen], all_y[chosen]

    return Training(runs, network, optimiser, samples, observer(x, y))


def _tensors(
    members: int, x: Array, y: Array, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Inputs and targets for every member, in float32."""
    inputs, targets = (
        torch.tensor(a, dtype=torch.float32, device=device)
        .expand(members, -1, -1)
        .contiguous()
        for a in (x, y)
    )
    return inputs, targets


def build(
    runs: Sequence[Run],
    master: int,
    points: int,
    d_in: int,
    d_out: int,
    device: torch.device,
) -> Network:
    """The runs' networks at the start; `points` is the number per step."""
    drawn = [
        data.initial_weights(run.setting, d_in, d_out, master, run.seed) for run in runs
    ]
    weights = [
        torch.tensor(np.stack(layer), dtype=torch.float32, device=device)
        for layer in zip(*drawn, strict=True)
    ]
    kind = runs[0].setting
    if kind.kind == "cnn":
        return Convolutional(kind, weights)
    masks = None
    if kind.kind == "dropout":
        masks = dropout_masks(runs, master, points, d_in, device)
    return Dense(kind, weights, masks)


def dropout_masks(
    runs: Sequence[Run], master: int, points: int, d_in: int, device: torch.device
) -> Iterator[list[Tensor]]:
    """Factors of the inputs of every linear layer, (member, point, unit), step by step."""
    network = runs[0].setting
    sizes = [d_in, *[network.width] * network.depth]
    generators = [stream(master, run.seed, "dropout") for run in runs]
    shape = (CHUNK, points, sum(sizes))
    while True:
        uniform = np.stack([g.random(shape, np.float32) for g in generators], axis=1)
        kept = torch.from_numpy(uniform).to(device) >= network.dropout
        for mask in (kept / (1 - network.dropout)).unbind():
            yield list(mask.split(sizes, dim=-1))


def learning_rates(network: Network, x: Tensor, runs: Sequence[Run]) -> Tensor:
    """Per member, (member, 1, 1): at most lr, and at most lr_kernel over the largest
    eigenvalue of the tangent kernel at x, the largest among the setting's seeds."""
    largest = np.ones(len(runs))
    if any(run.setting.lr_kernel for run in runs):
        trained = [*network.weights, *network.biases]
        with torch.enable_grad():
            for tensor in trained:
                tensor.requires_grad_(True)
            outputs = network.forward(x)[1]
            largest = tangent_kernel.largest_eigenvalue(outputs, trained).numpy()
        for tensor in trained:
            tensor.requires_grad_(False)
    names = np.array([run.setting.name for run in runs])
    rates = []
    for run in runs:
        limits = [run.setting.lr] if run.setting.lr else []
        if run.setting.lr_kernel:
            of_setting = largest[names == run.setting.name]
            limits.append(run.setting.lr_kernel / float(of_setting.max()))
        rates.append(min(limits))
    return torch.tensor(rates, dtype=x.dtype, device=x.device)[:, None, None]
