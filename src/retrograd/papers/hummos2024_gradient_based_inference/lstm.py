"""A batch of LSTMs as one tensor program, with the gradients written out.

Every member has its own weights and its own rows of input; members are the first axis of
weights and rows. Matrices act from the right. Gates lie in the order o, i, f, g, so that
one call serves the three sigmoids, and one the three gates that the cell's gradient
reaches. Sequences have axes (time, member, row, feature).

    o, i, f = σ(a), g = tanh(a), c = f c + i g, h = o tanh(c)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.errors import RetrogradError

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Trace:
    """What the backward pass needs of a forward pass from a zero state.

    Attributes:
        hidden: h, (time, member, row, H).
        gates: o, i, f, g after their non-linearities, (time, member, row, 4 H).
        cell: c, as hidden.
        squashed: tanh c, as hidden.
    """

    hidden: Tensor
    gates: Tensor
    cell: Tensor
    squashed: Tensor


def forward(inputs: Tensor, W_h: Tensor) -> Trace:
    """Run all members over all times.

    Args:
        inputs: what the gates get from outside, bias included, (time, member, row, 4 H).
        W_h: recurrent weights, (member, H, 4 H).
    """
    H = W_h.shape[1]
    hidden: list[Tensor] = []
    gates: list[Tensor] = []
    cell: list[Tensor] = []
    squashed: list[Tensor] = []
    for a in inputs:
        a = torch.baddbmm(a, hidden[-1], W_h) if hidden else a.clone()
        a[..., : 3 * H].sigmoid_()
        a[..., 3 * H :].tanh_()
        o, i, f, g = a.split(H, -1)
        c = i * g
        if cell:
            c.addcmul_(f, cell[-1])
        s = c.tanh()
        for kept, value in ((gates, a), (cell, c), (squashed, s), (hidden, o * s)):
            kept.append(value)
    return Trace(*map(torch.stack, (hidden, gates, cell, squashed)))


def backward(trace: Trace, W_h: Tensor, d_hidden: Tensor) -> Tensor:
    """Gradient of a loss with respect to `inputs` of `forward`, through all times.

    Args:
        trace: of the forward pass.
        W_h: recurrent weights, (member, H, 4 H).
        d_hidden: the loss's direct gradient with respect to h, as trace.hidden.
    """
    H = W_h.shape[1]
    o, i, f, g = trace.gates.split(H, -1)
    # Per unit of gradient at h (first) or at c (the others): that at the gates' inputs.
    slopes = trace.gates - trace.gates**2
    slopes[..., 3 * H :] = 1 - g**2
    slopes[..., :H] *= trace.squashed
    slopes[..., H : 2 * H] *= g
    slopes[1:, ..., 2 * H : 3 * H] *= trace.cell[:-1]
    slopes[0, ..., 2 * H : 3 * H] = 0
    slopes[..., 3 * H :] *= i
    into_cell = o * (1 - trace.squashed**2)
    W_back = W_h.mT
    d_gates = torch.empty_like(trace.gates)
    d_cell: Tensor | None = None
    for t in reversed(range(len(d_gates))):
        d_h = d_hidden[t]
        if d_cell is None:
            d_cell = d_h * into_cell[t]
        else:
            d_h = torch.baddbmm(d_h, d_gates[t + 1], W_back)
            d_cell = (d_cell * f[t + 1]).addcmul_(d_h, into_cell[t])
        torch.mul(d_h, slopes[t, ..., :H], out=d_gates[t, ..., :H])
        by_cell = d_gates[t, ..., H:].unflatten(-1, (3, H))
        factors = slopes[t, ..., H:].unflatten(-1, (3, H))
        torch.mul(d_cell[..., None, :], factors, out=by_cell)
    return d_gates


def recurrent_gradient(trace: Trace, d_gates: Tensor) -> Tensor:
    """Gradient with respect to W_h, summed over times and rows, (member, H, 4 H)."""
    return together(trace.hidden[:-1]).mT @ together(d_gates[1:])


def together(sequence: Tensor) -> Tensor:
    """(member, time · row, feature) from (time, member, row, feature)."""
    return sequence.transpose(0, 1).flatten(1, 2)


def apart(rows: Tensor, times: int) -> Tensor:
    """The inverse of `together`."""
    return rows.unflatten(1, (times, -1)).transpose(0, 1)


def stacked(draws: Sequence[Mapping[str, NDArray]], device: torch.device) -> Weights:
    """Weights of all members, float32, from those of each."""
    return {
        name: torch.from_numpy(np.stack([d[name] for d in draws]).astype(np.float32)).to(
            device
        )
        for name in draws[0]
    }


def uniform(rng: np.random.Generator, fan: int, *shape: int) -> NDArray[np.float64]:
    """Initial weights: uniform in ±1/√fan."""
    return rng.uniform(-(fan**-0.5), fan**-0.5, shape)


class Adam:
    """Adam on weights whose gradients are given; it acts on every number by itself, so
    that members that share a tensor stay independent."""

    def __init__(self, weights: Weights, rate: float) -> None:
        self._weights = weights
        self._steps = torch.optim.Adam(list(weights.values()), lr=rate, fused=True)

    def step(self, gradients: Weights) -> None:
        for name, gradient in gradients.items():
            self._weights[name].grad = gradient
        self._steps.step()


def check_finite(losses: Tensor, members: Sequence[str], step: int) -> None:
    """Stop at a run that diverged.

    Args:
        losses: at a step, (member,).
        members: what each is, for the message.
        step: of training.

    Raises:
        RetrogradError: names the first member whose loss is not finite.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        raise RetrogradError(
            f"the run diverged: {members[int(bad[0])]}, went non-finite by step {step}; "
            "lower its rate"
        )
