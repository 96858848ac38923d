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
from retrograd.papers.carrasco_davis2023_learning_effort.params import SingleNeuron
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    CASES,
    Rows,
    Variables,
    ascended,
    tensor,
    time_coordinate,
)
from retrograd.papers.carrasco_davis2023_learning_effort.sgd import NeuronSgd
from retrograd.products import variable

Array = NDArray[np.float64]


def single_neuron(params: SingleNeuron, device: torch.device) -> xr.Dataset:
    """The optimal gain of one neuron; average learning and SGD, without and with it.

    Returns:
        weight, loss (case, time), g, cost (time); V (iteration) and V_least_step; over
        the SGD runs, sgd_loss and sgd_loss_sd (case, time), the mean and standard
        deviation, and sgd_deviation (case), the largest deviation of that mean from L at
        any step; and of the sweeps what `_swept` describes.
    """
    swept = params.conditions()
    usual = params.model_dump(exclude={"grids"})
    rows = [usual, *(usual | {c.parameter: c.value} for c in swept)]
    neurons = Neurons(_constants(rows, device), params.dt)
    labels = ["the usual neuron", *(c.label for c in swept)]
    g, V = _optimal_gain(neurons, params.rate, params.iterations, labels)
    at = data.record_steps(params.steps, params.records)
    weights, losses = [], []
    for control in (torch.zeros_like(g), g):
        run(neurons, control)
        weights.append(neurons.w.cpu().numpy().copy())
        losses.append(neurons.losses().cpu().numpy())
    weight, loss = (np.stack(found)[:, : params.steps, 0] for found in (weights, losses))
    gains = g[0, : params.steps].cpu().numpy()
    per_case = ("case", "time")
    average = {
        "weight": variable(per_case, weight[:, at], "weight w"),
        "loss": variable(per_case, loss[:, at], "average loss L"),
        "g": variable("time", gains[at], "optimal gain g"),
        "cost": variable("time", params.beta * gains[at] ** 2, "cost of control C"),
    }
    variables = average | _sgd(params, gains, loss, at) | ascended(Rows((), ()), V[:1])
    if swept:
        variables |= _swept(params, neurons, losses, g, V)
    return xr.Dataset(
        variables,
        {
            "case": variable("case", list(CASES), "without and with control"),
            "time": time_coordinate(at, params.dt),
        },
    )


def _constants(
    conditions: Sequence[Mapping[str, float]], device: torch.device
) -> Constants:
    named = {
        name: tensor([c[name] for c in conditions], device)
        for name in ("mu", "sigma", "weight_decay", "beta", "gamma", "steps")
    }
    s = named["mu"].square() + named.pop("sigma").square()
    return Constants(s=s, **named)


def _optimal_gain(
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


def _sgd(
    params: SingleNeuron, gains: Array, loss: Array, at: NDArray[np.int64]
) -> Variables:
    """SGD under no gain and under the given one, beside its average, loss (case, time)."""
    G = np.stack([np.ones_like(gains), 1 + gains])
    samples = data.TwoGaussSamples(
        params.seed, params.seeds, params.mu, params.sigma, params.batch
    )
    sgd = NeuronSgd(samples, params.seeds, G, params.dt, params.weight_decay)
    runs = ensembles.follow(sgd, range(params.steps), "SGD")["loss"]  # (case, run, time)
    mean, sd = runs.mean(1), runs.std(1)
    per_case = ("case", "time")
    return {
        "sgd_loss": variable(
            per_case, mean[:, at].astype(np.float32), "mean loss of SGD runs"
        ),
        "sgd_loss_sd": variable(
            per_case, sd[:, at].astype(np.float32), "standard deviation over SGD runs"
        ),
        "sgd_deviation": variable(
            "case", abs(mean - loss).max(1), "largest deviation of SGD's mean from L"
        ),
    }


def _swept(
    params: SingleNeuron, neurons: Neurons, losses: Sequence[Array], g: Tensor, V: Array
) -> Variables:
    """Optimal gain of every condition of the sweeps, rows 1 and on of the batch.

    Returns:
        sweep_g and advantage, v with control − v without, v = −L − C (condition,
        fraction), from the first step to the last; over all steps, g_start, g_end,
        g_mean, and peak_step, where g is largest; V_gain, sweep_V_least_step.
    """
    (base, ctrl), swept = losses, params.conditions()
    counts = (neurons.weight > 0).cpu().numpy()
    advantage = (counts * (base - ctrl - neurons.costs().cpu().numpy())).T[1:]
    gains, values = (counts.T * g.cpu().numpy())[1:], V[1:]
    last = counts.sum(0)[1:]
    # Recorded at the same fractions of every condition's learning, to the nearest step,
    # and more often early on.
    fraction = np.linspace(0, 1, params.sweep_records) ** 2
    at = np.rint(fraction * (last[:, None] - 1)).astype(int)
    of, bulk = "condition", ("condition", "fraction")
    ends = gains[np.arange(len(last)), last - 1]
    least = np.diff(values, axis=1).min(1)
    return {
        "sweep_g": variable(bulk, _at(gains, at), "optimal gain g"),
        "advantage": variable(bulk, _at(advantage, at), "v with control minus v without"),
        "g_start": variable(of, gains[:, 0], "g at the first step"),
        "g_end": variable(of, ends, "g at the last step"),
        "g_mean": variable(of, gains.sum(1) / last, "mean of g"),
        "peak_step": variable(of, gains.argmax(1), "step at which g is largest"),
        "V_gain": variable(of, values[:, -1] - values[:, 0], "value that control adds"),
        "sweep_V_least_step": variable(of, least, "least step of V in the ascent"),
        "condition": variable(of, [c.label for c in swept], "condition"),
        "value": variable(of, [float(c.value) for c in swept], "what differs"),
        "duration": variable(of, last * params.dt, "length T dt", "time constants"),
        "fraction": variable("fraction", fraction, "time as a fraction of the duration"),
    }


def _at(values: Array, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """Values (condition, step) at steps that differ by condition (condition, record)."""
    return np.take_along_axis(values, at, 1).astype(np.float32)
