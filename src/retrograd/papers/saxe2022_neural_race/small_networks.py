"""Small networks: ReLU, gated and linear ones on XoR (M1, M2), and the contextual task.

The gated and linear ones are gated deep linear networks that descend by their paths. All
seeds are one program in float64, with gradients by hand.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from retrograd import gated_networks as gdln
from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race import data
from retrograd.papers.saxe2022_neural_race.params import Gating

Array = NDArray[np.float64]


def cell_types(W1: Array, w2: Array) -> Array:
    """Σ |w2| |w1| cos, over Σ |w2| |w1|, with the cosine to the nearest (±1, ±1)/√2."""
    along = abs(W1).sum(-1) / np.sqrt(2)  # |w1| times that cosine
    weight = abs(w2)
    aligned: Array = (weight * along).sum(-1)
    return aligned / (weight * np.linalg.norm(W1, axis=-1)).sum(-1)


class XorNetworks:
    """Networks of ReLU units (M1), of gated paths (M2) and of linear units, all seeds.

    ReLU: `W1` (seed, unit, input), `w2` (seed, unit). The others are gated deep linear
    networks, by the path form; all start from the same draws.
    """

    def __init__(self, params: Gating) -> None:
        self.epoch, self._lr = 0, 1 / params.xor.tau
        xor = params.xor
        drawn = [
            data.xor_weights(params.seed, run, xor.N_h, xor.sigma_0)
            for run in range(params.seeds)
        ]
        self.W1, self.w2 = (np.stack(parts) for parts in zip(*drawn, strict=True))
        graph, examples = data.xor_network(params.xor.N_h)
        groups = np.split(np.arange(params.xor.N_h), len(data.XOR_X))
        weights = {f"in{p}": self.W1[:, group] for p, group in enumerate(groups)}
        weights |= {f"out{p}": self.w2[:, None, group] for p, group in enumerate(groups)}
        self.gated = PathDescent(graph, gdln.correlations(graph, examples), weights)
        single = gdln.Graph(
            {"x": 2, "h": params.xor.N_h, "y": 1}, {"in": ("x", "h"), "out": ("h", "y")}
        )
        ungated = gdln.Examples(examples.x, examples.y)
        self.linear = PathDescent(
            single,
            gdln.correlations(single, ungated),
            {"in": self.W1.copy(), "out": self.w2[:, None].copy()},
        )

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        start = self.epoch
        while self.epoch < step:
            self._step_relu()
            self.gated.step(self._lr)
            self.linear.step(self._lr)
            self.epoch += 1
        for name, loss in zip(data.XOR_NETWORKS, self._losses(), strict=True):
            _check_finite(loss, f"the {name} network on XoR", "seed", self.epoch)
        report(self.epoch - start)

    def _fields(self) -> tuple[Array, Array]:
        """Of ReLU units: fields (seed, example, unit) and errors y − ŷ (seed, example)."""
        field = np.einsum("shi,ni->snh", self.W1, data.XOR_X)
        out = np.einsum("snh,sh->sn", np.maximum(field, 0), self.w2)
        return field, data.XOR_Y - out

    def _step_relu(self) -> None:
        field, error = self._fields()
        step = self._lr / len(data.XOR_X)
        back = error[..., None] * (field > 0)  # a ReLU at exactly 0 is off
        d_w2 = np.einsum("sn,snh->sh", error, np.maximum(field, 0))
        d_W1 = self.w2[..., None] * np.einsum("snh,ni->shi", back, data.XOR_X)
        self.w2, self.W1 = self.w2 + step * d_w2, self.W1 + step * d_W1

    def _losses(self) -> list[Array]:
        relu = 0.5 * (self._fields()[1] ** 2).mean(-1)
        return [relu, self.gated.loss(), self.linear.loss()]

    def record(self) -> dict[str, Array]:
        """loss (seed, network)."""
        return {"loss": np.stack(self._losses(), axis=-1)}


class PathDescent:
    """A gated deep linear network that descends by its paths (T1), all seeds at once."""

    def __init__(
        self, graph: gdln.Graph, of: gdln.Correlations, weights: Mapping[str, Array]
    ) -> None:
        self.graph, self.of = graph, of
        self.weights: dict[str, Array] = dict(weights)

    def step(self, lr: float) -> None:
        down = gdln.descent(self.graph, self.weights, self.of)
        self.weights = {name: w + lr * down[name] for name, w in self.weights.items()}

    def loss(self) -> Array:
        return gdln.path_loss(self.graph, self.weights, self.of)


class ContextualNetworks:
    """The contextual task with a path per context and with one path, from product a₀.

    The hidden directions are random, and have no effect on the losses.
    """

    def __init__(self, params: Gating) -> None:
        self.epoch, self._lr = 0, 1 / params.contextual.tau
        task = params.contextual
        self.networks = []
        for paths in data.CONTEXTUAL_PATHS:
            problem = data.contextual(paths, task.hidden)
            weights: dict[str, Array] = {}
            for p, frame in enumerate(problem.frames):
                direction = data.hidden_direction(params.seed, p, task.hidden)
                layer = np.sqrt(task.a_0) * direction
                weights |= {f"in{p}": layer[:, None] * frame, f"out{p}": layer[None]}
            self.networks.append(PathDescent(problem.graph, problem.of, weights))

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        start = self.epoch
        while self.epoch < step:
            for network in self.networks:
                network.step(self._lr)
            self.epoch += 1
        losses = self.record()["loss"]
        _check_finite(losses, "the contextual task", "network", self.epoch)
        report(self.epoch - start)

    def record(self) -> dict[str, Array]:
        """loss (network,)."""
        return {"loss": np.stack([network.loss() for network in self.networks])}


def _check_finite(loss: Array, what: str, axis: str, epoch: int) -> None:
    if not np.isfinite(loss).all():
        index = int((~np.isfinite(loss)).argmax())
        raise RetrogradError(
            f"the run diverged: {what}, {axis} {index}, was non-finite at epoch {epoch}; "
            "raise tau, the inverse learning rate"
        )
