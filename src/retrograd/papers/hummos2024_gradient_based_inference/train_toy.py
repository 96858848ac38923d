"""The toy experiment: train on the switching stream, test, and keep the statistics."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.hummos2024_gradient_based_inference import toy
from retrograd.papers.hummos2024_gradient_based_inference.data import (
    evidence_coordinates,
    float32,
    indices,
)
from retrograd.papers.hummos2024_gradient_based_inference.following import (
    INFERENCES,
    follow,
    one_step,
)
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.papers.hummos2024_gradient_based_inference.predictors import (
    KINDS,
    History,
    train,
)
from retrograd.products import variable

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
SHOWN = ("gbi", "lstm")  # of which one switching test is kept
CURVE = 80  # points of the training curve
AT_END = 10  # last steps of a test stream, over which Z is averaged


def experiment(params: Toy, device: torch.device) -> xr.Dataset:
    """Train all members, test them, and keep the statistics: see `train.toy`."""
    streams = [toy.training_stream(params, run) for run in range(params.seeds)]
    with torch.inference_mode():
        history = train(params, streams, device)
        variables = (
            _learning(params, streams, history)
            | _generalisation(params, history.weights)
            | _tracking(params, history.weights)
            | _evidence(params, history.weights)
        )
    return xr.Dataset(variables, _coordinates(params))


def _learning(
    params: Toy, streams: Sequence[toy.Stream], history: History
) -> dict[str, xr.Variable]:
    """Losses and engaged units along training."""
    per_seed = [
        _learning_of_seed(params, s.curriculum, s.x, history, seed)
        for seed, s in enumerate(streams)
    ]
    run = ("kind", "seed")
    block, bins = (*run, "block"), (*run, "bin")
    dims_and_texts = {
        "loss": (run, "mean squared error over all steps"),
        "late_loss": (run, "the same, second half of the steps"),
        "early_loss": (run, "the same, first blocks without their first predictions"),
        "switch_loss": (run, "squared error of the first step after a switch, late blocks"),
        "block_loss": (block, "mean squared error of a block without its first steps"),
        "curve": ((*run, "stretch"), "mean squared error of a stretch of training"),
        "engaged_either": (bins, "units engaged in either task"),
        "shared": (bins, "shared ratio of units"),
    }
    found = {}
    for name, (dims, text) in dims_and_texts.items():
        values = np.stack([s[name] for s in per_seed], 1)
        kind = np.int32 if name.startswith("engaged") else np.float32
        found[name] = variable(dims, values.astype(kind), text)
    return found


def _learning_of_seed(
    params: Toy, curriculum: toy.Curriculum, x: Array, history: History, seed: int
) -> dict[str, Array]:
    """Statistics of all kinds, kind in front."""
    steps = np.arange(params.window, curriculum.steps)
    loss = (history.prediction[:, seed, : len(steps)] - x[steps]).astype(float) ** 2
    block_loss = toy.block_means(loss, curriculum, steps, params.dropped)
    late = curriculum.starts[curriculum.starts > 0.6 * curriculum.steps]
    engaged = [
        toy.engaged_units(h, curriculum, steps, params.bin_blocks, params.engaged)
        for h in history.hidden[:, seed, : len(steps)]
    ]
    both, either = np.swapaxes(engaged, 0, 1)
    stretches = np.array_split(np.arange(len(steps)), CURVE)
    return {
        "loss": loss.mean(-1),
        "late_loss": loss[:, len(steps) // 2 :].mean(-1),
        "early_loss": _early(loss, curriculum, steps, params),
        "switch_loss": loss[:, late - params.window].mean(-1),
        "block_loss": block_loss,
        "curve": np.stack([loss[:, s].mean(-1) for s in stretches], -1),
        "engaged_either": either,
        "shared": toy.shared_ratio(both, either),
    }


def _early(loss: Array, curriculum: toy.Curriculum, steps: Integers, params: Toy) -> Array:
    block = curriculum.block_at(steps)
    kept = block < params.early_blocks
    kept &= steps - curriculum.starts[block] >= params.dropped
    found: Array = loss[:, kept].mean(-1)
    return found


def _generalisation(params: Toy, weights: Weights) -> dict[str, xr.Variable]:
    """Excess errors and Z on streams of one mean each."""
    x = np.stack([toy.test_streams(params, run) for run in range(params.seeds)])
    found = follow(params, weights, x)
    means = np.array(params.test_means)
    late = found.prediction[..., params.test_from - params.window :]
    trained = [params.test_means.index(m) for m in params.mu]
    # (inference, seed, task, step, K), where task k asks for the one-hot of k
    Z = found.Z[:, :, trained, -AT_END:]
    distance = abs(Z - np.eye(toy.TASKS)[:, None]).mean(-2)
    run = ("inference", "seed")
    return {
        "prediction_mean": float32(
            (*run, "mean"), late.mean(-1), "mean prediction on a test stream"
        ),
        "excess": float32(
            (*run, "mean"),
            ((late - means[:, None]) ** 2).mean(-1),
            "mean squared distance of predictions from the mean of the stream",
        ),
        "Z_largest": float32(
            (*run, "mean"), abs(found.Z).max((-2, -1)), "largest |Z| on a test stream"
        ),
        "Z_distance": float32(
            (*run, "task", "component"),
            distance,
            "distance of Z from the one-hot of the stream's task at its end",
        ),
    }


def _tracking(params: Toy, weights: Weights) -> dict[str, xr.Variable]:
    """The switching test: errors by lag, and one run of each inference."""
    streams = [toy.switching_test(params, run) for run in range(params.seeds)]
    found = follow(params, weights, np.stack([s.x for s in streams])[:, None])
    curriculum, w = streams[0].curriculum, params.window
    mean = np.array(params.mu)[curriculum.task_of_every_step()]
    excess = (found.prediction[:, :, 0] - mean[w:]) ** 2
    shown = [list(INFERENCES).index(name) for name in SHOWN]
    text = "of seed 0 in the switching test"
    return {
        "lag_excess": float32(
            ("inference", "seed", "lag"),
            toy.after_switch(excess, curriculum, w),
            "squared distance of predictions from the mean, over switches",
        ),
        "switch_x": float32(("time",), streams[0].x[w:], f"observations {text}"),
        "switch_prediction": float32(
            ("shown", "time"),
            found.prediction[shown, 0, 0],
            f"predictions {text}",
        ),
        "switch_gradient": float32(
            ("time", "component"), found.gradient[0, 0, 0], f"minus gradients of gbi {text}"
        ),
        "switch_Z": float32(("time", "component"), found.Z[0, 0, 0], f"Z of gbi {text}"),
    }


def _evidence(params: Toy, weights: Weights) -> dict[str, xr.Variable]:
    """One-step scores s_0 - s_1 of probes after histories, and along a new stream."""
    histories = np.stack([toy.probe_histories(params, r) for r in range(params.seeds)])
    values = toy.probes(params)
    probed = np.concatenate(
        [
            np.repeat(histories, len(values), axis=1),
            np.tile(values, histories.shape[1])[None, :, None].repeat(params.seeds, 0),
        ],
        axis=-1,
    )
    streams = [toy.new_stream(params, run) for run in range(params.seeds)]
    windows = np.stack(
        [np.lib.stride_tricks.sliding_window_view(s.x, params.window + 1) for s in streams]
    )
    found = {}
    probe_scores, stream_scores = (one_step(weights, x) for x in (probed, windows))
    for kind, prefix in (("gbi", ""), ("lstm", "control_")):
        i = KINDS.index(kind)
        at_probes = _difference(params, probe_scores[i]).reshape(
            params.seeds, -1, len(values)
        )
        found[f"{prefix}probe_evidence"] = float32(
            ("seed", "history", "probe"), at_probes, "evidence for task 0 from one step"
        )
        found[f"{prefix}evidence"] = float32(
            ("seed", "observation"),
            _difference(params, stream_scores[i]),
            "evidence for task 0 along a new stream",
        )
    task = np.stack([s.task[params.window :] for s in streams])
    found["new_task"] = variable(
        ("seed", "observation"), task.astype(np.int32), "task of the observation"
    )
    return found


def _difference(params: Toy, minus_gradient: Array) -> Array:
    """s_0 - s_1, where s is minus the gradient of a squared error over 2 sigma²."""
    s = minus_gradient / (2 * params.sigma**2)
    difference: Array = s[..., 0] - s[..., 1]
    return difference


def _coordinates(params: Toy) -> dict[str, xr.Variable]:
    w = params.window
    counts = {
        "block": (params.blocks, "block of training"),
        "stretch": (CURVE, "stretch of training, of equal numbers of steps"),
        "bin": (params.blocks // params.bin_blocks, "bin of blocks of training"),
        "task": (toy.TASKS, "task"),
        "component": (toy.TASKS, "component of Z"),
        "lag": (params.switch_steps, "steps since the first of a block"),
    }
    steps = params.switch_blocks * params.switch_steps
    return indices(counts) | {
        "kind": variable("kind", list(KINDS), "kind of network"),
        "shown": variable("shown", list(SHOWN), "inference, one run of which is kept"),
        "inference": variable("inference", list(INFERENCES), "network and rule for Z"),
        "mean": variable("mean", np.array(params.test_means), "mean of a test stream"),
        "time": variable("time", np.arange(w, steps), "step of the switching test"),
        **evidence_coordinates(params),
    }
