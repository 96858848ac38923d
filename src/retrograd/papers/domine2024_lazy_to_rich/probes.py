"""Probes of trained networks: what a new output learns, and what noise costs."""

import numpy as np
from numpy.typing import NDArray

from retrograd.papers.domine2024_lazy_to_rich import observables
from retrograd.papers.domine2024_lazy_to_rich.params import Semantic
from retrograd.randomness import stream

Array = NDArray[np.float64]


def transfer(W1: Array, steps: int = 100) -> Array:
    """What a new output row, learned on one item with W1 frozen, says of every item.

    The row w (hidden) starts at zero and learns w·h_i = 1 by gradient descent, h_i the
    hidden representation of item i; of interest is w·h_j.

    Returns:
        (..., item i, item j), for W1 (..., hidden, item).
    """
    h = np.swapaxes(W1, -1, -2)
    rate = 0.5 / (h**2).sum(-1, keepdims=True)  # the error halves at every step
    w = np.zeros_like(h)
    for _ in range(steps):
        error = 1 - (w * h).sum(-1, keepdims=True)
        w = w + rate * error * h
    return w @ W1


def noisy_losses(params: Semantic, target: Array, W1: Array, W2: Array) -> Array:
    """Mean loss under noise in all parameters, and in the inputs: (seed, network, noise).

    The loss is ½ ⟨‖Σx − f(x)‖²⟩ over white inputs x; the noise of an input is added to
    what the network sees.
    """
    (seeds, networks, hidden, inputs), outputs = W1.shape, len(target)
    lossy = np.empty((seeds, networks, 2))
    for run in range(seeds):
        rng = stream(params.seed, run, f"noise, {hidden} hidden units")
        first = params.sigma_p * rng.standard_normal((params.draws, hidden, inputs))
        second = params.sigma_p * rng.standard_normal((params.draws, outputs, hidden))
        seen = params.sigma_x * rng.standard_normal((params.draws, inputs))
        for k in range(networks):
            map = (W2[run, k] + second) @ (W1[run, k] + first)
            lossy[run, k, 0] = observables.loss(map, target).mean()
            clean = W2[run, k] @ W1[run, k]
            shift = ((seen @ clean.T) ** 2).sum(-1).mean()
            lossy[run, k, 1] = observables.loss(clean, target) + 0.5 * shift
    return lossy
