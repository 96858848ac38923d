"""The simulation: gradient descent, recorded; and its agreement with the exact solution.

The loop itself is in descent.py.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from retrograd import ensembles
from retrograd.linear_networks import (
    balance,
    kernel_distance,
    mode_strengths,
    modes,
)
from retrograd.papers.domine2024_lazy_to_rich import data, exact, observables, probes
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.descent import (
    Descent,
    descend,
    weights_after,
)
from retrograd.papers.domine2024_lazy_to_rich.observables import (
    Blocks,
    blocks,
    coordinates,
    gram,
    loss,
    record_steps,
    stack,
)
from retrograd.papers.domine2024_lazy_to_rich.params import (
    Aligned,
    Architectures,
    Continual,
    DescentAgreement,
    Semantic,
    Switch,
    Trajectories,
)
from retrograd.products import variable

Array = NDArray[np.float64]


def _grams(W1: Array, W2: Array) -> Mapping[str, Array]:
    return {"gram": gram(stack(W1, W2))}


# ---- agreement with the exact solution -------------------------------------------------
#
# Recorded where the runs are, as a deviation: the matrices compared would fill megabytes.


def descent_agreement(
    params: DescentAgreement, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """Gradient descent against the exact solution, at several learning rates.

    Returns:
        deviation (shape, eta, seed, lam): largest |QQᵀ_gd − QQᵀ_exact| along a run, over
        the largest |QQᵀ|; balance_error, of the same axes, at `balance_at`.
    """
    times = np.linspace(0, params.t_max, params.records)
    at = int(np.argmin(abs(times - params.balance_at)))
    size = (len(params.shapes), len(params.eta), params.seeds, len(params.lam))
    deviation, balance_error = np.empty(size), np.empty(size)
    for row, (name, shape) in enumerate(params.shapes.items()):
        networks = data.sample(params, shape, params.lam)
        expected = exact.solution(networks, times)
        for column, eta in enumerate(params.eta):
            steps = np.rint(times / eta).astype(np.int64)
            errors = _BalanceErrors(networks.lam)
            runs = descend(networks, eta, steps, errors, device, f"{name}, η={eta:g}")
            difference = abs(runs["gram"] - expected).max((2, 3, 4))
            deviation[row, column] = difference / abs(expected).max((2, 3, 4))
            balance_error[row, column] = runs["balance_error"][:, :, at]
    axes = ("shape", "eta", "seed", "lam")
    return xr.Dataset(
        {
            "deviation": variable(
                axes, deviation.astype(np.float32), "largest |QQᵀ_gd − QQᵀ_exact| / |QQᵀ|"
            ),
            "balance_error": variable(
                axes,
                balance_error.astype(np.float32),
                f"largest |W2ᵀW2 − W1W1ᵀ − λI| at t = {params.balance_at:g}",
            ),
        },
        coordinates(
            seeds=params.seeds,
            lam=params.lam,
            shape=(list(params.shapes), "architecture"),
            eta=(params.eta, "learning rate"),
        ),
    )


class _BalanceErrors:
    """Records QQᵀ and how far the balance is from λ I."""

    def __init__(self, lam: Array) -> None:
        self._lam = lam[..., None, None]

    def __call__(self, W1: Array, W2: Array) -> Mapping[str, Array]:
        off = balance(W1, W2) - self._lam * np.eye(W1.shape[-2])
        return {**_grams(W1, W2), "balance_error": abs(off).max((-1, -2))}


# ---- trajectories ----------------------------------------------------------------------


def trajectories(
    params: Trajectories, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """What `observables.trajectories` describes, of the first run."""
    networks = data.sample(params, params.shape, params.lam, runs=1)
    steps = record_steps(params)
    runs = descend(networks, params.eta, steps, _grams, device, "exact")
    times = params.eta * steps
    target = networks.target[0, 0]
    return observables.trajectories(runs["gram"][0], target, params.lam, times)


def aligned(
    params: Aligned, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """Strengths a (lam, mode, time) of the modes of networks that start aligned."""
    networks, U, V = data.aligned_networks(params)
    steps = record_steps(params)

    def record(W1: Array, W2: Array) -> Mapping[str, Array]:
        return {"a": mode_strengths(W2 @ W1, U, V)}

    runs = descend(networks, params.eta, steps, record, device, "aligned")
    a = np.swapaxes(runs["a"][0], -1, -2)
    return observables.aligned_modes(
        a, params.singular_values, params.lam, params.eta * steps
    )


def architectures(
    params: Architectures, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """kernel_distance (shape, seed, lam) from start to end of gradient descent."""
    eta = data.learning_rates(params, params.hi)
    distances = []
    for name, shape in params.shapes.items():
        networks = data.sample(params, shape, params.lam)
        W1, W2 = weights_after(networks, eta, params.steps, device, name)
        start, end = (
            blocks(gram(stack(*W)), shape.inputs)
            for W in ((networks.W1, networks.W2), (W1, W2))
        )
        distances.append(kernel_distance(start.A, start.B, end.A, end.B))
    times = params.steps * eta
    return observables.kernel_distances(
        np.stack(distances), list(params.shapes), params.lam, times
    )


# ---- one task after another ------------------------------------------------------------


def switch(
    params: Switch, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """What `observables.switches` describes."""
    steps = record_steps(params)
    problems = data.switched(params)
    losses = []
    for name, networks in problems.items():
        record = _Losses(networks.target)
        runs = descend(networks, params.eta, steps, record, device, name)
        losses.append(runs["loss"])
    return observables.switches(
        list(problems), np.stack(losses), params.lam, params.eta * steps
    )


class _Losses:
    """Records the loss on a target, whatever is learned."""

    def __init__(self, target: Array) -> None:
        self._target = target

    def __call__(self, W1: Array, W2: Array) -> Mapping[str, Array]:
        return {"loss": loss(W2 @ W1, self._target)}


def continual(
    params: Continual, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """What `observables.task_sequence` describes."""
    networks, targets = data.sample_tasks(params)
    steps = observables.task_steps(params)

    def record(W1: Array, W2: Array) -> Mapping[str, Array]:
        return {"loss": loss((W2 @ W1)[:, :, None], targets[:, None])}

    ensemble = Descent(networks, params.eta, record, device)
    losses = []
    for task in range(params.tasks):
        ensemble.aim(targets[:, task, None])
        what = f"task {task + 1} of {params.tasks}"
        losses.append(ensembles.follow(ensemble, steps[task].tolist(), what)["loss"])
    return observables.task_sequence(
        np.concatenate(losses, axis=2), targets, params.lam, params.eta * steps.ravel()
    )


# ---- the hierarchy ---------------------------------------------------------------------


def semantic(
    params: Semantic, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """Networks that have learned the hierarchy.

    Returns:
        statistic (seed, lam, name), see `observables.learned_hierarchy`, of λ-balanced
        networks; gaussian_statistic (seed, init, name) of those with Gaussian weights; and
        matrix (network, block, row, column): map, A and B of the first run of some.
    """
    rates = data.learning_rates(params, float(modes(data.hierarchy()).s[0]))
    networks = data.hierarchy_networks(params)
    found, end = _learned(params, networks, rates, device)
    product = observables.learned_hierarchy(
        found, ("lam", params.lam, "λ, balance of the layers")
    )
    matrices = {f"λ={lam:g}": _first(end, params.lam.index(lam)) for lam in params.shown}
    others = []
    for name, init in params.gaussian.items():
        networks = data.gaussian_networks(params, init)
        rate = np.array([params.gaussian_rate / init.hidden])
        found, end = _learned(params, networks, rate, device)
        others.append(found)
        matrices[name] = _first(end, 0)
    axis = ("init", list(params.gaussian), "Gaussian initial weights")
    gaussian = observables.learned_hierarchy(np.concatenate(others, axis=1), axis)
    return xr.merge(
        [
            product,
            gaussian.rename(statistic="gaussian_statistic"),
            observables.representations(matrices),
        ],
        join="exact",
        compat="identical",
    )


def _learned(
    params: Semantic, networks: Networks, eta: Array, device: torch.device
) -> tuple[Array, Blocks]:
    """The statistics of trained networks (seed, network, name), and map, A and B."""
    W1, W2 = weights_after(networks, eta, params.steps, device, "the hierarchy")
    start, end = (
        blocks(gram(stack(*W)), data.ITEMS) for W in ((networks.W1, networks.W2), (W1, W2))
    )
    target = data.hierarchy()
    statistics = observables.hierarchy_statistics(
        learned=end,
        target=target,
        kernel_distance=kernel_distance(start.A, start.B, end.A, end.B),
        transfer=observables.by_relation(probes.transfer(W1)),
        noisy_loss=probes.noisy_losses(params, target, W1, W2),
    )
    return statistics, end


def _first(learned: Blocks, network: int) -> Array:
    """map, A and B of one network of the first run: (block, row, column)."""
    return np.stack([block[0, network] for block in learned])
