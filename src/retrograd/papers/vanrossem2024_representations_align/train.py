"""The simulations: gradient descent of many networks at once, and what is recorded of it.

A product's runs that share shapes and length are one batch. Every run draws its weights,
samples and dropout from streams of its own. Weights are float32; what is recorded of them
is reduced in float64.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from retrograd import convergence, ensembles
from retrograd.papers.vanrossem2024_representations_align import data, observables
from retrograd.papers.vanrossem2024_representations_align.observables import HALF, WHOLE
from retrograd.papers.vanrossem2024_representations_align.params import (
    AXES,
    Context,
    Digits,
    OtherTasks,
    Regime,
    Setting,
    TwoPointRuns,
    TwoPoints,
)
from retrograd.papers.vanrossem2024_representations_align.training import (
    Run,
    Training,
    batched,
    full_batch,
    mini_batch,
)
from retrograd.products import variable

Array = NDArray[np.float64]
Nothing = Mapping[str, xr.Dataset]


# ---- two points ------------------------------------------------------------------------


def settings(params: TwoPoints, seed: int, device: torch.device) -> xr.Dataset:
    """Two-point runs in every setting.

    Returns:
        h2, y2, w (setting, seed, time) and converged (setting, seed); discarded (setting,
        seed) if networks were drawn in vain before those recorded; loss over time if
        curves are asked for; layer_h2 (layer, seed, time) of the first setting if layers
        are.
    """
    task = data.two_points(params.dx2**0.5, params.dy2**0.5, params.d_in, params.d_out)
    recorded: dict[tuple[str, int], dict[str, Array]] = {}
    for runs in batched(params.settings, params.seeds):
        setting = runs[0].setting
        # A run's later draws have streams of their own, after those of all first draws.
        runs = [
            Run(run.setting, run.seed + draw * params.seeds)
            for draw in range(setting.draws)
            for run in runs
        ]
        observer = observables.pair_observer(range(setting.hidden_layers))
        training = full_batch(runs, seed, task.x[None], task.y[None], observer, device)
        steps = data.record_steps(setting.steps, params.records)
        found = ensembles.follow(training, steps.tolist(), setting.name, axes=1)
        for i, run in enumerate(runs):
            of_run = {name: values[i] for name, values in found.items()}
            of_run["layer_h2"] = of_run["h2"].T
            of_run["h2"] = of_run["h2"][:, setting.layer]
            recorded[run.setting.name, run.seed] = of_run

    def discarded(setting: Setting, seed: int) -> int:
        """How many draws of a run did not converge before the one that did, or the last."""
        for draw in range(setting.draws - 1):
            loss = recorded[setting.name, seed + draw * params.seeds]["loss"]
            if loss[-1] <= params.loss_threshold:
                return draw
        return setting.draws - 1

    vain = np.array(
        [[discarded(s, seed) for seed in range(params.seeds)] for s in params.settings]
    )
    chosen = np.arange(params.seeds) + vain * params.seeds

    def stacked(name: str) -> Array:
        """(setting, seed, time)"""
        return np.array(
            [
                [recorded[s.name, seed][name] for seed in seeds]
                for s, seeds in zip(params.settings, chosen.tolist(), strict=True)
            ]
        )

    names = data.TRAJECTORY if params.curves else data.PAIR
    dims = ("setting", "seed")
    loss = stacked("loss")[..., -1]
    variables = data.trajectory((*dims, "time"), {name: stacked(name) for name in names})
    variables["converged"] = convergence.mask(dims, loss, params.loss_threshold)
    if vain.any():
        text = "networks drawn before this one that did not converge"
        variables["discarded"] = variable(dims, vain.astype(np.int32), text)
    if params.layers:
        first = params.settings[0].name
        by_seed = [recorded[first, seed]["layer_h2"] for seed in chosen[0].tolist()]
        layer_h2 = data.coarse(np.stack(by_seed, axis=1))
        variables["layer_h2"] = variable(
            ("layer", "seed", "time"), layer_h2, "h2 of every hidden layer, first setting"
        )
    return xr.Dataset(variables, data.two_point_coordinates(params))


def two_points(params: TwoPointRuns, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Two-point runs by architecture, by gain and by width: `settings`, joined."""
    return data.joined(
        {axis: settings(getattr(params, axis), params.seed, device) for axis in AXES}
    )


# ---- other tasks -----------------------------------------------------------------------


def other_tasks(params: OtherTasks, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Two points at other distances, one network for each; and XOR.

    Returns:
        Grid: h2_start, y2_start, h2, loss and converged (dx, dy), at the end if nothing
        else is said. XOR: distance2_start and distance2 (setting, seed, point,
        other_point), xor_loss and xor_converged (setting, seed).
    """
    return xr.Dataset(
        _grid(params, device) | _xor(params, device), data.other_task_coordinates(params)
    )


def _grid(params: OtherTasks, device: torch.device) -> dict[str, xr.Variable]:
    """One network per pair of distances, all in one batch; each is a run of its own."""
    grid = params.grid
    cells = [(dx, dy) for dx in grid.dx for dy in grid.dy]
    tasks = [data.two_points(*cell) for cell in cells]
    training = full_batch(
        [Run(grid.setting, cell) for cell in range(len(cells))],
        params.seed,
        np.stack([task.x for task in tasks]),
        np.stack([task.y for task in tasks]),
        observables.pair_observer([grid.setting.layer]),
        device,
        stop_loss=grid.stop_loss,
    )
    found = ensembles.follow(training, [0, grid.setting.steps], "grid", axes=1)
    cell, shape = ("dx", "dy"), (len(grid.dx), len(grid.dy))
    h2, y2, loss = (found[name].reshape(*shape, 2) for name in ("h2", "y2", "loss"))
    text = data.TRAJECTORY
    return {
        "h2_start": variable(cell, h2[..., 0], f"{text['h2']}, at the start"),
        "y2_start": variable(cell, y2[..., 0], f"{text['y2']}, at the start"),
        "h2": variable(cell, h2[..., 1], f"{text['h2']}, at the end"),
        "loss": variable(cell, loss[..., 1], "loss at the end"),
        "converged": convergence.mask(cell, loss[..., 1], grid.loss_threshold),
    }


def _xor(params: OtherTasks, device: torch.device) -> dict[str, xr.Variable]:
    """The four points in every setting; the loss has no factor ½."""
    task, xor = data.xor(), params.xor
    found = []
    for setting in xor.settings:
        (runs,) = batched([setting], params.seeds)
        training = full_batch(
            runs,
            params.seed,
            task.x[None],
            task.y[None],
            observables.distance_observer(setting.layer, WHOLE),
            device,
            factor=WHOLE,
            stop_loss=xor.stop_loss,
        )
        found.append(ensembles.follow(training, [0, setting.steps], setting.name, axes=1))
    run, pair = ("setting", "seed"), ("point", "other_point")
    start, end = (
        np.stack([f["distance2"][:, i] for f in found]).astype(np.float32) for i in (0, 1)
    )
    loss = np.stack([f["loss"][:, 1] for f in found])
    text = "squared distance of two representations"
    return {
        "distance2_start": variable((*run, *pair), start, f"{text}, at the start"),
        "distance2": variable((*run, *pair), end, text),
        "xor_loss": variable(run, loss, "mean squared error at the end"),
        "xor_converged": convergence.mask(run, loss, xor.loss_threshold),
    }


# ---- classes of images -----------------------------------------------------------------


def digits(params: Digits, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Networks that learn classes of images.

    Returns:
        Of squared distances D² among the shown images at the end: class_mean and
        class_mean_square (regime, seed, image_class, other_class) over pairs of two
        images; relative_change of D, regime_loss and regime_converged (regime, seed). Of
        a run in which one pair is followed: h2, y2, w, loss (seed, time) and converged
        (seed,).
    """
    images = data.images(params)
    found: dict[str, list[Array]] = {}
    for regime in params.regimes:
        observer = observables.distance_observer(regime.layer, HALF)
        training = mini_batch(
            regime,
            params.seeds,
            params.seed,
            images.task,
            params.batch,
            images.shown_task,
            observer,
            device,
        )
        recorded = ensembles.follow(training, [0, regime.steps], regime.name, axes=1)
        distance2 = np.moveaxis(recorded["distance2"], 1, 0)
        distances = np.sqrt(distance2)
        values: dict[str, Array] = {
            "class_mean": observables.class_means(distance2[1], images.classes),
            "class_mean_square": observables.class_means(distance2[1] ** 2, images.classes),
            "relative_change": observables.relative_change(distances),
            "regime_loss": recorded["loss"][:, 1],
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    variables = _class_variables(
        {name: np.stack(values) for name, values in found.items()}, params.loss_threshold
    )
    count, text = np.int32(params.per_class), "images of every class"
    variables["per_class"] = variable((), count, text)
    variables |= _pair(params, images, device)
    return xr.Dataset(variables, data.digits_coordinates(params))


def _class_variables(found: dict[str, Array], threshold: float) -> dict[str, xr.Variable]:
    run, pair = ("regime", "seed"), ("image_class", "other_class")
    mean, square = (
        found[name].astype(np.float32) for name in ("class_mean", "class_mean_square")
    )
    text = "D², mean squared distance of two images' representations"
    change = "change of all distances, relative to the start"
    loss = found["regime_loss"]
    return {
        "class_mean": variable((*run, *pair), mean, text),
        "class_mean_square": variable((*run, *pair), square, "mean of the square of D²"),
        "relative_change": variable(run, found["relative_change"], change),
        "regime_loss": variable(run, loss, "loss of the shown images at the end"),
        "regime_converged": convergence.mask(run, loss, threshold),
    }


def _pair(
    params: Digits, images: data.ImageTask, device: torch.device
) -> dict[str, xr.Variable]:
    """One image of class 0 and one of class 1, followed while all are learned."""
    regime = params.pair
    training = mini_batch(
        regime,
        params.seeds,
        params.seed,
        images.task,
        params.batch,
        images.pair_task,
        observables.pair_observer([regime.layer]),
        device,
    )
    steps = data.record_steps(regime.steps, params.records)
    found = ensembles.follow(training, steps.tolist(), "pair", axes=1)
    found["h2"] = found["h2"][..., 0]
    loss = found["loss"][:, -1]
    mask = convergence.mask("seed", loss, params.loss_threshold)
    return data.trajectory(("seed", "time"), found) | {"converged": mask}


# ---- context ---------------------------------------------------------------------------


def context(params: Context, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Networks that learn which of two features matters in a context.

    Returns:
        relevant, irrelevant (regime, seed): variance of the class means of either feature
        at the end, relevant_start, irrelevant_start at the start; embedding (regime,
        axis, context, first, second), the first principal axes of the first seed's
        representation at the end; loss and converged (regime, seed).
    """
    task, index = data.context_task(params)
    recorded = []
    for regime in params.regimes:
        observer = observables.feature_observer(regime.layer, index)
        training = _context_training(params, regime, task, observer, device)
        recorded.append(ensembles.follow(training, [0, regime.steps], regime.name, axes=1))
    run = ("regime", "seed")
    variables = {
        f"{name}{suffix}": variable(
            run,
            np.stack([found[name][:, moment] for found in recorded]),
            f"variance of the class means of the {name} feature, at the {text}",
        )
        for name in ("relevant", "irrelevant")
        for moment, suffix, text in ((0, "_start", "start"), (1, "", "end"))
    }
    embeddings = np.stack([found["embedding"][0, 1].T for found in recorded])
    of_sample = ("context", "first", "second")
    grid = (2, params.places, params.places)
    loss = np.stack([found["loss"][:, 1] for found in recorded])
    variables |= {
        "embedding": variable(
            ("regime", "axis", *of_sample),
            embeddings.reshape(*embeddings.shape[:2], *grid).astype(np.float32),
            "principal coordinates of the representations, seed 0",
            tolerance=1e-3,
        ),
        "loss": variable(run, loss, "loss at the end"),
        "converged": convergence.mask(run, loss, params.loss_threshold),
    }
    return xr.Dataset(variables, data.context_coordinates(params))


def _context_training(
    params: Context,
    regime: Regime,
    task: data.Task,
    observer: observables.Observer,
    device: torch.device,
) -> Training:
    if params.batch:
        size = params.batch
        return mini_batch(
            regime, params.seeds, params.seed, task, size, task, observer, device
        )
    (runs,) = batched([regime], params.seeds)
    return full_batch(runs, params.seed, task.x[None], task.y[None], observer, device)
