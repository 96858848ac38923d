"""A network of a section of the config under one kind of control, optimised by ascent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.control import Ascent, Plain, Rule, climb, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import data, settings
from retrograd.papers.carrasco_davis2023_learning_effort.network import (
    Effect,
    LinearNetwork,
)
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    Category,
    Engagement,
    GainSingle,
    GainSwitch,
    LearningRate,
)
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    Rows,
    Variables,
    ascended,
    learned,
)

Array = NDArray[np.float64]
Section = LearningRate | Engagement | Category | GainSingle | GainSwitch


@dataclass(frozen=True)
class Found:
    """An optimised control (row, time, unit), and learning without and with it.

    Losses and cost are (time, row), norms (l1, l2) of the weights too.
    """

    control: Tensor
    V: Array
    V_base: Tensor
    loss_base: Tensor
    loss_ctrl: Tensor
    cost: Tensor
    norms_base: tuple[Tensor, Tensor]
    norms_ctrl: tuple[Tensor, Tensor]

    def variables(self, rows: Rows, at: NDArray[np.int64], dt: float) -> Variables:
        """What every ascent of a network records; `at` are the recorded steps."""
        losses = learned(rows, at, dt, self.loss_base, self.loss_ctrl)
        return ascended(rows, self.V) | losses


def initial_weights(params: Section, task: data.Task) -> tuple[Array, Array]:
    return data.initial_weights(
        params.seed, params.seeds, params.hidden, task, params.init_sd
    )


def network_of(
    params: Section,
    tasks: Sequence[data.Task],
    weights: tuple[Array, Array],
    labels: Sequence[str],
    device: torch.device,
    *,
    gains: bool = False,
    segments: Sequence[int] | None = None,
) -> LinearNetwork:
    """A network per label; the labels repeat the seeds, whose weights are given."""
    repeats = len(labels) // params.seeds
    W1, W2 = (np.tile(W, (repeats, 1, 1)) for W in weights)  # seeds fastest
    return LinearNetwork(
        tasks,
        W1,
        W2,
        dt=params.dt,
        steps=params.steps,
        weight_decay=params.weight_decay,
        segments=segments,
        gains=gains,
        labels=labels,
        device=device,
    )


def optimise(
    network: LinearNetwork,
    setting: settings.Setting,
    start: Tensor,
    gamma: Tensor,
    rule: Rule,
    iterations: int,
) -> Found:
    """Ascend from `start`, and learn without and with what is found."""
    weight = settings.discounted(gamma, network.dt, network.steps)
    base = network.run(_neutral(setting, start))
    norms_base = network.weight_norms()
    controlled = settings.Controlled(network, setting, weight)
    ascent = Ascent(
        lambda c: value_and_gradient(controlled, c),
        start,
        setting.box,
        rule,
        network.labels,
    )
    V = climb(ascent, iterations, type(setting).__name__)
    ctrl = network.run(setting.effect(ascent.control))
    return Found(
        control=ascent.control,
        V=V,
        V_base=-(weight * base).sum(0),
        loss_base=base,
        loss_ctrl=ctrl,
        cost=setting.cost(ascent.control).mT,
        norms_base=norms_base,
        norms_ctrl=network.weight_norms(),
    )


def _neutral(setting: settings.Setting, start: Tensor) -> Effect:
    """No control: every weight of an error 1, usual speed, no gain."""
    if isinstance(setting, settings.Gain):
        return setting.effect(torch.zeros_like(start))
    return Effect()


def ascend(
    params: Engagement | Category | GainSingle | GainSwitch,
    network: LinearNetwork,
    setting: settings.Setting,
    start: Tensor,
) -> Found:
    """By plain ascent, at the section's discount and rate."""
    gamma = torch.full_like(start[:, 0, 0], params.gamma)
    rule = Plain(params.rate / params.dt)
    return optimise(network, setting, start, gamma, rule, params.iterations)
