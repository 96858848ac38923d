"""Moments of erf, linear and ReLU units whose fields are jointly Gaussian.

Fields z ~ N(0, C), activation g, derivative g'. `erf` means g(z) = erf(z/√2), hence
g'(z) = √(2/π) exp(−z²/2). Every moment is returned for all combinations of fields at
once; the covariance may have leading axes, which are kept. A field of variance 0 is that
of an absent unit, and adds 0 wherever it stands as g or as a bare field.

Source: Goldt et al. 2019 (arXiv:1906.08632), supplement, after Saad & Solla 1995.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Activation = Literal["erf", "lin", "relu"]
Array = NDArray[np.float64]


def i2(activation: Activation, C: Array) -> Array:
    """⟨g(a) g(b)⟩ for all pairs of fields: shape (..., n, n) from C of that shape."""
    if activation == "lin":
        return C.copy()
    variance = np.diagonal(C, axis1=-2, axis2=-1)
    if activation == "erf":
        scale = np.sqrt(_outer(1 + variance))
        return 2 / np.pi * np.arcsin(np.clip(C / scale, -1, 1))
    r = _correlation(C, variance)
    scale = _scale(variance)
    return scale * (np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / (2 * np.pi)


def j2(activation: Activation, C: Array) -> Array:
    """⟨g'(a) g'(b)⟩ for all pairs of fields: shape (..., n, n)."""
    if activation == "lin":
        return np.ones_like(C)
    variance = np.diagonal(C, axis1=-2, axis2=-1)
    if activation == "erf":
        return 2 / np.pi / np.sqrt(_outer(1 + variance) - C**2)
    return 0.25 + np.arcsin(_correlation(C, variance)) / (2 * np.pi)


def i3(activation: Activation, C: Array, first: int) -> Array:
    """⟨g'(a) z_b g(c)⟩: the first slot carries g', the second is the bare field.

    Args:
        activation: g.
        C: covariance, (n, n).
        first: slot a runs over the first so many fields.

    Returns:
        Shape (first, n, n), axes a, b, c.
    """
    C_ab, C_ac, C_bc = C[:first, :, None], C[:first, None, :], C[None, :, :]
    if activation == "lin":
        return np.broadcast_to(C_bc, (first, *C.shape)).copy()
    C_aa, C_cc = np.diag(C)[:first, None, None], np.diag(C)[None, None, :]
    if activation == "erf":
        root = np.sqrt((1 + C_aa) * (1 + C_cc) - C_ac**2)
        return 2 / np.pi * (C_bc - C_ab * C_ac / (1 + C_aa)) / root
    root = np.sqrt(np.maximum(C_aa * C_cc - C_ac**2, 0))
    slope = np.divide(C_ab, C_aa, out=np.zeros_like(C_ab), where=C_aa > 0)
    angle = np.arcsin(_correlation(C, np.diag(C)))[:first, None, :]
    return slope * root / (2 * np.pi) + C_bc * (0.25 + angle / (2 * np.pi))


def i4(activation: Activation, C: Array, first: int) -> Array:
    """⟨g'(a) g'(b) g(c) g(d)⟩ with a and b over the first so many fields.

    Args:
        activation: g; not `relu`, for which there is no simple closed form.
        C: covariance, (n, n).
        first: slots a and b run over the first so many fields.

    Returns:
        Shape (first, first, n, n), axes a, b, c, d.
    """
    if activation == "lin":
        return np.broadcast_to(C, (first, first, *C.shape)).copy()
    if activation == "relu":
        raise ValueError("⟨g'g'gg⟩ of ReLU units has no closed form: use gradient flow")
    s = 1 + np.diag(C)
    s_a, s_b = s[:first, None, None, None], s[None, :first, None, None]
    s_c, s_d = s[None, None, :, None], s[None, None, None, :]
    C_ab = C[:first, :first, None, None]
    C_ac, C_ad = C[:first, None, :, None], C[:first, None, None, :]
    C_bc, C_bd = C[None, :first, :, None], C[None, :first, None, :]
    L4 = s_a * s_b - C_ab**2
    L0 = (
        L4 * C[None, None]
        - C_bc * C_bd * s_a
        - C_ac * C_ad * s_b
        + C_ab * (C_ac * C_bd + C_ad * C_bc)
    )
    L1 = L4 * s_c - C_bc**2 * s_a - C_ac**2 * s_b + 2 * C_ab * C_ac * C_bc
    L2 = L4 * s_d - C_bd**2 * s_a - C_ad**2 * s_b + 2 * C_ab * C_ad * C_bd
    angle = np.arcsin(np.clip(L0 / np.sqrt(L1 * L2), -1, 1))
    return 4 / np.pi**2 * angle / np.sqrt(L4)


def committee_error(
    activation: Activation, Q: Array, R: Array, T: Array, v: Array, v_star: Array
) -> Array:
    """Generalisation error of a student committee against a teacher's, without noise.

    eg = ½ ⟨(Σ_k v_k g(λ_k) − Σ_m v*_m g(ρ_m))²⟩, exact for Gaussian inputs.

    Args:
        activation: g of all units.
        Q: student-student overlaps, (..., K, K).
        R: student-teacher overlaps, (..., K, M).
        T: teacher-teacher overlaps, (..., M, M).
        v: second layer of the student, (..., K).
        v_star: second layer of the teacher, (..., M).

    Returns:
        Shape (...), the leading axes broadcast.
    """
    C = joint_covariance(Q, R, T)
    lead = C.shape[:-2]
    u = np.concatenate(
        [
            np.broadcast_to(v, (*lead, v.shape[-1])),
            np.broadcast_to(-v_star, (*lead, v_star.shape[-1])),
        ],
        axis=-1,
    )
    weighted = u[..., :, None] * u[..., None, :] * i2(activation, C)
    error: Array = 0.5 * weighted.sum((-2, -1))
    return error


def joint_covariance(Q: Array, R: Array, T: Array) -> Array:
    """C = [[Q, R], [Rᵀ, T]] of all fields, students first: (..., K + M, K + M)."""
    lead = np.broadcast_shapes(Q.shape[:-2], R.shape[:-2], T.shape[:-2])
    Q, R, T = (np.broadcast_to(A, (*lead, *A.shape[-2:])) for A in (Q, R, T))
    upper = np.concatenate([Q, R], axis=-1)
    lower = np.concatenate([np.swapaxes(R, -1, -2), T], axis=-1)
    return np.concatenate([upper, lower], axis=-2)


def mean_square_slope(activation: Activation, variance: Array) -> Array:
    """⟨g'(z)²⟩ of a field of the given variance."""
    if activation == "erf":
        return 2 / np.pi / np.sqrt(1 + 2 * variance)
    return np.full_like(variance, 1.0 if activation == "lin" else 0.5)


def _outer(a: Array) -> Array:
    return a[..., :, None] * a[..., None, :]


def _scale(variance: Array) -> Array:
    # An integrator takes the variance of a dying ReLU unit a rounding error below 0.
    return np.sqrt(_outer(np.maximum(variance, 0)))


def _correlation(C: Array, variance: Array) -> Array:
    scale = _scale(variance)
    r = np.divide(C, scale, out=np.zeros_like(C), where=scale > 0)
    return np.clip(r, -1, 1)
