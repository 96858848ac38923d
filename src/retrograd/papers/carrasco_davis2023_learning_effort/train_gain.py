"""Optimal gain of every weight: one task, with its SGD, and two that alternate."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import ensembles
from retrograd.papers.carrasco_davis2023_learning_effort import data, settings
from retrograd.papers.carrasco_davis2023_learning_effort.optimise import (
    Found,
    ascend,
    initial_weights,
    network_of,
)
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    GainSingle,
    GainSwitch,
)
from retrograd.papers.carrasco_davis2023_learning_effort.rows import (
    Rows,
    by_case,
    seed_labels,
    tensor,
)
from retrograd.papers.carrasco_davis2023_learning_effort.sgd import NetworkSgd
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]


def _optimal_gain(
    params: GainSingle | GainSwitch,
    tasks: Sequence[data.Task],
    segments: Sequence[int] | None,
    device: torch.device,
) -> tuple[Found, settings.Gain]:
    O, I = tasks[0].Syx.shape  # noqa: E741
    weights, labels = initial_weights(params, tasks[0]), seed_labels(params.seeds)
    network = network_of(
        params, tasks, weights, labels, device, gains=True, segments=segments
    )
    setting = settings.Gain(params.beta, params.hidden, I, O)
    shape = params.steps, params.hidden * (I + O)
    streams = [stream(params.seed, run, "gains") for run in range(params.seeds)]
    start = params.start_sd * np.stack([s.standard_normal(shape) for s in streams])
    return ascend(params, network, setting, tensor(start, device)), setting


def gain_single(params: GainSingle, device: torch.device) -> xr.Dataset:
    """Optimal gain of every weight, one task; and SGD without and with it.

    Returns:
        loss (case, seed, time), cost (seed, time); gain_norm (layer, seed, time);
        weight_norm (norm, case, seed, time), mean size (l1) and root mean square (l2) of
        the weights; V; and if there is SGD, V_ode and V_sgd (case, seed), the values of
        the average dynamics and of SGD.
    """
    task = data.task(params)
    found, setting = _optimal_gain(params, [task], None, device)
    rows = Rows(("seed",), (params.seeds,))
    cases = by_case(rows)
    at = data.early_steps(params.steps, params.records)
    norm_rows, norms = _weight_norms(cases, found)
    layers = [g[:, at].square().sum((-2, -1)).sqrt() for g in setting.split(found.control)]
    by_layer = Rows(("layer", "seed"), (2, params.seeds))
    recorded = found.variables(rows, at, params.dt) | {
        "cost": rows.variable(found.cost[at].mT, "cost of control C", "time"),
        "weight_norm": norm_rows.variable(norms[:, at], "norm of the weights", "time"),
        "gain_norm": by_layer.variable(torch.cat(layers), "norm of the gains", "time"),
        "norm": NORMS,
        "layer": variable("layer", [1, 2], "layer"),
    }
    if params.sgd_runs:
        average = torch.cat([found.V_base, torch.tensor(found.V[:, -1]).to(device)])
        recorded |= {
            "V_ode": cases.variable(average, "value, average dynamics", bulk=False),
            "V_sgd": variable(
                cases.dims, _sgd_values(params, found, setting), "value, SGD"
            ),
        }
    return xr.Dataset(recorded, {"seed": data.seed_coordinate(params.seeds)})


def _weight_norms(cases: Rows, found: Found) -> tuple[Rows, Tensor]:
    """Norms of all weights by (norm, case, seed), and their values (row, time)."""
    pairs = zip(found.norms_base, found.norms_ctrl, strict=True)
    norms = torch.cat([torch.cat(pair, 1) for pair in pairs], 1).mT
    return Rows(("norm", *cases.dims), (2, *cases.sizes)), norms


NORMS = variable("norm", ["l1", "l2"], "mean size, and root mean square")


def _sgd_values(params: GainSingle, found: Found, setting: settings.Gain) -> Array:
    """V of SGD without and with the optimal gain, mean over runs: (case, seed)."""
    assert params.gaussian is not None
    runs, control = params.sgd_runs, found.control
    W1, W2 = (W[:, None] for W in initial_weights(params, data.task(params)))
    W1, W2 = (np.tile(W, (2, 1, runs, 1, 1)) for W in (W1, W2))  # (case, seed, run, ...)
    both = torch.stack([torch.zeros_like(control), control]).permute(2, 0, 1, 3)
    first, second = setting.split(1 + both)
    gains = tuple(A[..., None, :, :].cpu().numpy() for A in (first, second))
    samples = data.AffineGaussSamples(
        params.seed, (params.seeds, runs), params.gaussian, params.batch
    )
    sgd = NetworkSgd(samples, W1, W2, (gains[0], gains[1]), params.dt, params.weight_decay)
    loss = ensembles.follow(sgd, range(params.steps), "SGD", axes=3)["loss"]
    spent = loss.mean(2)  # (case, seed, time)
    spent[1] += found.cost.mT.cpu().numpy()
    discount = params.gamma ** (params.dt * np.arange(params.steps)) * params.dt
    values: Array = -(spent * discount).sum(-1)
    return values


def gain_switch(params: GainSwitch, device: torch.device) -> xr.Dataset:
    """Optimal gain of every weight while tasks A and B alternate.

    Returns:
        loss (case, seed, time), cost (seed, time); per switch, peak (case, seed, switch),
        the largest loss soon after it, cost_peak (seed, switch), the largest cost from the
        middle of the block before to that of the block after, and cost_middle, in the
        middle of the block after; to_B (switch), 1 if it is to task B;
        weight_rms_end (case, seed); V.
    """
    tasks = [data.affine_gauss(task) for task in params.tasks]
    block = params.segment_steps
    segments = (np.arange(params.steps) // block % 2).tolist()
    found, _ = _optimal_gain(params, tasks, segments, device)
    rows = Rows(("seed",), (params.seeds,))
    cases = by_case(rows)
    at = data.switch_steps(params.steps, block, params.records)
    half = block // 2
    # A switch counts if at least half a block is left after it.
    switches = [s for s in range(block, params.steps, block) if s + half < params.steps]
    soon = max(1, round(params.peak_window / params.dt))
    rms = torch.cat([found.norms_base[1][-1], found.norms_ctrl[1][-1]])

    def largest(values: Tensor, before: int, after: int) -> Tensor:
        """Around every switch, (row, switch)."""
        return torch.stack([values[s - before : s + after].amax(0) for s in switches], -1)

    losses = torch.cat([found.loss_base, found.loss_ctrl], 1)
    middle = found.cost[[s + half for s in switches]].mT
    recorded = found.variables(rows, at, params.dt) | {
        "cost": rows.variable(found.cost[at].mT, "cost of control C", "time"),
        "peak": cases.variable(
            largest(losses, 0, soon), "largest loss soon after the switch", "switch"
        ),
        "cost_peak": rows.variable(
            largest(found.cost, half, half), "largest cost around the switch", "switch"
        ),
        "cost_middle": rows.variable(middle, "cost in the middle of the block", "switch"),
        "weight_rms_end": cases.variable(rms, "root mean square weight at the end"),
    }
    to_B = [segments[s] for s in switches]
    times = params.dt * np.array(switches)
    return xr.Dataset(
        recorded,
        {
            "seed": data.seed_coordinate(params.seeds),
            "switch": variable("switch", np.arange(1, len(switches) + 1), "task switch"),
            "to_B": variable("switch", to_B, "1 if to task B, 0 if to A"),
            "switch_time": variable(
                "switch", times, "time of the switch", "time constants"
            ),
        },
    )
