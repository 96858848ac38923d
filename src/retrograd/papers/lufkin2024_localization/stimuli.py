"""Batches of inputs x of both classes, for all conditions at once.

The first half of a batch has label y = 0, the second y = 1. Conditions of a batch share
its white noise (common random numbers), so that drawing costs the same for one and for
many. The operations are those that numpy and torch have in common, so that `noise` decides
where the arrays live and nothing here imports torch.
"""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrograd import circulant
from retrograd.marginals import NormalField, library
from retrograd.papers.lufkin2024_localization.params import Stimulus, Training


class Noise(Protocol):
    """Independent random streams, side by side along the first axis of all they give."""

    def normal(self, *shape: int) -> Any:
        """Standard normals, (stream, *shape)."""

    def uniform(self, *shape: int) -> Any:
        """Uniform on [0, 1), (stream, *shape)."""

    def spins(self, rows: int, N: int, J: float) -> Any:
        """Samples of the Ising ring, (stream, rows, N)."""

    def array(self, values: NDArray[np.float64]) -> Any:
        """An array of the kind that the others are."""


Sampler = Callable[[], Any]


def sampler(params: Training, noise: Noise) -> Sampler:
    """What gives a fresh batch at every call: x (condition, stream, B, N)."""
    kinds = {"pointwise": _pointwise, "elliptical": _elliptical, "ising": _ising}
    return kinds[params.kind](params, noise)


def _pointwise(params: Training, noise: Noise) -> Sampler:
    """x = F(z), z a Gaussian field of the class's correlation length."""
    on_torus = params.geometry == "torus"
    roots = _roots(params, noise, isqrt(params.N) if on_torus else params.N)
    marginals = [family.marginal for family in params.families]

    def field(root: Any) -> Any:
        white = noise.normal(params.B // 2, params.N)
        return circulant.torus_filtered(white, root) if on_torus else white @ root

    def sample() -> Any:
        z = NormalField(_joined([field(root) for root in roots]))
        return z.lib.stack([marginal.of(z) for marginal in marginals])

    return sample


def _elliptical(params: Training, noise: Noise) -> Sampler:
    """x = r Λ u, u uniform on the sphere, scaled so that every entry has variance 1."""
    roots = _roots(params, noise, params.N)

    def sample() -> Any:
        white = [noise.normal(params.B // 2, params.N) for _ in roots]
        filtered = _joined([w @ root for w, root in zip(white, roots, strict=True)])
        length = (_joined(white) ** 2).sum(-1) ** 0.5
        factors = [
            radius(family, params.N, length, noise) / length for family in params.families
        ]
        return library(length).stack([factor[..., None] * filtered for factor in factors])

    return sample


def _ising(params: Training, noise: Noise) -> Sampler:
    """Spins ±1 of a ring with the class's coupling."""

    def sample() -> Any:
        classes = [noise.spins(params.B // 2, params.N, J) for J in params.dependence]
        return _joined(classes)[None]

    return sample


def _roots(params: Training, noise: Noise, side: int) -> list[Any]:
    """Symmetric roots of the base covariances of both classes, (side, side)."""
    rows = [circulant.gaussian_row(side, xi) for xi in params.dependence]
    return [noise.array(circulant.root(row)) for row in rows]


def _joined(classes: Sequence[Any]) -> Any:
    """The samples of y = 0, then those of y = 1, along the last axis but one."""
    return library(classes[0]).concatenate(classes, -2)


EXTREME_SQUARE = 4 + 4 * np.log(2) + np.pi**2 / 12  # E r² of r = 2 + artanh(U)


def radius(family: Stimulus, N: int, length: Any, noise: Noise) -> Any:
    """r of every sample, with E r² = N: (stream, samples).

    Args:
        family: shell (constant), extreme (2 + artanh of a uniform), or t of df degrees.
        N: inputs.
        length: |z| of a white Gaussian vector of every sample: (stream, samples).
        noise: for what else is random.
    """
    if family.family == "shell":
        return 0 * length + np.sqrt(N)
    if family.family == "extreme":
        U = noise.uniform(*length.shape[1:])
        return (2 + library(U).arctanh(U)) * np.sqrt(N / EXTREME_SQUARE)
    (df,) = family.parameters
    chi_square = (noise.normal(*length.shape[1:], int(df)) ** 2).sum(-1)
    return length * ((df - 2) / chi_square) ** 0.5


def ising_spins(
    rng: np.random.Generator, rows: int, N: int, J: float
) -> NDArray[np.float32]:
    """Exact samples of P(s) ∝ exp(J Σ_i s_i s_{i+1}) on a ring: (rows, N).

    The N bonds s_i s_{i+1} are independent, +1 with probability e^J/(2 cosh J), given that
    their product is +1; draws of another product are rejected, about half of them.
    """
    satisfied = np.exp(J) / (2 * np.cosh(J))
    found: list[NDArray[np.bool_]] = []
    count = 0
    while count < rows:
        broken = rng.random((2 * (rows - count) + 64, N), np.float32) > satisfied
        closed = broken[np.count_nonzero(broken, axis=1) % 2 == 0]
        found.append(closed)
        count += len(closed)
    broken = np.concatenate(found)[:rows]
    broken[:, 0] = rng.random(rows, np.float32) < 0.5  # the first spin; its bond is implied
    flipped = np.logical_xor.accumulate(broken, axis=1)
    return np.where(flipped, np.float32(-1), np.float32(1))
