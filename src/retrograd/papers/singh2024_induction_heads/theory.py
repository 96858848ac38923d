"""The toy's exact reduction: gradient flow in six numbers.

With v = a, b, c, p_v = v·v*/|v*| and q_v the norm of what is orthogonal to v*, the flow of
L = |a* ⊗ b* ⊗ c* − a ⊗ b ⊗ c|²/(2 n³) is closed (A = |a*|, |v|² = p_v² + q_v²):

    dp_a/dt = (ABC p_b p_c − |b|²|c|² p_a)/n³,    dq_a/dt = −|b|²|c|² q_a/n³,

and cyclically; a held vector has p = |v*|, q = 0. The origin is a saddle: that is the
plateau. |a|² − |b|² and |b|² − |c|² are conserved if none is held.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import ode
from retrograd.papers.singh2024_induction_heads import data
from retrograd.papers.singh2024_induction_heads.params import Toy

Array = NDArray[np.float64]
OTHERS = ([1, 2], [0, 2], [0, 1])  # of a, b, c


def toy(params: Toy, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The flow from the vectors that gradient descent starts from, at t = lr · iteration.

    Returns:
        As `data.toy_product` says.
    """
    true, initial = data.toy_vectors(params)
    n, norms = params.n, lengths(true)
    times: Array = params.lr * np.arange(params.iterations + 1.0)
    recorded = data.toy_iterations(params)
    found: dict[str, list[Array]] = {"loss": [], "progress_cosine": [], "progress_loss": []}
    halves = []
    for name in data.TOY_CONDITIONS:
        held = data.toy_held(name)
        runs = [
            flow(norms[i], start(true[i], initial[i]), n, times, held)
            for i in range(params.seeds)
        ]
        state = np.stack(runs)  # (seed, time, 2, vector)
        losses = loss(norms[:, None], state, n)
        halves.append(half(losses, norms, n))
        found["loss"].append(losses[:, recorded])
        for measure, values in progress(norms[:, None], state[:, recorded], n).items():
            found[measure].append(values.swapaxes(1, 2))
    stacked = {name: np.stack(values) for name, values in found.items()}
    return data.toy_product(params, stacked, np.stack(halves))


def lengths(vectors: Array) -> Array:
    """Norms of (..., n)."""
    found: Array = np.sqrt((vectors**2).sum(-1))
    return found


def start(true: Array, initial: Array) -> Array:
    """p and q of vectors (3, n), as (2, 3)."""
    norms = lengths(true)
    p = (initial * true).sum(-1) / norms
    orthogonal = initial - p[:, None] * true / norms[:, None]
    return np.stack([p, lengths(orthogonal)])


def flow(norms: Array, initial: Array, n: int, times: Array, held: Sequence[bool]) -> Array:
    """p and q along the flow, (time, 2, 3).

    Args:
        norms: A, B, C.
        initial: p and q at t = 0, (2, 3); those of held vectors are replaced.
        n: dimension of the vectors.
        times: increasing from 0.
        held: which of a, b, c stay at their true values.
    """
    free = ~np.asarray(held)
    true = np.stack([norms, np.zeros(3)])

    def velocity(_: float, state: Array) -> Array:
        p, q = state
        square = p**2 + q**2
        pull = np.array([p[i] * p[j] for i, j in OTHERS]) * norms.prod()
        decay = np.array([square[i] * square[j] for i, j in OTHERS])
        return np.stack([pull - decay * p, -decay * q]) * free / n**3

    begin = np.where(free, initial, true)
    return ode.integrate(
        velocity,
        begin,
        times,
        what="the toy's flow",
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    )


def loss(norms: Array, state: Array, n: int) -> Array:
    """L of p and q, (..., 2, 3), for norms A, B, C (..., 3)."""
    p, square = state[..., 0, :], (state**2).sum(-2)
    true = norms.prod(-1)
    both = true * p.prod(-1)
    found: Array = (true**2 - 2 * both + square.prod(-1)) / (2 * n**3)
    return found


def progress(norms: Array, state: Array, n: int) -> dict[str, Array]:
    """1 − cos², and the loss with the other two vectors true, of each vector, (..., 3)."""
    p, square = state[..., 0, :], (state**2).sum(-2)
    others = norms.prod(-1, keepdims=True) / norms
    distance = square - 2 * abs(p) * norms + norms**2
    return {
        "progress_cosine": 1 - p**2 / square,
        "progress_loss": others**2 * distance / (2 * n**3),
    }


def half(losses: Array, norms: Array, n: int) -> Array:
    """First iteration with less than half the loss of a zero tensor, (seed,).

    Args:
        losses: at every iteration, (seed, iteration).
    """
    below = losses < (norms.prod(-1) ** 2 / (4 * n**3))[:, None]
    reached = np.where(below.any(1), below.argmax(1), 10 * (losses.shape[1] - 1))
    return reached.astype(float)
