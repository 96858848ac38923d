"""The exact solution: QQᵀ(t), Q = [W1ᵀ; W2], of λ-balanced two-layer linear networks.

QQᵀ obeys the matrix Riccati equation d(QQᵀ)/dt = F QQᵀ + QQᵀ F − (QQᵀ)², with
F = [[−λ/2 I, Σᵀ], [Σ, λ/2 I]] (paper, section 4). Three forms of its solution: the stable
one, for networks with hidden = min(inputs, outputs); the stepping propagator, for all; and
that of a single aligned mode. Leading axes of the networks are kept.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrograd.errors import RetrogradError
from retrograd.linear_networks import balanced_scales
from retrograd.papers.domine2024_lazy_to_rich.data import Networks

Array = NDArray[np.float64]
STEP = 8.0  # |w| h of one step of the propagator: e^16 is far from all digits


def _T(M: Array) -> Array:
    return np.swapaxes(M, -1, -2)


# ---- eigenvectors of F -----------------------------------------------------------------


class ModeSolution(NamedTuple):
    """Of every mode with singular value s: eigenvalues ±S of F, and their eigenvectors.

    +S: (m, p)/√2 and −S: (p, −m)/√2 along (v, u); S = √(s² + λ²/4), m² + p² = 2.
    """

    S: Array
    m: Array
    p: Array


def mode_solution(s: ArrayLike, lam: ArrayLike) -> ModeSolution:
    """S, m = G(1 − H), p = G(1 + H), H = λ/(√(λ² + 4s²) + 2s), G = 1/√(1 + H²).

    The usual H = (√(λ² + 4s²) − 2s)/λ is the same number, and loses all its digits as
    λ → 0.
    """
    root = np.hypot(lam, 2 * np.asarray(s, float))
    H = lam / (root + 2 * np.asarray(s, float))
    G = 1 / np.sqrt(1 + H**2)
    return ModeSolution(root / 2, G * (1 - H), G * (1 + H))


class Eigenvectors(NamedTuple):
    """The singular vectors of the targets: U, V of the modes, and those without a mode."""

    U: Array
    V: Array
    s: Array
    rest: Array
    rest_is_input: bool


def _eigenvectors(target: Array) -> Eigenvectors:
    outputs, inputs = target.shape[-2:]
    U, s, Vt = np.linalg.svd(target)
    V, n = _T(Vt), min(inputs, outputs)
    rest_is_input = inputs > outputs
    rest = V[..., n:] if rest_is_input else U[..., n:]
    return Eigenvectors(U[..., :n], V[..., :n], s, rest, rest_is_input)


def growing_directions(networks: Networks) -> Array:
    """B = W2(0)ᵀ Ũ p + W1(0) Ṽ m: what of the initial weights grows (hidden, mode).

    If it is singular the flow ends at a saddle, and the stable form does not exist.
    """
    at = _eigenvectors(networks.target)
    _, m, p = mode_solution(at.s, networks.lam[..., None])
    return _along(networks, at, m, p)


def _along(networks: Networks, at: Eigenvectors, v: Array, u: Array) -> Array:
    """W2ᵀ Ũ u + W1 Ṽ v, where u and v scale the columns."""
    first = networks.W1 @ at.V * v[..., None, :]
    second: Array = _T(networks.W2) @ at.U * u[..., None, :]
    return first + second


# ---- stable form -----------------------------------------------------------------------


def solution(networks: Networks, times: ArrayLike) -> Array:
    """QQᵀ at all times by the stable form (spec, "Numerically stable form").

    The paper's Z A⁻¹ Zᵀ with the growing exponentials divided out of Z and A: every
    exponent left is ≤ 0, so it holds at any time.

    Args:
        networks: with hidden = min(inputs, outputs), and B invertible.
        times: not negative, (time,).

    Returns:
        (..., time, input + output, same).

    Raises:
        RetrogradError: there is no such form for these networks.
    """
    at = _eigenvectors(networks.target)
    hidden, n = networks.W1.shape[-2], at.s.shape[-1]
    if hidden != n:
        raise RetrogradError(
            f"the stable form needs as many hidden units as modes, {n}, not {hidden}: "
            "use exact.propagate"
        )
    inverse, C, D = _initial(networks, at)
    sign = -1 if at.rest_is_input else 1
    rate = sign * networks.lam[..., None, None] / 2  # λ⊥, of the directions without a mode

    # From here on with an axis of times before those of the matrices: decay is e^(−St).
    S, m, p = (x[..., None, :] for x in mode_solution(at.s, networks.lam[..., None]))
    t = np.asarray(times, float)[:, None]
    decay = np.exp(-S * t)
    spent = -np.expm1(-2 * S * t) / S
    E = decay[..., None] * inverse[..., None, :, :]
    T = decay[..., None] * (inverse @ C)[..., None, :, :]
    M = decay[..., None] * _T(T)
    # K = D B⁻ᵀ e^((λ⊥ − S)t), of which λ⊥ < 0 leaves its factor to the integral κ.
    held_decay = np.exp((np.maximum(rate, 0) - S) * t)
    held = (D @ _T(inverse))[..., None, :, :] * held_decay[..., None, :]
    K = held * np.exp(np.minimum(rate, 0) * t)[..., None]
    kappa = _integral(-np.abs(rate), t)[..., None]
    N = 4 * (E @ _T(E) + kappa * (_T(held) @ held))
    N += (T * spent[..., None, :]) @ _T(T) + spent[..., None] * np.eye(n)

    U, V, rest = (x[..., None, :, :] for x in (at.U, at.V, at.rest))
    Z1 = V * m[..., None, :] - (V * p[..., None, :]) @ M
    Z2 = U * p[..., None, :] + (U * m[..., None, :]) @ M
    if at.rest_is_input:
        Z1 = Z1 + 2 * rest @ K
    else:
        Z2 = Z2 + 2 * rest @ K
    Z: Array = np.concatenate([Z1, Z2], axis=-2)
    gram: Array = Z @ np.linalg.solve(N, _T(Z))
    return gram


def _initial(networks: Networks, at: Eigenvectors) -> tuple[Any, Array, Array]:
    """B⁻¹, C and D: the initial weights along the eigenvectors of F."""
    _, m, p = mode_solution(at.s, networks.lam[..., None])
    B, C = _along(networks, at, m, p), _along(networks, at, -p, m)
    wide = networks.W1 if at.rest_is_input else _T(networks.W2)
    try:
        inverse = np.linalg.inv(B)
    except np.linalg.LinAlgError as error:
        raise RetrogradError(
            "the stable form does not exist, since B is singular: such a network ends at "
            "a saddle; use exact.propagate"
        ) from error
    return inverse, C, _T(wide @ at.rest)


def _integral(rate: Array, t: ArrayLike) -> Array:
    """∫_0^t e^(2 rate s) ds; t at rate 0."""
    twice = 2 * np.asarray(rate)
    t = np.asarray(t, float)
    safe = np.where(twice == 0, 1.0, twice)
    return np.where(twice == 0, t, np.expm1(twice * t) / safe)


# ---- stepping propagator ---------------------------------------------------------------


def propagate(Q: Array, target: Array, lam: ArrayLike, times: Sequence[float]) -> Array:
    """Q at all times, up to a rotation of the hidden units, by steps without error.

    With F = O diag(w) Oᵀ and Y = OᵀQ: QQᵀ(h) = P A⁻¹ Pᵀ, P = O e^(wh) Y and
    A = I + Yᵀ diag((e^(2wh) − 1)/(2w)) Y = LLᵀ; so Q(h) = P L⁻ᵀ. The steps are as short as
    digits demand, and compose exactly. It needs no inverse of B, and any hidden size.

    Args:
        Q: [W1ᵀ; W2] at t = 0, (..., input + output, hidden), λ-balanced.
        target: Σ, (..., output, input).
        lam: λ, (...).
        times: increasing, not negative.

    Returns:
        (..., time, input + output, hidden).
    """
    w, vectors = np.linalg.eigh(riccati_matrix(target, lam))
    fastest = np.abs(w).max()
    now, path = 0.0, []
    for time in times:
        steps = max(1, int(np.ceil((time - now) * fastest / STEP)))
        h = (time - now) / steps
        growth = np.exp(w * h)[..., None]
        integral = _integral(w, h)[..., None]
        for _ in range(steps):
            Y = _T(vectors) @ Q
            A = np.eye(Q.shape[-1]) + _T(Y) @ (integral * Y)
            L = np.linalg.cholesky(A)
            Q = vectors @ _T(np.linalg.solve(L, _T(growth * Y)))
        now = time
        path.append(Q)
    return np.stack(path, axis=-3)


def riccati_matrix(target: Array, lam: ArrayLike) -> Array:
    """F of the Riccati equation, (..., input + output, same)."""
    outputs, inputs = target.shape[-2:]
    lam = np.asarray(lam, float)
    lead = np.broadcast_shapes(target.shape[:-2], lam.shape)
    F = np.zeros((*lead, inputs + outputs, inputs + outputs))
    sign = np.repeat([-1.0, 1.0], [inputs, outputs])
    F += lam[..., None, None] / 2 * sign * np.eye(inputs + outputs)
    F[..., inputs:, :inputs] = target
    F[..., :inputs, inputs:] = _T(target)
    return F


# ---- one mode --------------------------------------------------------------------------


def aligned_mode(s: ArrayLike, a0: ArrayLike, lam: ArrayLike, times: ArrayLike) -> Array:
    """Strength a(t) of a mode that starts aligned: da/dt = √(λ² + 4a²)(s − a).

    Args:
        s: singular value of the target, > 0.
        a0: initial strength, of either sign.
        lam: λ.
        times: broadcast with the others.
    """
    c, d = balanced_scales(a0, lam)
    S, m, p = mode_solution(s, lam)
    x, y = m / np.sqrt(2), p / np.sqrt(2)
    grows, decays = x * c + y * d, y * c - x * d
    e = np.exp(-2 * S * np.asarray(times, float))
    left = (1 - e) / (2 * S)
    numerator = (grows * x + decays * y * e) * (grows * y - decays * x * e)
    denominator = e + grows**2 * left + decays**2 * e * left
    # A mode that only decays (a0 < 0 at λ = 0) ends at the saddle; e is divided out.
    stuck = -(decays**2) * x * y * e / (1 + decays**2 * left)
    safe = np.where(grows == 0, 1.0, denominator)
    return np.where(grows == 0, stuck, numerator / safe)


# ---- fixed point -----------------------------------------------------------------------


def fixed_point(target: Array, lam: ArrayLike) -> tuple[Array, Array]:
    """A and B at convergence, hidden = min(inputs, outputs): Ṽ(S − λ/2)Ṽᵀ, Ũ(S + λ/2)Ũᵀ."""
    at = _eigenvectors(target)
    lam = np.asarray(lam, float)[..., None]
    S, _, _ = mode_solution(at.s, lam)
    # The smaller of S ± λ/2 is s² over the larger.
    larger = S + np.abs(lam) / 2
    smaller = at.s**2 / larger
    first, second = np.where(lam > 0, (smaller, larger), (larger, smaller))
    A, B = at.V * first[..., None, :] @ _T(at.V), at.U * second[..., None, :] @ _T(at.U)
    return A, B


def final_kernel_distance(s: Array, lam: ArrayLike) -> Array:
    """Of a square network whose initial product has equal singular values.

    1 − √(2 / (1 + ⟨S²⟩/⟨S⟩²)), S = √(s² + λ²/4) over the modes (..., mode).
    """
    S, _, _ = mode_solution(s, np.asarray(lam, float)[..., None])
    spread = (S**2).mean(-1) / S.mean(-1) ** 2
    distance: Array = 1 - np.sqrt(2 / (1 + spread))
    return distance
