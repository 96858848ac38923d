"""The single controlled neuron ŷ = w(1 + g)x, and the adjoint of its average learning.

With G = 1 + g and s = E[x²]: w += dt (mu G − w G² s − λ w), from w = 0, and
L = ½ (1 − 2 mu w G + s w² G²) + ½ λ w². Given the control, a step is linear in w:
w_{k+1} = a_k w_k + b_k, so that all coefficients are known before the first step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retrograd.control import Box
from retrograd.papers.carrasco_davis2023_learning_effort.data import GAIN_MAX
from retrograd.papers.carrasco_davis2023_learning_effort.kernels import kernels_of

BOX = Box(0.0, GAIN_MAX)


@dataclass(frozen=True)
class Constants:
    """Of every row, (batch,) each."""

    mu: Tensor
    s: Tensor
    weight_decay: Tensor
    beta: Tensor
    gamma: Tensor
    steps: Tensor
    """number of steps that the value counts; those after are not learning's"""


class Neurons:
    """A batch of single neurons whose control is g, (batch, time); see control.Dynamics.

    V = Σ_k γ^(t_k) (−L_k − β g_k²) dt over the steps that count.
    """

    def __init__(self, constants: Constants, dt: float) -> None:
        self.dt = dt
        self.steps = int(constants.steps.max())
        self.constants = constants
        like: dict[str, Any] = {"dtype": torch.float64, "device": constants.mu.device}
        k = torch.arange(self.steps, **like)[:, None]
        counts = k < constants.steps
        self.weight = constants.gamma ** (dt * k) * dt * counts
        self.w = torch.zeros_like(self.weight)
        self._p = torch.zeros(self.steps + 1, len(constants.mu), **like)
        self._kernels = ops = kernels_of(constants.mu.device)
        self._ws, self._ps = ops.steps(self.w), ops.steps(self._p)

    def start(self, control: Tensor) -> None:
        c = self.constants
        self._g = control.mT
        self._G = 1 + self._g
        self._a = 1 - self.dt * (c.s * self._G.square() + c.weight_decay)
        self._as, self._bs = (
            self._kernels.steps(x) for x in (self._a, self.dt * c.mu * self._G)
        )
        self.w[0] = 0

    def step(self, k: int) -> None:
        if k + 1 < self.steps:
            self._kernels.add_mul(self._bs[k], self._as[k], self._ws[k], self._ws[k + 1])

    def losses(self) -> Tensor:
        """L, (time, batch)."""
        c, w, wG = self.constants, self.w, self.w * self._G
        fit = 1 - 2 * c.mu * wG + c.s * wG.square()
        return 0.5 * (fit + c.weight_decay * w.square())

    def costs(self) -> Tensor:
        """C, (time, batch)."""
        return self.constants.beta * self._g.square()

    def value(self) -> Tensor:
        return -(self.weight * (self.losses() + self.costs())).sum(0)

    def start_back(self) -> None:
        """Costate p_k of w_k: p_k = a_k p_{k+1} − weight_k ∂L_k/∂w_k."""
        c, G, w = self.constants, self._G, self.w
        slope = -c.mu * G + c.s * w * G.square() + c.weight_decay * w
        self._pulls = self._kernels.steps(-self.weight * slope)
        self._p[self.steps] = 0

    def step_back(self, k: int) -> None:
        self._kernels.add_mul(self._pulls[k], self._as[k], self._ps[k + 1], self._ps[k])

    def gradient(self) -> Tensor:
        c, G, w = self.constants, self._G, self.w
        direct = -c.mu * w + c.s * w.square() * G + 2 * c.beta * self._g
        through = self.dt * self._p[1:] * (c.mu - 2 * c.s * w * G)
        return (through - self.weight * direct).mT
