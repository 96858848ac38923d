"""Networks that predict the toy stream: online training, then inference of Z.

    u_t = [x_t; z_t+1] W_in + b_in, LSTM, x̂_t+1 = h_t · W_out + b_out

z belongs to the target of a prediction. Members are kinds × seeds: in training `gbi` gets
the task as z, `lstm` gets zeros, `random labels` gets a task drawn anew for every block.
All kinds of a seed see the same stream and start equal.
Members advance in one tensor program; by rounding alone, their numbers may depend on how
many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import progress
from retrograd.papers.hummos2024_gradient_based_inference import data, lstm, toy
from retrograd.papers.hummos2024_gradient_based_inference.data import (
    evidence_coordinates,
    float32,
    indices,
)
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
# How Z is found at test time: which kind of network, and how its Z moves.
KINDS = (*data.KINDS, "random labels")
INFERENCES = {
    "gbi": ("gbi", "linear"),
    "gbi, softmax Z": ("gbi", "softmax"),
    "lstm": ("lstm", "none"),
    "lstm, Z optimised": ("lstm", "linear"),
    "random labels": ("random labels", "linear"),
}
SHOWN = ("gbi", "lstm")  # of which one switching test is kept
CURVE = 80  # points of the training curve
AT_END = 10  # last steps of a test stream, over which Z is averaged
START = 1 / toy.TASKS  # of every component of Z


# ---- the network -----------------------------------------------------------------------


def initial_weights(params: Toy, run: int) -> dict[str, Array]:
    """Of one run, the same for both kinds."""
    rng, H = stream(params.seed, run, "toy network"), params.H
    inputs = 1 + toy.TASKS
    return {
        "W_in": lstm.uniform(rng, inputs, inputs, H),
        "b_in": lstm.uniform(rng, inputs, 1, H),
        "W_x": lstm.uniform(rng, H, H, 4 * H),
        "W_h": lstm.uniform(rng, H, H, 4 * H),
        "b": lstm.uniform(rng, H, 1, 4 * H),
        "W_out": lstm.uniform(rng, H, H, 1),
        "b_out": lstm.uniform(rng, H, 1, 1),
    }


@dataclass(frozen=True)
class Pass:
    """A forward pass: inputs and u (member, time · row, ...), and x̂ (member, time, row)."""

    inputs: Tensor
    u: Tensor
    trace: lstm.Trace
    prediction: Tensor


def forward(weights: Weights, inputs: Tensor) -> Pass:
    """Predict what follows each input.

    Args:
        weights: of all members.
        inputs: x and z, (member, time, row, 1 + K).
    """
    times = inputs.shape[1]
    flat = inputs.flatten(1, 2)
    u = torch.baddbmm(weights["b_in"], flat, weights["W_in"])
    gates = torch.baddbmm(weights["b"], u, weights["W_x"])
    trace = lstm.forward(lstm.apart(gates, times), weights["W_h"])
    out = lstm.together(trace.hidden) @ weights["W_out"] + weights["b_out"]
    return Pass(flat, u, trace, out[..., 0].unflatten(1, (times, -1)))


def at_gates(weights: Weights, run: Pass, d_prediction: Tensor) -> Tensor:
    """Gradient at the gates' inputs, (time, member, row, 4 H), from that at x̂."""
    d_out = d_prediction.flatten(1, 2)[..., None]
    d_hidden = lstm.apart(d_out * weights["W_out"].mT, d_prediction.shape[1])
    return lstm.backward(run.trace, weights["W_h"], d_hidden)


def weight_gradients(weights: Weights, run: Pass, d_prediction: Tensor) -> Weights:
    """Gradient with respect to all weights, from that at x̂ (member, time, row)."""
    d_gates = at_gates(weights, run, d_prediction)
    d_flat = lstm.together(d_gates)
    d_u = d_flat @ weights["W_x"].mT
    d_out = d_prediction.flatten(1, 2)[..., None]
    return {
        "W_in": run.inputs.mT @ d_u,
        "b_in": d_u.sum(1, keepdim=True),
        "W_x": run.u.mT @ d_flat,
        "W_h": lstm.recurrent_gradient(run.trace, d_gates),
        "b": d_flat.sum(1, keepdim=True),
        "W_out": lstm.together(run.trace.hidden).mT @ d_out,
        "b_out": d_out.sum(1, keepdim=True),
    }


def z_gradient(weights: Weights, run: Pass, d_prediction: Tensor) -> Tensor:
    """Gradient with respect to a Z that all times of a row share, (member, row, K)."""
    d_gates = at_gates(weights, run, d_prediction).sum(0)  # linear from here on
    return d_gates @ weights["W_x"].mT @ weights["W_in"][:, 1:].mT


# ---- training --------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """What happened at every step of training, from step `window` on.

    Attributes:
        prediction: of the step's observation, (kind, seed, record).
        hidden: activity that it was made from, (kind, seed, record, unit).
        weights: of every run at its own end, members ordered (kind, seed).
    """

    prediction: NDArray[np.float32]
    hidden: NDArray[np.float32]
    weights: Weights


class Networks:
    """All members in training, one step per observation."""

    def __init__(self, params: Toy, streams: Sequence[toy.Stream], device: torch.device):
        self.params, self.step = params, params.window
        draws = [initial_weights(params, run) for run in range(params.seeds)]
        self.weights = lstm.stacked(draws * len(KINDS), device)
        self._adam = lstm.Adam(self.weights, params.rate)
        self._members = [f"{k}, seed {s}" for k in KINDS for s in range(params.seeds)]
        self._inputs, self._x = (
            torch.from_numpy(a).to(device) for a in _padded_inputs(params, streams)
        )

    def advance(self) -> tuple[Tensor, Tensor]:
        """Predict the next observation from the window before it, then learn from it.

        Returns:
            The prediction (member,) and the activity it was made from (member, unit).
        """
        w, t = self.params.window, self.step
        run = forward(self.weights, self._inputs[:, t - w : t, None])
        error = run.prediction - self._x[:, t - w + 1 : t + 1, None]
        self._adam.step(weight_gradients(self.weights, run, error * (2 / w)))
        self.step += 1
        if self.step % 100 == 0:
            lstm.check_finite(run.prediction[:, -1, 0], self._members, t)
        return run.prediction[:, -1, 0], run.trace.hidden[-1, :, 0]


def _padded_inputs(
    params: Toy, streams: Sequence[toy.Stream]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[x_t; z_t+1] of all members (member, step, 1 + K), and x (member, step).

    Streams differ in length. A shorter one is prolonged by its last observation; what a
    run does after its own end is not looked at.
    """
    longest = max(len(s.x) for s in streams)

    def together(arrays: Sequence[Array] | Sequence[Integers]) -> Array:
        return np.stack([np.pad(a, (0, longest - len(a)), mode="edge") for a in arrays])

    labels = [toy.random_labels(params, run, s) for run, s in enumerate(streams)]
    one_hot = np.eye(toy.TASKS)
    own, random = (
        one_hot[together(tasks)[:, 1:]] for tasks in ([s.task for s in streams], labels)
    )
    x = together([s.x for s in streams])
    inputs = [np.concatenate([x[:, :-1, None], z], axis=-1) for z in (own, 0 * own, random)]
    return (
        np.concatenate(inputs).astype(np.float32),
        np.concatenate([x] * len(KINDS)).astype(np.float32),
    )


def train(params: Toy, streams: Sequence[toy.Stream], device: torch.device) -> History:
    """Train all members, each to the end of its own stream.

    Raises:
        RetrogradError: a run diverged; names kind, seed and step.
    """
    networks = Networks(params, streams, device)
    ends = np.array([len(s.x) for s in streams])
    final = {name: w.clone() for name, w in networks.weights.items()}
    predictions, hidden = [], []
    with progress.bar(int(ends.max()) - networks.step, "toy networks") as bar:
        while networks.step < ends.max():
            prediction, h = networks.advance()
            predictions.append(prediction)
            hidden.append(h)
            done = np.flatnonzero(ends == networks.step)
            for member in [k * len(ends) + s for k in range(len(KINDS)) for s in done]:
                for name, w in networks.weights.items():
                    final[name][member] = w[member]
            bar.update()
    prediction, activity = (
        torch.stack(a, 1).unflatten(0, (len(KINDS), -1)).cpu().numpy()
        for a in (predictions, hidden)
    )
    return History(prediction, activity, final)


# ---- tests: weights frozen, Z alone moves ------------------------------------------------


@dataclass(frozen=True)
class Followed:
    """What inference makes of streams: each (inference, seed, row, step[, K]).

    Attributes:
        prediction: of the observations from step `window` on, before Z is updated.
        Z: that it was made with.
        gradient: minus that of the window's loss, which then moves Z.
    """

    prediction: Array
    Z: Array
    gradient: Array


def follow(params: Toy, weights: Weights, x: NDArray[np.float64]) -> Followed:
    """Let every inference follow the streams of its seed.

    Args:
        params: window, step sizes and penalty.
        weights: members ordered (kind, seed).
        x: streams, (seed, row, step).
    """
    device = weights["W_in"].device
    rules = [rule for _, rule in INFERENCES.values()]
    chosen = [
        KINDS.index(kind) * params.seeds + s
        for kind, _ in INFERENCES.values()
        for s in range(params.seeds)
    ]
    own = {name: w[chosen] for name, w in weights.items()}
    seen = torch.from_numpy(x.astype(np.float32)).to(device).transpose(1, 2)
    seen = seen.repeat(len(rules), 1, 1)  # (member, step, row)
    softmax, none = (
        torch.tensor([r == name for r in rules], device=device)
        .repeat_interleave(params.seeds)[:, None, None]
        .expand(-1, seen.shape[-1], toy.TASKS)
        for name in ("softmax", "none")
    )
    Z = torch.full(softmax.shape, START, device=device).masked_fill(none, 0)
    zeta = torch.zeros_like(Z)
    w, records = params.window, []
    for t in range(w, seen.shape[1]):
        run, d_prediction = _window_loss(own, seen[:, t - w : t + 1], Z)
        gradient = z_gradient(own, run, d_prediction / w)
        records.append((run.prediction[:, -1], Z, -gradient))
        linear, zeta = updated(params, Z, zeta, gradient)
        moved = torch.where(softmax, zeta.softmax(-1), linear)
        Z = torch.where(none, Z, moved)
    shape = (len(rules), params.seeds)
    return Followed(
        *(
            torch.stack(parts, 2).unflatten(0, shape).cpu().numpy().astype(float)
            for parts in zip(*records, strict=True)
        )
    )


def updated(
    params: Toy, Z: Tensor, zeta: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """A step of descent on Z itself, and one on ζ where Z = softmax(ζ).

    The penalty λ/2 |Z − 1/K|² belongs to the loss.
    """
    force = gradient + params.penalty * (Z - START)
    through = Z * (force - (Z * force).sum(-1, keepdim=True))
    return Z - params.eta * force, zeta - params.eta_softmax * through


def _window_loss(weights: Weights, x: Tensor, Z: Tensor) -> tuple[Pass, Tensor]:
    """Predictions of x[:, 1:] with a shared Z, and the gradient of their squared errors.

    Args:
        weights: of all members.
        x: (member, window + 1, row).
        Z: (member, row, K).
    """
    shared = Z[:, None].expand(-1, x.shape[1] - 1, -1, -1)
    run = forward(weights, torch.cat([x[:, :-1, :, None], shared], -1))
    return run, 2 * (run.prediction - x[:, 1:])


def one_step(weights: Weights, x: NDArray[np.float64]) -> Array:
    """Minus the gradient of the last prediction's squared error at the start value of Z.

    Args:
        weights: members ordered (kind, seed).
        x: windows with the observation that follows, (seed, row, window + 1).

    Returns:
        (kind, seed, row, K).
    """
    device = weights["W_in"].device
    rows = torch.from_numpy(x.astype(np.float32)).to(device).transpose(1, 2)
    rows = rows.repeat(len(KINDS), 1, 1)
    Z = torch.full((len(rows), rows.shape[-1], toy.TASKS), START, device=device)
    run, d_prediction = _window_loss(weights, rows, Z)
    d_prediction[:, :-1] = 0
    found = -z_gradient(weights, run, d_prediction)
    return found.unflatten(0, (len(KINDS), -1)).cpu().numpy().astype(float)


# ---- the product -----------------------------------------------------------------------


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
    """Statistics of both kinds, kind in front."""
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
