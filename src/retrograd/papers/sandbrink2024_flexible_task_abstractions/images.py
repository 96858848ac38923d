"""Two labellings of the same images, learned in blocks by a gated read-out.

A network is trained once on the first labelling and frozen. Its last hidden features f
feed y = Σ_p c^p W^p f, trained on cross-entropy and the bounds of the gates: the gated
network's equations, with G = ⟨(one-hot − softmax(y)) fᵀ⟩ instead of D X̂.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from retrograd import curricula, datasets, ensembles
from retrograd.errors import RetrogradError
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from retrograd.papers.sandbrink2024_flexible_task_abstractions.networks import Bounds
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import Images
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
CLASSES = 10
AT_ONCE = 5000  # images that pass through the frozen network together
HIDDEN = 64  # features


def train_images(params: Images, device: torch.device) -> xr.Dataset:
    """Train the frozen network, then the gated read-outs of all runs.

    Returns:
        Per block (seed, condition, block): steps_to_accuracy, from the switch until the
        test accuracy for the block's labelling first reaches `accuracy`; accuracy_end.
        At `offsets` after switches the mean over seeds (condition, time): accuracy, its
        standard error accuracy_error, and c (..., path), where path 0 is the one with the
        larger gate at the end of the last block of task 0. And network_accuracy, of the
        frozen network on test images.

    A record at a switch belongs to the block that it ends: its accuracy is the old task's.
    """
    tasks = curricula.cyclic(range(len(params.orders)), params.blocks, params.block_steps)
    images = datasets.named(params.dataset)
    network = Backbone(params, images, device)
    readout = GatedReadout(params, images, network, device)
    steps = np.arange(0, tasks.steps + 1, params.record_every)
    recorded = ensembles.follow(readout, steps.tolist(), f"read-out of {params.dataset}")
    reached = recorded["accuracy"] >= params.accuracy
    ends = np.searchsorted(steps, tasks.last_steps + 1)
    end_of_task_0 = ends[np.flatnonzero(tasks.tasks == 0)[-1]]
    order = np.argsort(-recorded["c"][:, :, end_of_task_0], axis=-1, kind="stable")
    c = np.take_along_axis(recorded["c"], order[:, :, None], axis=-1)
    kept = np.searchsorted(steps, tasks.after_switches(params.offsets))
    accuracy = recorded["accuracy"][:, :, kept]
    run, series = ("seed", "condition", "block"), ("condition", "time")
    until = _steps_until(reached, tasks, steps)
    text = f"steps from a switch until the test accuracy is {params.accuracy:g}"
    return xr.Dataset(
        {
            "steps_to_accuracy": variable(run, until, text),
            "accuracy_end": variable(
                run, recorded["accuracy"][:, :, ends], "test accuracy at block end"
            ),
            "network_accuracy": variable(
                (), network.accuracy(images), "test accuracy of the frozen network"
            ),
            "accuracy": _float32(series, accuracy.mean(0), "mean test accuracy"),
            "accuracy_error": _float32(
                series, data.standard_error(accuracy), "standard error of the test accuracy"
            ),
            "c": _float32((*series, "path"), c[:, :, kept].mean(0), "mean gates"),
        },
        {
            "seed": data.index("seed", params.seeds, "index of the run's random streams"),
            "condition": variable("condition", list(params.regimes), "condition"),
            "block": data.index("block", params.blocks, "block"),
            "time": variable("time", steps[kept], "step of training"),
            "path": data.index("path", params.paths, "student"),
        },
    )


def _steps_until(
    reached: NDArray[np.bool_], tasks: curricula.Curriculum, steps: NDArray[np.int64]
) -> Array:
    # The record at a switch was judged by the task before, so it cannot count.
    within = ~np.isin(steps, tasks.starts)
    return curricula.steps_until(reached[..., within], tasks, steps[within])


def _float32(dims: tuple[str, ...], values: Array, long_name: str) -> xr.Variable:
    return variable(dims, values.astype(np.float32), long_name)


class Backbone:
    """The frozen network: trained on the first labelling, then a source of features."""

    def __init__(
        self, params: Images, images: datasets.Labelled, device: torch.device
    ) -> None:
        self._device = device
        self._order = np.array(data.ORDERS[params.orders[0]])
        pixels = images.train_x.shape[1]
        layers = _mlp(pixels) if params.network == "mlp" else _cnn(pixels)
        self._features = nn.Sequential(*layers).to(device)
        self._readout = nn.Linear(HIDDEN, CLASSES).to(device)
        _initialise([self._features, self._readout], params.seed)
        self._train(params, images)
        self._scale = 1.0
        if params.feature_norm is not None:
            norms = self.features(images.train_x).norm(dim=-1)
            self._scale = params.feature_norm / float(norms.mean())

    def _train(self, params: Images, images: datasets.Labelled) -> None:
        weights = [*self._features.parameters(), *self._readout.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=params.network_rate)
        rng = stream(params.seed, 0, "batches of the frozen network")
        labels = self._order[images.train_y]
        for _ in range(params.network_steps):
            chosen = rng.integers(len(labels), size=params.network_batch)
            x = self._pixels(images.train_x[chosen])
            y = torch.from_numpy(labels[chosen]).to(self._device)
            loss = nn.functional.cross_entropy(self._readout(self._features(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _pixels(self, x: NDArray[np.float32]) -> Tensor:
        """From [0, 1] to [−1, 1]."""
        return torch.from_numpy(2 * x - 1).to(self._device)

    @torch.inference_mode()
    def features(self, x: NDArray[np.float32]) -> Tensor:
        """Last hidden layer, scaled, (image, HIDDEN)."""
        pieces = np.array_split(x, -(-len(x) // AT_ONCE))
        return self._scale * torch.cat([self._features(self._pixels(p)) for p in pieces])

    @torch.inference_mode()
    def accuracy(self, images: datasets.Labelled) -> float:
        """Fraction of test images that get the label they were trained with."""
        found = self._readout(self.features(images.test_x) / self._scale).argmax(-1)
        return float(np.mean(found.cpu().numpy() == self._order[images.test_y]))


def _mlp(pixels: int) -> list[nn.Module]:
    return [nn.Linear(pixels, 128), nn.Sigmoid(), nn.Linear(128, HIDDEN), nn.ReLU()]


def _cnn(pixels: int) -> list[nn.Module]:
    side = round(pixels**0.5)
    flat = 3 * (side - 4) ** 2
    return [
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, 3, 4),
        nn.MaxPool2d(2, stride=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 512),
        nn.Sigmoid(),
        nn.Linear(512, HIDDEN),
        nn.ReLU(),
    ]


def _initialise(modules: list[nn.Module], seed: int) -> None:
    """torch's own initial distribution, ± 1/√fan_in, from our streams."""
    rng = stream(seed, 0, "frozen network")
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                bound = layer.weight[0].numel() ** -0.5
                for weights in layer.parameters():  # weight, then bias
                    drawn = rng.uniform(-bound, bound, tuple(weights.shape))
                    weights.data.copy_(torch.from_numpy(drawn))


class GatedReadout:
    """y = Σ_p c^p W^p f for all runs: W (seed, condition, path, class, feature)."""

    def __init__(
        self,
        params: Images,
        images: datasets.Labelled,
        network: Backbone,
        device: torch.device,
    ) -> None:
        self.params, self._device, self.step = params, device, 0
        self._train_f, self._test_f = map(network.features, (images.train_x, images.test_x))
        orders = np.array([data.ORDERS[name] for name in params.orders])
        self._train_y, self._test_y = (
            torch.from_numpy(orders[:, y]).to(device)
            for y in (images.train_y, images.test_y)
        )
        self._streams = [stream(params.seed, s, "images") for s in range(params.seeds)]
        regimes = list(params.regimes.values())
        shape = (params.paths, CLASSES, HIDDEN)
        drawn = [
            stream(params.seed, s, "students").standard_normal(shape)
            for s in range(params.seeds)
        ]
        W = params.weight_scale / np.sqrt(HIDDEN) * np.stack(drawn)[:, None]
        self.W = self._tensor(np.repeat(W, len(regimes), axis=1))
        self.c = torch.full((*self.W.shape[:3], 1, 1), 0.5, device=device)
        self._rate_w, self._rate_c, lambda_norm, lambda_nonneg = (
            self._tensor(np.array([getattr(r, name) for r in regimes])[:, None, None, None])
            for name in ("rate_w", "rate_c", "lambda_norm", "lambda_nonneg")
        )
        self._bounds = Bounds(1, lambda_norm, lambda_nonneg, (-3, -2, -1))

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def _task(self, step: int) -> int:
        return step // self.params.block_steps % len(self.params.orders)

    @torch.inference_mode()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`.

        Raises:
            RetrogradError: a run went non-finite; names seed, condition and step.
        """
        first = self.step
        while self.step < step:
            size = self.params.batch
            drawn = [rng.integers(len(self._train_f), size=size) for rng in self._streams]
            chosen = torch.from_numpy(np.stack(drawn)).to(self._device)
            f = self._train_f[chosen][:, None]  # (seed, 1, image, feature)
            y = self._train_y[self._task(self.step)][chosen][:, None]
            self._update(f, y)
            self.step += 1
        finite = self.c.isfinite().flatten(2).all(-1)
        if not finite.all():
            seed, condition = (~finite).nonzero()[0].tolist()
            raise RetrogradError(
                f"the run diverged: condition '{list(self.params.regimes)[condition]}', "
                f"seed {seed}, went non-finite by step {self.step}; lower rate_w or rate_c"
            )
        report(self.step - first)

    def _update(self, f: Tensor, y: Tensor) -> None:
        """A step on features f (seed, 1, image, feature) and labels y (seed, 1, image)."""
        residual = -torch.softmax(f @ (self.c * self.W).sum(2).mT, -1)
        residual += nn.functional.one_hot(y, CLASSES)
        G = (residual.mT @ f)[:, :, None] / f.shape[-2]
        drive = (self.W * G).sum((-2, -1), keepdim=True)
        self.W.addcmul_(self.c * self._rate_w, G)
        self._bounds.descend(drive, self.c)
        self.c.addcmul_(drive, self._rate_c)

    @torch.inference_mode()
    def record(self) -> dict[str, Array]:
        """Test accuracy (seed, condition) for the last step's labels; c (..., path)."""
        map_ = (self.c * self.W).sum(2).flatten(0, 2)
        found = (self._test_f @ map_.mT).unflatten(-1, (*self.W.shape[:2], CLASSES))
        y = self._test_y[self._task(max(self.step - 1, 0))][:, None, None]
        accuracy = (found.argmax(-1) == y).double().mean(0)
        c = self.c[..., 0, 0].double()
        return {"accuracy": accuracy.cpu().numpy(), "c": c.cpu().numpy().copy()}
