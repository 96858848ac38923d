"""The controls of the two-layer network: what each does, what it costs, its gradient.

A control is (batch, time, unit); an effect has the time in front (see `network`). Every
cost is of the control of one step.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from retrograd.control import Box
from retrograd.papers.carrasco_davis2023_learning_effort.data import (
    CATEGORY_MAX,
    GAIN_MAX,
    RATE_MAX,
)
from retrograd.papers.carrasco_davis2023_learning_effort.network import (
    Effect,
    LinearNetwork,
)


class Setting(Protocol):
    """A kind of control."""

    @property
    def box(self) -> Box:
        """Bounds of the control."""

    def effect(self, control: Tensor) -> Effect:
        """What the control does to the network."""

    def cost(self, control: Tensor) -> Tensor:
        """C, (batch, time); what is paid once, (batch,)."""

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        """∂V/∂control: from that in the effect, and from the cost by its weight."""


class Controlled:
    """A network under one kind of control, with V = Σ_k weight_k (−L_k − C_k).

    A row of control may govern several networks side by side: `networks_per_row`. Then V
    is the sum over them, and weights share out what is to be averaged.
    """

    def __init__(
        self,
        network: LinearNetwork,
        setting: Setting,
        weight: Tensor,
        networks_per_row: int = 1,
    ) -> None:
        """weight: (time, batch), for all that discounts, averages or picks steps."""
        self.network, self.setting, self.weight = network, setting, weight
        self.steps = network.steps
        self._networks_per_row = networks_per_row

    def start(self, control: Tensor) -> None:
        self._control = control
        self.network.start(self.setting.effect(control))

    def step(self, k: int) -> None:
        self.network.step(k)

    def value(self) -> Tensor:
        earned = -(self.weight * self.network.losses()).sum(0)
        earned = earned.reshape(-1, self._networks_per_row).sum(1)
        return earned - self._cost_value()

    def _cost_value(self) -> Tensor:
        cost = self.setting.cost(self._control)
        return (self.weight.mT * cost).sum(1) if cost.ndim > 1 else cost

    def start_back(self) -> None:
        self.network.start_back(self.weight)

    def step_back(self, k: int) -> None:
        self.network.step_back(k)

    def gradient(self) -> Tensor:
        return self.setting.pull_back(self._control, self.network.gradient(), self.weight)


def discounted(gammas: Tensor, dt: float, steps: int) -> Tensor:
    """Weights γ^(t_k) dt, t_k = k dt, of a batch of discounts (batch,): (time, batch)."""
    t = dt * torch.arange(steps, dtype=torch.float64, device=gammas.device)
    return gammas ** t[:, None] * dt


@dataclass(frozen=True)
class TaskEngagement:
    """psi, one per task, weighs the errors of the task's outputs: d = psi.

    C = β Σ_τ (psi_τ − free)²; free is 1 if usual engagement costs nothing (attentive),
    and 0 if any does (active, vector). Rows of the batch may differ in it.

    membership (task, O) is 1 where an output is one of the task's; free and upper, the
    bound of psi, are (batch, 1, 1).
    """

    beta: float
    membership: Tensor
    free: Tensor
    upper: Tensor

    @property
    def box(self) -> Box:
        return Box(0.0, self.upper)

    def effect(self, control: Tensor) -> Effect:
        return Effect(d=(control @ self.membership).transpose(0, 1))

    def cost(self, control: Tensor) -> Tensor:
        return self.beta * (control - self.free).square().sum(-1)

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        assert gradient.d is not None
        learned = gradient.d.transpose(0, 1) @ self.membership.mT
        return learned - 2 * self.beta * weight.mT[..., None] * (control - self.free)


@dataclass(frozen=True)
class CategoryEngagement:
    """phi, one per output c: d_c = phi_c²; C = β (Σ phi² − O)² / O."""

    beta: float

    @property
    def box(self) -> Box:
        return Box(0.0, CATEGORY_MAX)

    def effect(self, control: Tensor) -> Effect:
        return Effect(d=control.square().transpose(0, 1))

    def _excess(self, control: Tensor) -> Tensor:
        """Σ phi² − O, (batch, time, 1)."""
        return control.square().sum(-1, keepdim=True) - control.shape[-1]

    def cost(self, control: Tensor) -> Tensor:
        return self.beta * self._excess(control)[..., 0].square() / control.shape[-1]

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        assert gradient.d is not None
        outputs = control.shape[-1]
        cost = 2 * self.beta / outputs * weight.mT[..., None] * self._excess(control)
        return 2 * control * (gradient.d.transpose(0, 1) - cost)


@dataclass(frozen=True)
class LearningRate:
    """g, one: u = 1 + g; C = β (g − offset)². beta and offset are (batch, 1)."""

    beta: Tensor
    offset: Tensor

    @property
    def box(self) -> Box:
        return Box(-RATE_MAX, RATE_MAX)

    def effect(self, control: Tensor) -> Effect:
        return Effect(u=1 + control[..., 0].mT)

    def cost(self, control: Tensor) -> Tensor:
        return self.beta * (control[..., 0] - self.offset).square()

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        assert gradient.u is not None
        cost = 2 * self.beta * weight.mT * (control[..., 0] - self.offset)
        return (gradient.u.mT - cost)[..., None]


@dataclass(frozen=True)
class Gain:
    """g, one per weight, W1's first: A = 1 + g; C = exp(β Σ g²) − 1 over all weights.

    The network has H hidden units, I inputs and O outputs.
    """

    beta: float
    H: int
    I: int  # noqa: E741
    O: int  # noqa: E741

    @property
    def box(self) -> Box:
        return Box(-GAIN_MAX, GAIN_MAX)

    def split(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """What is flat (..., unit) by layer: (..., H, I) and (..., O, H)."""
        first, second = flat.split([self.H * self.I, self.O * self.H], -1)
        lead = flat.shape[:-1]
        return first.reshape(*lead, self.H, self.I), second.reshape(*lead, self.O, self.H)

    def effect(self, control: Tensor) -> Effect:
        A1, A2 = self.split(1 + control.transpose(0, 1))
        return Effect(A1=A1, A2=A2)

    def cost(self, control: Tensor) -> Tensor:
        return torch.expm1(self.beta * control.square().sum(-1))

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        assert gradient.A1 is not None
        assert gradient.A2 is not None
        by_layer = [A.flatten(2) for A in (gradient.A1, gradient.A2)]
        learned = torch.cat(by_layer, -1).transpose(0, 1)
        slope = weight.mT * torch.exp(self.beta * control.square().sum(-1))
        return learned - 2 * self.beta * slope[..., None] * control


@dataclass(frozen=True)
class InitialWeights:
    """W1 and W2 at the start, flat (batch, unit), common to `tasks` networks per row.

    C = ½ β |W|², once.
    """

    H: int
    I: int  # noqa: E741
    O: int  # noqa: E741
    tasks: int
    beta: float = 0.0

    @property
    def box(self) -> Box:
        return Box()

    def effect(self, control: Tensor) -> Effect:
        first, second = control.split([self.H * self.I, self.O * self.H], -1)
        return Effect(
            W1=first.reshape(-1, self.H, self.I).repeat_interleave(self.tasks, 0),
            W2=second.reshape(-1, self.O, self.H).repeat_interleave(self.tasks, 0),
        )

    def cost(self, control: Tensor) -> Tensor:
        return 0.5 * self.beta * control.square().sum(-1)

    def pull_back(self, control: Tensor, gradient: Effect, weight: Tensor) -> Tensor:
        assert gradient.W1 is not None
        assert gradient.W2 is not None
        by_layer = [
            W.reshape(len(control), self.tasks, -1).sum(1)
            for W in (gradient.W1, gradient.W2)
        ]
        return torch.cat(by_layer, -1) - self.beta * control
