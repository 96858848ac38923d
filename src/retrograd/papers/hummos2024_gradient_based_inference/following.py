"""Inference on the toy stream: weights frozen, Z alone moves, or is asked for one step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.papers.hummos2024_gradient_based_inference import toy
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.papers.hummos2024_gradient_based_inference.predictors import (
    KINDS,
    Pass,
    forward,
    z_gradient,
)

Array = NDArray[np.float64]
# Which kind of network follows a stream, and how its Z moves.
INFERENCES = {
    "gbi": ("gbi", "linear"),
    "gbi, softmax Z": ("gbi", "softmax"),
    "lstm": ("lstm", "none"),
    "lstm, Z optimised": ("lstm", "linear"),
    "random labels": ("random labels", "linear"),
}
START = 1 / toy.TASKS  # of every component of Z


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
