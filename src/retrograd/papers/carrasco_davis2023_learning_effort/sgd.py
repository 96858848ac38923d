"""Stochastic gradient descent under a given gain: what the average dynamics stand for.

Every step has a fresh batch; the gradient is that of the mean over the batch of
½ |ŷ − y|² + ½ λ |W|², with respect to W through the gains.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrograd.errors import RetrogradError
from retrograd.papers.carrasco_davis2023_learning_effort.data import (
    AffineGaussSamples,
    TwoGaussSamples,
)

Array = NDArray[np.float64]


class NeuronSgd:
    """Single neurons: w (case, run), gain G = 1 + g (case, time); an Ensemble."""

    def __init__(
        self, samples: TwoGaussSamples, runs: int, G: Array, dt: float, weight_decay: float
    ) -> None:
        self.step, self.w = 0, np.zeros((len(G), runs))
        self._G, self._dt, self._decay, self._samples = G, dt, weight_decay, samples
        self._draw()

    def _draw(self) -> None:
        x, y = self._samples.next(1)
        self._x, self._y = x[0], y[0]

    def _errors(self) -> Array:
        """ŷ − y, (case, run, batch)."""
        gain = self._G[:, self.step, None, None]
        errors: Array = gain * self.w[..., None] * self._x - self._y
        return errors

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        while self.step < step:
            gain = self._G[:, self.step, None]
            slope = gain * (self._errors() * self._x).mean(-1) + self._decay * self.w
            self.w = self.w - self._dt * slope
            self.step += 1
            self._draw()
            report(1)

    def record(self) -> dict[str, Array]:
        """Loss of the present batch, (case, run)."""
        fit = (self._errors() ** 2).mean(-1)
        return {"loss": 0.5 * (fit + self._decay * self.w**2)}


class NetworkSgd:
    """Two-layer networks: W1 (..., H, I), W2 (..., O, H), gains (time, ..., as W)."""

    def __init__(
        self,
        samples: AffineGaussSamples,
        W1: Array,
        W2: Array,
        gains: tuple[Array, Array],
        dt: float,
        weight_decay: float,
    ) -> None:
        """Axes in front of W: (..., run); every run has its own samples."""
        self.step, self.W1, self.W2 = 0, W1, W2
        self._A1, self._A2 = gains
        self._dt, self._decay, self._samples = dt, weight_decay, samples
        self._x, self._y = samples.next()

    def _forward(self) -> tuple[Array, Array, Array, Array]:
        """U1, U2, hidden (..., batch, H), and ŷ − y (..., batch, O)."""
        U1, U2 = self.W1 * self._A1[self.step], self.W2 * self._A2[self.step]
        hidden = self._x @ U1.swapaxes(-1, -2)
        return U1, U2, hidden, hidden @ U2.swapaxes(-1, -2) - self._y

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps.

        Raises:
            RetrogradError: a run went non-finite.
        """
        while self.step < step:
            _, U2, hidden, error = self._forward()
            transposed = error.swapaxes(-1, -2) / error.shape[-2]
            slope1 = (U2.swapaxes(-1, -2) @ (transposed @ self._x)) * self._A1[self.step]
            slope2 = (transposed @ hidden) * self._A2[self.step]
            self.W1 = self.W1 - self._dt * (slope1 + self._decay * self.W1)
            self.W2 = self.W2 - self._dt * (slope2 + self._decay * self.W2)
            self.step += 1
            if not np.isfinite(self.W2).all():
                where = ", ".join(map(str, np.argwhere(~np.isfinite(self.W2))[0][:-2]))
                raise RetrogradError(
                    f"SGD diverged: run ({where}) went non-finite at step {self.step}; "
                    "lower dt, or make the batch larger"
                )
            self._x, self._y = self._samples.next()
            report(1)

    def record(self) -> dict[str, Array]:
        """Loss of the present batch, (..., run)."""
        error = self._forward()[-1]
        squares = sum((W**2).sum((-2, -1)) for W in (self.W1, self.W2))
        return {"loss": 0.5 * ((error**2).sum(-1).mean(-1) + self._decay * squares)}
