"""The simulation: online SGD of all conditions and seeds as one batched program.

Loss: the batch mean of (f − y)², f = (1/K) Σ_k act(w_k·x + b_k), labels y in {0, 1}. A step
is two batched matrix products per condition, over all seeds and units, by hand-written
gradients in float32. Seeds share their inputs unless told otherwise; how many are in a
batch changes the rounding of the products, not the random numbers.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import ensembles
from retrograd.errors import RetrogradError
from retrograd.papers.lufkin2024_localization import data
from retrograd.papers.lufkin2024_localization.params import (
    Batches,
    Components,
    Training,
    stimulus,
)
from retrograd.papers.lufkin2024_localization.stimuli import ising_spins, sampler
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
CHECK_EVERY = 500  # steps


def train(
    params: Training | Batches, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """Train every run and record it.

    Returns:
        What `data.recorded` describes, and loss (condition, record), the mean over seeds of
        the loss on the next batch, before it is learnt from.

    Raises:
        RetrogradError: a run went non-finite; names condition, seed and step.
    """
    if isinstance(params, Batches):
        products = [train(batch, inputs, device) for batch in params.each()]
        return data.concat_batches(products)
    ensemble = Ensemble(params, device)
    what = f"{params.stimuli[0]}, ..., N={params.N}"
    found = ensembles.follow(ensemble, params.record_at, what)
    product = data.recorded(params, found["w"])
    loss = found["loss"].mean(1)
    text = "mean squared error on the next batch, mean over seeds"
    return product.assign(loss=variable(("condition", "record"), loss, text))


class TorchNoise:
    """White noise of every stream of inputs, as float32 tensors on a device.

    Every stream is Philox. On the CPU uniforms are numpy's, and normals are made of them by
    Box & Muller with torch, three times as fast as numpy's own. A GPU draws its own
    numbers, as many as no CPU could, so that a device gives one set of inputs and another
    device another.
    """

    def __init__(self, params: Training, device: torch.device) -> None:
        streams = params.seeds if params.independent_data else 1
        name = f"inputs, N={params.N}, B={params.B}, {params.dependence}"
        self._rngs = [stream(params.seed, run, name) for run in range(streams)]
        self._device = device
        self._generators = [
            torch.Generator(device).manual_seed(int(rng.integers(2**63)))
            for rng in self._rngs
            if device.type != "cpu"
        ]

    def array(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def uniform(self, *shape: int) -> Tensor:
        if self._generators:
            return torch.stack(
                [
                    torch.rand(shape, generator=g, device=self._device)
                    for g in self._generators
                ]
            )
        drawn = np.empty((len(self._rngs), *shape), np.float32)
        for rng, out in zip(self._rngs, drawn, strict=True):
            rng.random(out=out, dtype=np.float32)
        return torch.from_numpy(drawn)

    def normal(self, *shape: int) -> Tensor:
        """By Box & Muller: √(−2 ln U) times cosine and sine of a uniform angle."""
        count = math.prod(shape)
        half = (count + 1) // 2
        drawn = self.uniform(2, half)
        radius = (1 - drawn[:, 0]).log_().mul_(-2).sqrt_()  # 1 − U is never 0
        angle = drawn[:, 1].mul_(2 * math.pi)
        normals = torch.cat([radius * angle.cos(), radius * angle.sin()], -1)
        return normals[:, :count].reshape(-1, *shape)

    def spins(self, rows: int, N: int, J: float) -> Tensor:
        drawn = np.stack([ising_spins(rng, rows, N, J) for rng in self._rngs])
        return torch.from_numpy(drawn).to(self._device)


class Ensemble:
    """All runs of one experiment: weights, inputs, and the batched SGD step.

    With C conditions, D streams of inputs (1, or one per seed) and R seeds per stream,
    `w` is (C·D, R·K, N) and `b`, if there are biases, (C·D, 1, R·K).
    """

    def __init__(self, params: Training, device: torch.device) -> None:
        self.params, self.step = params, 0
        noise = TorchNoise(params, device)
        self._sample = sampler(params, noise)
        self._streams = params.seeds if params.independent_data else 1
        self._groups = len(params.stimuli) * self._streams
        start = noise.array(data.initial_weights(params))
        start = start.reshape(self._streams, -1, params.N)
        self.w = start.repeat(len(params.stimuli), 1, 1)
        self.b = torch.zeros(self._groups, 1, self.w.shape[1], device=device)
        self._next: Tensor | None = None

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take SGD steps up to `step`, and report how many now and then.

        Raises:
            RetrogradError: a run went non-finite; names condition, seed and step.
        """
        while self.step < step:
            count = min(CHECK_EVERY, step - self.step)
            for _ in range(count):
                self._descend(self._peek())
                self._next = None
            self.step += count
            self._check_finite()
            report(count)

    def _peek(self) -> Tensor:
        """The inputs of the next step, (C·D, B, N)."""
        if self._next is None:
            x = self._sample()
            self._next = x.reshape(self._groups, self.params.B, self.params.N)
        return self._next

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fields w·x + b, turned into values act(·), (C·D, B, R·K); errors f − y.

        The errors are (C·D, B, R, 1).
        """
        params = self.params
        value = torch.bmm(x, self.w.mT)
        if params.bias:
            value += self.b
        if params.activation == "relu":
            value.clamp_(min=0)
        else:
            value.sigmoid_()
        error = value.unflatten(-1, (-1, params.K)).mean(-1, keepdim=True)
        error[:, params.B // 2 :] -= 1
        return value, error

    @torch.inference_mode()
    def _descend(self, x: Tensor) -> None:
        """One step w −= lr ∂L/∂w, ∂L/∂w_k = (2/BK) Σ (f − y) act'(w_k·x + b_k) x."""
        params = self.params
        value, error = self._forward(x)
        # Either slope follows from the value: 1 where a ReLU is on, σ(1 − σ).
        slope = value.sign_() if params.activation == "relu" else value * (1 - value)
        rate = -params.lr * 2 / (params.B * params.K)
        slope.unflatten(-1, (-1, params.K)).mul_(error)
        self.w.baddbmm_(slope.mT, x, alpha=rate)
        if params.bias:
            self.b.add_(slope.sum(1, keepdim=True), alpha=rate)

    def _by_seed(self, values: Tensor) -> Tensor:
        """(C·D, R·K, ...) to (condition, seed, unit, ...)."""
        params = self.params
        return values.reshape(
            len(params.stimuli), params.seeds, params.K, *values.shape[2:]
        )

    def _check_finite(self) -> None:
        finite = torch.isfinite(self._by_seed(self.w)).all(-1).all(-1)
        if not finite.all():
            condition, seed = (~finite).nonzero()[0].tolist()
            raise RetrogradError(
                f"the run diverged: condition '{self.params.stimuli[condition]}', seed "
                f"{seed}, was non-finite at step {self.step}; lower lr, or raise B if the "
                "inputs have heavy tails"
            )

    @torch.inference_mode()
    def record(self) -> dict[str, Array]:
        """Weights (condition, seed, unit, N); loss (condition, seed) on the next batch."""
        _, error = self._forward(self._peek())
        square = (error[..., 0] ** 2).mean(1)
        loss = square.reshape(len(self.params.stimuli), self.params.seeds)
        w = self._by_seed(self.w).cpu().numpy().astype(float)
        return {"w": w, "loss": loss.cpu().numpy().astype(float)}


def components(
    params: Components, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """FastICA of inputs of both classes together, by scikit-learn on the CPU.

    Returns:
        ipr (condition, seed, unit) of every component's filter, and converged (condition,
        seed): Gaussian inputs have no components to converge to.
    """
    families = [stimulus(text) for text in params.stimuli]
    filters = np.empty((len(families), params.seeds, params.N, params.N))
    converged = np.empty((len(families), params.seeds), np.int32)
    for c, family in enumerate(families):
        for run in range(params.seeds):
            x = data.component_samples(params, family, run)
            filters[c, run], converged[c, run] = _fast_ica(params, x, run)
    return data.components_product(params, families, filters, converged)


def _fast_ica(params: Components, x: Array, run: int) -> tuple[Array, bool]:
    """Filters of the independent components, (N, N), and whether the search ended."""
    import warnings

    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    start = stream(params.seed, run, "FastICA").standard_normal((params.N, params.N))
    ica = FastICA(
        whiten="unit-variance",
        max_iter=params.iterations,
        tol=params.tolerance,
        w_init=start,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the product
        ica.fit(x)
    return ica.components_, ica.n_iter_ < params.iterations
