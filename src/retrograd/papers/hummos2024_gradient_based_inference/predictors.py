"""Networks that predict the toy stream, and their online training.

    u_t = [x_t; z_t+1] W_in + b_in, LSTM, x̂_t+1 = h_t · W_out + b_out

z belongs to the target of a prediction. Members are kinds × seeds: in training `gbi` gets
the task as z, `lstm` gets zeros, `random labels` gets a task drawn anew for every block.
All kinds of a seed see the same stream and start equal. Members advance in one tensor
program; by rounding alone, their numbers may depend on how many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd import progress
from retrograd.papers.hummos2024_gradient_based_inference import data, lstm, toy
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
KINDS = (*data.KINDS, "random labels")


# ---- the network -----------------------------------------------------------------------


def initial_weights(params: Toy, run: int) -> dict[str, Array]:
    """Of one run, the same for all kinds."""
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
