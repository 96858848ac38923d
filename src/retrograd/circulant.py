"""Stationary Gaussian fields on a ring, and on a torus by Kronecker structure.

The covariance of a field on a ring of N sites depends on the distance alone: it is
circulant, the Fourier modes are its eigenvectors, and its first row says everything. A
torus of n × n sites whose covariance is a product over both directions has the Kronecker
product of two such matrices.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def distances(N: int) -> NDArray[np.int64]:
    """Distance on the ring of site 0 to every site, in sites: (N,)."""
    site = np.arange(N)
    return np.minimum(site, N - site)


def gaussian_row(N: int, xi: float) -> Array:
    """First row of the covariance exp(−d²/ξ²) of a field of unit variance: (N,)."""
    row: Array = np.exp(-((distances(N) / xi) ** 2))
    return row


def matrix(row: Array) -> Array:
    """The symmetric circulant matrix of a first row: (..., N, N) from (..., N)."""
    site = np.arange(row.shape[-1])
    full: Array = row[..., np.abs(site[:, None] - site)]
    return full


def eigenvalues(row: Array) -> Array:
    """Σ_d row_d cos(2πkd/N) for k = 0..N−1: (..., N), negative ones clipped to 0.

    Wide covariances are singular up to rounding, and exp(−d²/ξ²) with the ring's
    distance need not be positive at all; what is clipped is the least that can be.
    """
    return np.maximum(np.fft.fft(row).real, 0)


def root(row: Array) -> Array:
    """The symmetric square root of the covariance: (..., N, N) from its first row."""
    return matrix(np.fft.ifft(np.sqrt(eigenvalues(row))).real)


def filtered(noise: Array, row: Array) -> Array:
    """White noise (..., N) filtered by FFT: a field with that covariance (clipped)."""
    N = noise.shape[-1]
    gain = np.sqrt(eigenvalues(row)[..., : N // 2 + 1])
    return np.fft.irfft(np.fft.rfft(noise) * gain, N)


def torus_filtered(noise: Any, root: Any) -> Any:
    """White noise (..., n²) to a field with covariance G ⊗ G, G = root².

    Two products with the root of one direction, not one with n² × n² entries. `noise` and
    `root` are arrays of numpy or tensors of torch, both of one kind.
    """
    n = root.shape[-1]
    square = noise.reshape(*noise.shape[:-1], n, n)
    return (root @ square @ root).reshape(noise.shape)
