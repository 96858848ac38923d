"""Meta-learned initial weights: MAML with objectives of any horizon."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd.control import Adam, Ascent, climb, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import data, settings
from retrograd.papers.carrasco_davis2023_learning_effort.network import LinearNetwork
from retrograd.papers.carrasco_davis2023_learning_effort.params import Maml
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    ITERATIONS,
    Rows,
    row_labels,
    seed_labels,
    tensor,
    time_coordinate,
)
from retrograd.products import variable

Array = NDArray[np.float64]


def maml(params: Maml, device: torch.device) -> xr.Dataset:
    """Initial weights optimised for every horizon, then learning from them.

    Returns:
        objective (horizon, seed, iteration), minus the value per dt; eval_loss (horizon,
        seed, time), mean over tasks; eval_integral (horizon, seed), its time integral.
    """
    tasks = [data.classes(params.images, pair) for pair in params.pairs]
    W1, W2 = data.initial_weights(
        params.seed, params.seeds, params.hidden, tasks[0], params.init_sd
    )
    start = np.concatenate([W1.reshape(len(W1), -1), W2.reshape(len(W2), -1)], 1)
    losses, objectives = [], []
    for horizon in params.horizons:
        control, V = _meta_learn(params, tasks, start, horizon, device)
        losses.append(_adapt(params, tasks, control, device))
        objectives.append(torch.tensor(-V / params.dt))
    loss = torch.cat(losses, 1)  # (time, horizon · seed · task)
    rows = Rows(("horizon", "seed"), (len(params.horizons), params.seeds))
    mean = loss.reshape(len(loss), -1, len(tasks)).mean(-1)
    at = data.log_steps(params.eval_steps, params.records)
    every = data.record_steps(params.iterations + 1, ITERATIONS)
    objective = torch.cat(objectives)[:, every]
    return xr.Dataset(
        {
            "objective": rows.variable(objective, "loss that is minimised", "iteration"),
            "eval_loss": rows.variable(mean[at].mT, "mean loss of the tasks", "time"),
            "eval_integral": rows.variable(
                params.dt * mean.sum(0), "time integral of the mean loss", bulk=False
            ),
        },
        {
            "horizon": variable(
                "horizon", params.horizons, "states that the objective sees"
            ),
            "seed": data.seed_coordinate(params.seeds),
            "time": time_coordinate(at, params.dt),
            "iteration": variable("iteration", every, "iteration of the ascent"),
        },
    )


def _task_networks(
    params: Maml, tasks: list[data.Task], rows: int, steps: int, device: torch.device
) -> LinearNetwork:
    """`rows` × tasks networks, the tasks fastest, whose weights a control gives."""
    O, I = tasks[0].Syx.shape  # noqa: E741
    batch = rows * len(tasks)
    return LinearNetwork(
        [tasks * rows],
        np.zeros((batch, params.hidden, I)),
        np.zeros((batch, O, params.hidden)),
        dt=params.dt,
        steps=steps,
        weight_decay=params.weight_decay,
        labels=row_labels(
            [f"run {r}" for r in range(rows)], [f"task {t}" for t in params.pairs]
        ),
        device=device,
    )


def _initial(params: Maml, tasks: list[data.Task]) -> settings.InitialWeights:
    O, I = tasks[0].Syx.shape  # noqa: E741
    return settings.InitialWeights(params.hidden, I, O, len(tasks))


def _meta_learn(
    params: Maml, tasks: list[data.Task], start: Array, horizon: int, device: torch.device
) -> tuple[Tensor, Array]:
    """Flat initial weights (seed, unit) that minimise the tasks' mean loss; V."""
    network = _task_networks(params, tasks, len(start), horizon, device)
    weight = torch.full(
        (horizon, len(network.labels)),
        params.dt / len(tasks),
        dtype=torch.float64,
        device=device,
    )
    if params.objective == "final":
        weight[:-1] = 0
    setting = _initial(params, tasks)
    controlled = settings.Controlled(network, setting, weight, len(tasks))
    ascent = Ascent(
        lambda c: value_and_gradient(controlled, c),
        tensor(start, device),
        setting.box,
        Adam(params.rate),
        seed_labels(len(start)),
    )
    V = climb(ascent, params.iterations, f"horizon {horizon}")
    return ascent.control, V


def _adapt(
    params: Maml, tasks: list[data.Task], control: Tensor, device: torch.device
) -> Tensor:
    """Losses (time, row·task) of learning from given initial weights (row, unit)."""
    network = _task_networks(params, tasks, len(control), params.eval_steps, device)
    return network.run(_initial(params, tasks).effect(control))
