"""The simulations: gated networks and the two-layer network on a stream of tasks."""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from retrograd import curricula, ensembles
from retrograd.curricula import Curriculum
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from retrograd.papers.sandbrink2024_flexible_task_abstractions.images import (
    train_images,
)
from retrograd.papers.sandbrink2024_flexible_task_abstractions.networks import (
    GatedNetwork,
    TwoLayerNetwork,
)
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
    Images,
    Stream,
    TwoLayer,
)
from retrograd.products import variable

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Inputs = Mapping[str, xr.Dataset]
RUN = ("seed", "condition")
CROSSED = 0.1  # a switch is over when the loss falls below this
LATE = 4.0  # final stretch of time over which a sweep averages its switches


def train(params: Gated, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Train gated networks at one block length.

    Args:
        params: one section of the config.
        inputs: not used; weights and inputs are drawn from streams.
        device: where the tensors live.

    Returns:
        What `keep` names. Path i is the student that ends closest to teacher i. Per block
        (seed, condition, block): t_cross, time_to_tenth, block_loss, gate_speed, alignment,
        c_end (..., path). At the kept times, mean over seeds (condition, time), and for the
        first two the standard error, as *_error: loss, c (..., path), cos_own, cos_other,
        w_norm, weight_speed, c_speed.

    Raises:
        RetrogradError: a run went non-finite; names seed, condition and step.
    """
    (tau_B,) = params.tau_B
    tasks = data.curriculum(params, tau_B)
    kept = data.kept_steps(params, tasks)
    ends = tasks.last_steps + 1
    before = np.maximum(kept - params.speed_steps, 0)  # speeds are since the last record
    steps = np.unique(np.concatenate([before, kept, ends]))
    network = GatedNetwork(params, device)
    recorded = ensembles.follow(network, steps.tolist(), "gated network")
    losses = _behind_the_runs(network.losses)
    gates = _behind_the_runs(network.gates)  # (seed, condition, step, path, row)
    pairing = data.best_pairing(recorded["cos"][:, :, -1])
    c = np.take_along_axis(gates, pairing[:, :, None, :, None], 3)
    at_ends = np.searchsorted(steps, ends)
    blocks = _of_blocks(params, tasks, losses) | {
        "gate_speed": _gate_speed(params, tasks, c),
        "alignment": data.total_alignment(recorded["cos"][:, :, at_ends]),
        "c_end": np.take_along_axis(
            recorded["c"][:, :, at_ends].mean(-1), pairing[:, :, None], 3
        ),
    }
    series = _kept_series(recorded, np.searchsorted(steps, kept), pairing)
    series |= {"loss": losses[:, :, kept], "c": c[:, :, kept].mean(-1)}
    series["c_speed"] = _speed(c, params.dt)[:, :, np.minimum(kept, params.steps - 2)]
    asked = set(params.keep)
    found = xr.Dataset(
        _block_variables({k: v for k, v in blocks.items() if k in asked})
        | _means_over_seeds({k: v for k, v in series.items() if k in asked})
    )
    coordinates = data.run_coordinates(params) | _times(params, tasks, kept, params.paths)
    return found.assign_coords({k: v for k, v in coordinates.items() if k in found.dims})


def sweep(params: Gated, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Train gated networks at several block lengths or time scales; keep how they end.

    Returns:
        alignment (seed, condition), total alignment at the end; t_cross (seed,
        condition), mean over the blocks that start in the last LATE of the time.
    """
    network = GatedNetwork(params, device)
    recorded = ensembles.follow(network, [params.steps], "sweep of gated networks")
    losses = _behind_the_runs(network.losses)
    late = np.empty((params.seeds, len(params.conditions())))
    for i, condition in enumerate(params.conditions()):
        tasks = data.curriculum(params, condition.tau_B)
        times = _of_blocks(params, tasks, losses[:, [i]])["t_cross"][:, 0]
        is_late = tasks.starts >= params.steps - round(LATE / params.dt)
        late[:, i] = times[:, is_late].mean(-1) if is_late.any() else times[:, -1]
    alignment = data.total_alignment(recorded["cos"][:, :, -1])
    return xr.Dataset(
        {
            "alignment": variable(RUN, alignment, _TEXTS["alignment"]),
            "t_cross": variable(RUN, late, f"late {_TEXTS['t_cross']}"),
        },
        data.run_coordinates(params) | data.condition_coordinates(params),
    )


def population(params: Gated, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Train gated networks on the population gradient: what the reduction predicts.

    Returns:
        What `data.trajectories` describes.
    """
    (tau_B,) = params.tau_B
    kept = data.kept_steps(params, data.curriculum(params, tau_B))
    network = GatedNetwork(params, device)
    ensembles.follow(network, [params.steps], "population gradient")
    losses, gates = (
        _behind_the_runs(a)[:, :, kept] for a in (network.losses, network.gates)
    )
    return data.trajectories(params, kept, losses, gates[..., 0])


def two_layer(params: TwoLayer, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Train two-layer linear networks; a hidden unit is matched to a row of a teacher.

    Returns:
        alignment (seed, condition), mean cosine of the matched rows of W1 at the end;
        block_loss (seed, condition, block); gate (seed, condition, task, on), mean over
        outputs o of W2[o, unit matched to row o of `task`] at the end of the last block
        whose task is `on`; W2 (condition, on, output, unit) of seed 0, then, units in the
        order of the teachers' rows; and at the kept times mean and error of
        alignment_path, the alignment.
    """
    (tau_B,) = params.tau_B
    tasks = data.curriculum(params, tau_B)
    kept = data.kept_steps(params, tasks)
    last_ends = [(tasks.last_steps + 1)[tasks.tasks == m][-1] for m in range(params.tasks)]
    steps = np.unique([*kept, *last_ends, params.steps])
    network = TwoLayerNetwork(params, device)
    recorded = ensembles.follow(network, steps.tolist(), "two-layer network")
    losses = _behind_the_runs(network.losses)
    # Cosines (seed, condition, time, row, unit) of all teacher rows with all hidden units.
    rows = data.teachers(params).reshape(-1, params.d_in)
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    W1 = recorded["W1"] / np.linalg.norm(recorded["W1"], axis=-1, keepdims=True)
    cos = rows @ np.swapaxes(W1, -1, -2)
    unit = data.best_pairing(cos[:, :, -1])  # (seed, condition, row)
    alignment = np.take_along_axis(cos, unit[:, :, None, :, None], -1)[..., 0].mean(-1)
    # W2 (seed, condition, on, output, row)
    W2 = recorded["W2"][:, :, np.searchsorted(steps, last_ends)]
    W2 = np.take_along_axis(W2, unit[:, :, None, None], -1)
    outputs = np.arange(params.d_out)
    by_task = W2.reshape(*W2.shape[:-1], params.tasks, params.d_out)
    gate = np.swapaxes(by_task[..., outputs, :, outputs].mean(0), -1, -2)
    at_kept = np.searchsorted(steps, kept)
    means = {"alignment_path": alignment[:, :, at_kept]}
    block_loss = _of_blocks(params, tasks, losses)["block_loss"]
    return xr.Dataset(
        {
            "alignment": variable(RUN, alignment[:, :, -1], "mean cosine of matched rows"),
            "gate": variable((*RUN, "task", "on"), gate, "mean weight W2 of matched units"),
            "W2": _float32(
                ("condition", "on", "output", "unit"), W2[0], "second layer of seed 0"
            ),
        }
        | _block_variables({"block_loss": block_loss})
        | _means_over_seeds(means),
        data.run_coordinates(params)
        | _times(params, tasks, kept)
        | {
            "task": data.index("task", params.tasks, "teacher matched to"),
            "on": data.index("on", params.tasks, "task of the block"),
            "output": data.index("output", params.d_out, "output"),
            "unit": data.index("unit", len(rows), "hidden unit, by its teacher row"),
        },
    )


def images(params: Images, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Two labellings of images: see `images.train_images`."""
    return train_images(params, device)


# ---- statistics ------------------------------------------------------------------------

_TEXTS = {
    "t_cross": "time from a switch until the loss is below 0.1",
    "time_to_tenth": "time from a switch until the loss is a tenth of its value then",
    "block_loss": "mean task loss in the block",
    "gate_speed": "largest speed of the difference of two gates in the block",
    "alignment": "total alignment: mean cosine of paired students and teachers",
    "c_end": "gates at block end",
    "loss": "task loss",
    "c": "gates",
    "cos_own": "cosine of students with their own teachers",
    "cos_other": "cosine of students with other teachers",
    "w_norm": "Frobenius norm of students",
    "weight_speed": "norm of the velocity of the normalised students",
    "c_speed": "norm of the velocity of the gates",
    "alignment_path": "mean cosine of matched rows",
}
_WITH_ERROR = {"loss", "c", "alignment_path"}


def _behind_the_runs(steps_first: torch.Tensor) -> Array:
    """(seed, condition, step, ...) in float64, from (step, seed, condition, ...)."""
    return np.moveaxis(steps_first.cpu().numpy().astype(float), 0, 2)


def _of_blocks(params: Stream, tasks: Curriculum, losses: Array) -> dict[str, Array]:
    """Statistics (seed, condition, block) of the loss at every step."""
    steps = np.arange(params.steps)
    blocks = list(curricula.in_blocks(tasks, steps))
    start = np.repeat(losses[:, :, tasks.starts], tasks.lengths, axis=-1)

    def time_until(reached: NDArray[np.bool_]) -> Array:
        return curricula.steps_until(reached, tasks, steps) * params.dt

    return {
        "t_cross": time_until(losses < CROSSED),
        "time_to_tenth": time_until(losses < 0.1 * start),
        "block_loss": np.stack([losses[:, :, b].mean(-1) for b in blocks], axis=-1),
    }


def _gate_speed(params: Gated, tasks: Curriculum, c: Array) -> Array:
    """Largest abs(d(c^p − c^q)/dt) of any two gates within every block."""
    steps = np.arange(0, params.steps, params.speed_steps)
    velocity = np.diff(c[:, :, steps], axis=2) / (params.speed_steps * params.dt)
    speed = np.ptp(velocity, axis=3).max(-1)
    blocks = curricula.in_blocks(tasks, steps[:-1])
    return np.stack([speed[:, :, b].max(-1) for b in blocks], axis=-1)


def _speed(c: Array, dt: float) -> Array:
    """Norm over all gates of dc/dt in every step but the last, (seed, condition, step)."""
    found: Array = np.linalg.norm(np.diff(c, axis=2), axis=(-2, -1)) / dt
    return found


def _kept_series(
    recorded: Mapping[str, Array], at: Integers, pairing: Integers
) -> dict[str, Array]:
    """What is recorded of the students at the kept times, own teacher against others."""
    cos = np.take_along_axis(recorded["cos"], pairing[:, :, None, None], -1)[:, :, at]
    own = np.trace(cos, axis1=-2, axis2=-1)
    tasks = cos.shape[-1]
    other = (cos.sum((-2, -1)) - own) / (tasks * (tasks - 1))
    return {
        "cos_own": own / tasks,
        "cos_other": other,
        "w_norm": recorded["w_norm"][:, :, at].mean(-1),
        "weight_speed": recorded["weight_speed"][:, :, at],
    }


def _block_variables(statistics: Mapping[str, Array]) -> dict[str, xr.Variable]:
    """Of (seed, condition, block[, path])."""
    return {
        name: _float32((*RUN, "block", "path")[: values.ndim], values, _TEXTS[name])
        for name, values in statistics.items()
    }


def _means_over_seeds(series: Mapping[str, Array]) -> dict[str, xr.Variable]:
    """Mean and standard error over seeds of (seed, condition, time[, path])."""
    found = {}
    for name, values in series.items():
        dims = ("condition", "time", "path")[: values.ndim - 1]
        found[name] = _float32(dims, values.mean(0), f"mean {_TEXTS[name]}")
        if name in _WITH_ERROR:
            text = f"standard error of the {_TEXTS[name]}"
            found[f"{name}_error"] = _float32(dims, data.standard_error(values), text)
    return found


def _times(
    params: Stream, tasks: Curriculum, kept: Integers, paths: int = 0
) -> dict[str, xr.Variable]:
    """Coordinates of the kept times, the blocks, and the paths if there are any."""
    found = {
        "time": variable("time", kept * params.dt, "time"),
        "block": data.index("block", len(tasks.tasks), "block"),
    }
    if paths:
        text = "student, by the teacher it ends closest to"
        found["path"] = data.index("path", paths, text)
    return found


def _float32(dims: tuple[str, ...], values: Array, long_name: str) -> xr.Variable:
    return variable(dims, values.astype(np.float32), long_name)
