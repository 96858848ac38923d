"""The optimised controls: gradient ascent through the average learning dynamics.

One function per kind of product. Seeds and conditions are rows of one batch, and every
gradient is the hand-derived adjoint of `network` and `neuron`.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from retrograd.control import Adam
from retrograd.papers.carrasco_davis2023_learning_effort import (
    data,
    gradient,
    settings,
    train_gain,
    train_maml,
    train_neuron,
)
from retrograd.papers.carrasco_davis2023_learning_effort.optimise import (
    ascend,
    initial_weights,
    network_of,
    optimise,
)
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    Category,
    Engagement,
    GainSingle,
    GainSwitch,
    GradientCheck,
    LearningRate,
    Maml,
    SingleNeuron,
)
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    Rows,
    ascended,
    row_labels,
    seed_labels,
    tensor,
    time_coordinate,
)
from retrograd.products import variable

Inputs = Mapping[str, xr.Dataset]


def adjoint(params: GradientCheck, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Derivatives of the value along random directions; see `gradient`."""
    return gradient.derivatives(params, device)


def single_neuron(params: SingleNeuron, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """One neuron's optimal gain, its SGD and its sweeps; see `train_neuron`."""
    return train_neuron.single_neuron(params, device)


def maml(params: Maml, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Meta-learned initial weights; see `train_maml`."""
    return train_maml.maml(params, device)


def gain_single(params: GainSingle, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Optimal gain of every weight, one task, and its SGD; see `train_gain`."""
    return train_gain.gain_single(params, device)


def gain_switch(params: GainSwitch, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Optimal gain of every weight while tasks alternate; see `train_gain`."""
    return train_gain.gain_switch(params, device)


# ---- learning rate ---------------------------------------------------------------------


def learning_rate(params: LearningRate, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """The optimal learning rate in every condition.

    Returns:
        u and the controlled loss (condition, seed, time); u_start and peak_time, when u
        is largest, of all steps, and V_gain (condition, seed).
    """
    task = data.semantic(params.levels)
    labels = row_labels([c.label for c in params.conditions], seed_labels(params.seeds))
    network = network_of(params, [task], initial_weights(params, task), labels, device)

    def per_row(name: str) -> Tensor:
        of_condition = [float(getattr(c, name)) for c in params.conditions]
        return tensor(np.repeat(of_condition, params.seeds), device)

    setting = settings.LearningRate(per_row("beta")[:, None], per_row("offset")[:, None])
    start = tensor(np.zeros((len(labels), params.steps, 1)), device)
    rule = Adam(params.rate)
    found = optimise(network, setting, start, per_row("gamma"), rule, params.iterations)
    u, gained = 1 + found.control[..., 0], torch.tensor(found.V[:, -1] - found.V[:, 0])
    rows = Rows(("condition", "seed"), (len(params.conditions), params.seeds))
    at = data.record_steps(params.steps, params.records)
    recorded = {
        "u": rows.variable(u[:, at], "speed of learning u = 1 + g", "time"),
        "loss": rows.variable(found.loss_ctrl[at].mT, "loss L with control", "time"),
        "u_start": rows.variable(u[:, 0], "u at the first step", bulk=False),
        "peak_time": rows.variable(
            params.dt * u.argmax(1).double(),
            "time at which u is largest",
            bulk=False,
            units="time constants",
        ),
        "V_gain": rows.variable(gained, "value that control adds", bulk=False),
        "time": time_coordinate(at, params.dt),
    }
    texts = {"gamma": "discount γ", "beta": "cost of control β", "offset": "g free of cost"}
    of = "condition"
    return xr.Dataset(
        recorded,
        {of: variable(of, [c.label for c in params.conditions], "condition")}
        | {
            name: variable(of, [float(getattr(c, name)) for c in params.conditions], text)
            for name, text in texts.items()
        }
        | {"seed": data.seed_coordinate(params.seeds)},
    )


# ---- engagement ------------------------------------------------------------------------


def engagement(params: Engagement, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Optimal engagement in tasks that are learned side by side.

    Returns:
        psi (variant, seed, task, time); loss (curve, seed, time), without control and of
        every variant; V (variant, seed, iteration) and V_least_step.
    """
    task, variants = data.task(params), params.variants
    labels = row_labels(variants, seed_labels(params.seeds))
    network = network_of(params, [task], initial_weights(params, task), labels, device)

    def per_row(of_variant: list[float]) -> Tensor:
        return tensor(np.repeat(of_variant, params.seeds), device)[:, None, None]

    count = len(params.pairs)
    setting = settings.TaskEngagement(
        params.beta,
        membership=tensor(np.repeat(np.eye(count), 2, axis=1), device),  # two outputs each
        free=per_row([float(v == "attentive") for v in variants]),
        upper=per_row([data.ENGAGEMENT_MAX[v] for v in variants]),
    )
    start = tensor(np.ones((len(labels), params.steps, count)), device)
    found = ascend(params, network, setting, start)
    rows = Rows(("variant", "seed"), (len(variants), params.seeds))
    at = data.record_steps(params.steps, params.records)
    psi = rows.variable(found.control[:, at].mT, "engagement in the task", "task", "time")
    # The seeds' uncontrolled runs are the same in all variants: they are kept once.
    base, ctrl = found.loss_base[at, : params.seeds], found.loss_ctrl[at]
    curves = Rows(("curve", "seed"), (1 + len(variants), params.seeds))
    loss = curves.variable(torch.cat([base, ctrl], 1).mT, "loss L", "time")
    return xr.Dataset(
        ascended(rows, found.V)
        | {"psi": psi, "loss": loss, "time": time_coordinate(at, params.dt)},
        {
            "curve": variable("curve", ["baseline", *variants], "whose loss"),
            "variant": variable("variant", list(variants), "kind of engagement"),
            "seed": data.seed_coordinate(params.seeds),
            "task": data.task_coordinate(params.pairs),
        },
    )


def category(params: Category, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Optimal engagement in the classes (outputs) of one task.

    A group is a level of the hierarchy, whose outputs are averaged, or one digit.

    Returns:
        phi (seed, group, time); optimal_loss (group), the least loss of an output; loss
        (case, seed, time); V (seed, iteration) and V_least_step.
    """
    task, labels = data.task(params), seed_labels(params.seeds)
    network = network_of(params, [task], initial_weights(params, task), labels, device)
    units = len(task.Syy)
    start = tensor(np.ones((params.seeds, params.steps, units)), device)
    found = ascend(params, network, settings.CategoryEngagement(params.beta), start)
    rows = Rows(("seed",), (params.seeds,))
    at = data.record_steps(params.steps, params.records)
    groups = data.groups(params)
    mean = groups / groups.sum(1, keepdims=True)
    phi = tensor(mean, device) @ found.control[:, at].mT
    least = mean @ task.optimal_losses
    return xr.Dataset(
        found.variables(rows, at, params.dt)
        | {
            "phi": rows.variable(phi, "engagement in the class", "group", "time"),
            "optimal_loss": variable("group", least, "least loss of an output"),
        },
        {
            "seed": data.seed_coordinate(params.seeds),
            "group": variable("group", np.arange(len(groups)), "level, or digit"),
        },
    )
