"""The single neuron's optimal gain, its sweeps, and its SGD."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import ensembles
from retrograd.control import Ascent, Plain, climb, run, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import data
from retrograd.papers.carrasco_davis2023_learning_effort.neuron import (
    BOX,
    Constants,
    Neurons,
)
from retrograd.papers.carrasco_davis2023_learning_effort.params import SingleNeuron, Sweep
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    tensor,
    time_coordinate,
)
from retrograd.papers.carrasco_davis2023_learning_effort.sgd import NeuronSgd
from retrograd.products import variable

Array = NDArray[np.float64]


def _constants(
    conditions: Sequence[Mapping[str, float]], device: torch.device
) -> Constants:
    named = {
        name: tensor([c[name] for c in conditions], device)
        for name in ("mu", "sigma", "weight_decay", "beta", "gamma", "steps")
    }
    s = named["mu"].square() + named.pop("sigma").square()
    return Constants(s=s, **named)


def _neurons_ascent(
    neurons: Neurons, rate: float, iterations: int, labels: Sequence[str]
) -> tuple[Tensor, Array]:
    """The optimal g (row, time), from g = 0; V (row, iteration)."""
    start = torch.zeros_like(neurons.weight.mT)
    ascent = Ascent(
        lambda g: value_and_gradient(neurons, g),
        start,
        BOX,
        Plain(rate / neurons.dt),
        labels,
    )
    V = climb(ascent, iterations, "single neuron")
    return ascent.control, V


def single_neuron(params: SingleNeuron, device: torch.device) -> xr.Dataset:
    """The optimal gain of one neuron; average learning and SGD, without and with it.

    Returns:
        weight, loss, cost (case, time); g (time); V (iteration); V_base;
        and over the SGD runs, at every recorded time, sgd_loss and sgd_loss_sd (case,
        time), the mean and standard deviation; sgd_deviation (case), the largest
        deviation of that mean from L at any step.
    """
    neurons = Neurons(_constants([params.model_dump()], device), params.dt)
    g, V = _neurons_ascent(neurons, params.rate, params.iterations, ["the neuron"])
    at = data.record_steps(params.steps, params.records)
    weights, losses, values = [], [], []
    for control in (torch.zeros_like(g), g):
        values.append(float(run(neurons, control)[0]))
        weights.append(neurons.w[:, 0].cpu().numpy().copy())
        losses.append(neurons.losses()[:, 0].cpu().numpy())
    gains = g[0].cpu().numpy()
    G = np.stack([np.ones_like(gains), 1 + gains])
    loss = np.stack(losses)
    sgd = _neuron_sgd(params, G)
    mean, sd = sgd.mean(1), sgd.std(1, ddof=1) if params.seeds > 1 else np.zeros_like(loss)
    per_case = ("case", "time")
    cost = params.beta * (G[:, at] - 1) ** 2
    return xr.Dataset(
        {
            "weight": variable(per_case, np.stack(weights)[:, at], "weight w"),
            "loss": variable(per_case, loss[:, at], "average loss L"),
            "cost": variable(per_case, cost, "cost of control C"),
            "g": variable("time", gains[at], "optimal gain g"),
            "V": variable("iteration", V[0], "value V"),
            "V_base": variable((), values[0], "value without control"),
            "sgd_loss": variable(
                per_case, mean[:, at].astype(np.float32), "mean over SGD runs of the loss"
            ),
            "sgd_loss_sd": variable(
                per_case, sd[:, at].astype(np.float32), "deviation over SGD runs"
            ),
            "sgd_deviation": variable(
                "case", abs(mean - loss).max(1), "largest deviation of SGD's mean from L"
            ),
        },
        {
            "case": variable("case", ["baseline", "control"], "without and with control"),
            "time": time_coordinate(at, params.dt),
            "iteration": variable(
                "iteration", np.arange(V.shape[1]), "iteration of the ascent"
            ),
        },
    )


def _neuron_sgd(params: SingleNeuron, G: Array) -> Array:
    """Losses of the batches of SGD under gains G (case, time): (case, run, time)."""
    samples = data.TwoGaussSamples(
        params.seed, params.seeds, params.mu, params.sigma, params.batch
    )
    sgd = NeuronSgd(samples, params.seeds, G, params.dt, params.weight_decay)
    return ensembles.follow(sgd, range(params.steps), "SGD")["loss"]


def sweep(params: Sweep, device: torch.device) -> xr.Dataset:
    """The optimal gain of one neuron in every condition.

    Returns:
        g and advantage, v with control − v without, v = −L − C (condition, time), zero
        after the condition's last step; of all steps, g_start, g_end, g_mean, and
        peak_step, where g is largest; V_start, V_end, and V_least_step of the ascent.
    """
    usual = params.model_dump(exclude={"grids"})
    names, values = zip(*params.conditions(), strict=True)
    constants = _constants(
        [usual | {n: v} for n, v in zip(names, values, strict=True)], device
    )
    neurons = Neurons(constants, params.dt)
    labels = [f"{n}={v:g}" for n, v in zip(names, values, strict=True)]
    g, V = _neurons_ascent(neurons, params.rate, params.iterations, labels)
    run(neurons, torch.zeros_like(g))
    base = neurons.losses()
    run(neurons, g)
    counts = (neurons.weight > 0).double()
    advantage = counts * (base - neurons.losses() - neurons.costs())
    gains = (counts.mT * g).cpu().numpy()
    last = constants.steps.cpu().numpy().astype(int)
    at = data.record_steps(neurons.steps, params.records)
    rows = np.arange(len(last))
    of = "condition"

    def per_condition(found: Array, text: str) -> xr.Variable:
        return variable(of, found, text)

    return xr.Dataset(
        {
            "g": variable((of, "time"), gains[:, at].astype(np.float32), "optimal gain g"),
            "advantage": variable(
                (of, "time"),
                advantage.mT.cpu().numpy()[:, at].astype(np.float32),
                "v with control minus v without",
            ),
            "g_start": per_condition(gains[:, 0], "g at the first step"),
            "g_end": per_condition(gains[rows, last - 1], "g at the last step"),
            "g_mean": per_condition(gains.sum(1) / last, "mean of g"),
            "peak_step": per_condition(gains.argmax(1), "step at which g is largest"),
            "V_start": per_condition(V[:, 0], "value without control"),
            "V_end": per_condition(V[:, -1], "value of the optimal control"),
            "V_least_step": per_condition(
                np.diff(V, axis=1).min(1), "least step of V along the ascent"
            ),
        },
        {
            "condition": variable(of, labels, "condition"),
            "parameter": variable(of, list(names), "what differs"),
            "value": variable(of, np.array(values, float), "its value"),
            "steps": variable(of, last, "steps that count"),
            "time": time_coordinate(at, params.dt),
        },
    )
