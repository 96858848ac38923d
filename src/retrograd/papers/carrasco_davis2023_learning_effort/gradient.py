"""Derivatives of the value along given directions, by the adjoint, for every control."""

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from retrograd.control import Dynamics, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import data, settings
from retrograd.papers.carrasco_davis2023_learning_effort.network import LinearNetwork
from retrograd.papers.carrasco_davis2023_learning_effort.neuron import Constants, Neurons
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    GradientCase,
    GradientCheck,
)
from retrograd.papers.carrasco_davis2023_learning_effort.rows import tensor
from retrograd.products import variable


def derivatives(params: GradientCheck, device: torch.device) -> xr.Dataset:
    """The value, and its derivative along one direction, of every problem.

    Returns:
        value, derivative (problem, seed), as theory.differences gives them.
    """
    values, slopes = [], []
    for case in params.cases:
        dynamics, control, direction = problem(params, case, device)
        value, gradient = value_and_gradient(dynamics, control)
        values.append(value.cpu().numpy())
        slopes.append((gradient * direction).flatten(1).sum(1).cpu().numpy())
    dims = ("problem", "seed")
    return xr.Dataset(
        {
            "value": variable(dims, np.stack(values), "value V"),
            "derivative": variable(
                dims, np.stack(slopes), "derivative of V along a direction"
            ),
        },
        {
            "problem": variable("problem", params.cases, "kind of control"),
            "seed": data.seed_coordinate(params.seeds),
        },
    )


def problem(
    params: GradientCheck, case: GradientCase, device: torch.device
) -> tuple[Dynamics, Tensor, Tensor]:
    """The dynamics, control and direction of one kind of control; rows are the seeds."""
    drawn = [data.gradient_problem(params, case, run) for run in range(params.seeds)]
    control, direction = (
        tensor(np.stack([getattr(p, name) for p in drawn]), device)
        for name in ("control", "direction")
    )
    if case == "neuron":
        neurons = Neurons(_neuron_constants(params, device), params.dt)
        return neurons, control[..., 0], direction[..., 0]
    return _controlled(params, drawn, device), control, direction


def _neuron_constants(params: GradientCheck, device: torch.device) -> Constants:
    values = {
        "mu": data.MU,
        "s": data.MU**2 + data.SIGMA**2,
        "weight_decay": params.weight_decay,
        "beta": params.beta,
        "gamma": params.gamma,
        "steps": params.steps,
    }
    return Constants(**{k: tensor([v] * params.seeds, device) for k, v in values.items()})


def _controlled(
    params: GradientCheck, drawn: list[data.GradientProblem], device: torch.device
) -> settings.Controlled:
    first = drawn[0]
    init, gains = first.case.startswith("init"), first.case in ("gain", "switch")
    networks_per_row = len(first.tasks) if init else 1
    turns = np.arange(params.steps) * len(first.tasks) // params.steps
    W1, W2 = (
        np.repeat(np.stack([getattr(p, name) for p in drawn]), networks_per_row, axis=0)
        for name in ("W1", "W2")
    )
    network = LinearNetwork(
        [first.tasks * len(drawn)] if init else first.tasks,
        W1,
        W2,
        dt=params.dt,
        steps=params.steps,
        weight_decay=params.weight_decay,
        segments=None if init else turns.tolist(),
        gains=gains,
        device=device,
    )
    gamma = tensor([1.0 if init else params.gamma] * len(W1), device)
    weight = settings.discounted(gamma, params.dt, params.steps) / networks_per_row
    if first.case == "init_final":
        weight[:-1] = 0
    setting = _setting(params, first, device)
    return settings.Controlled(network, setting, weight, networks_per_row)


def _setting(
    params: GradientCheck, problem: data.GradientProblem, device: torch.device
) -> settings.Setting:
    O, I = problem.tasks[0].Syx.shape  # noqa: E741
    one = tensor([1.0], device)
    match problem.case:
        case "gain" | "switch":
            return settings.Gain(params.beta, params.hidden, I, O)
        case "category":
            return settings.CategoryEngagement(params.beta)
        case "rate_deviation":
            return settings.LearningRate(params.beta * one, 0 * one)
        case "rate_total":
            return settings.LearningRate(params.beta * one, -one)
        case "attentive" | "active" | "vector":
            upper = data.ENGAGEMENT_MAX[problem.case] * one
            free = float(problem.case == "attentive") * one
            membership = tensor(np.repeat(np.eye(2), 2, axis=1), device)
            return settings.TaskEngagement(params.beta, membership, free, upper)
        case _:
            return settings.InitialWeights(params.hidden, I, O, len(problem.tasks))
