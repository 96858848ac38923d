"""What papers on deep linear networks share: modes, orthogonal and balanced weights, NTK.

Matrices act from the left (y = W x): W2 W1 is the map of a network with W1 (hidden,
input) and W2 (output, hidden). Leading axes, of ensembles, are kept everywhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrograd import ode

Array = NDArray[np.float64]


# ---- modes -----------------------------------------------------------------------------


class Modes(NamedTuple):
    """W = U diag(s) Vᵀ: U (..., out, mode), s (..., mode), V (..., in, mode)."""

    U: Array
    s: Array
    V: Array


def modes(W: Array) -> Modes:
    """Singular modes of a map, strongest first, of which no sign is left to chance.

    Of each right singular vector the entry of largest magnitude is positive (the first
    of equals), so that the same map gives the same modes whatever computed them.
    """
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    V = np.swapaxes(Vt, -1, -2)
    largest = np.abs(V).argmax(-2, keepdims=True)
    sign = np.sign(np.take_along_axis(V, largest, -2))
    return Modes(U * sign, s, V * sign)


def mode_strengths(W: Array, U: Array, V: Array) -> Array:
    """u_aᵀ W v_a for every mode a: a map by the singular vectors of its target.

    Args:
        W: (..., out, in).
        U: left singular vectors, (out, mode).
        V: right singular vectors, (in, mode).

    Returns:
        (..., mode).
    """
    strengths: Array = np.einsum("oa,...oi,ia->...a", U, W, V)
    return strengths


# ---- initial weights -------------------------------------------------------------------


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A Haar-distributed matrix (rows, columns) with orthonormal rows or columns.

    The shorter side is orthonormal: W Wᵀ = I if rows ≤ columns, else Wᵀ W = I.
    """
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diagonal(r))  # else the distribution depends on QR's sign choice
    return q if rows >= columns else q.T.copy()


def balanced_scales(s: ArrayLike, lam: ArrayLike) -> tuple[Array, Array]:
    """What each layer gives to a product s of a λ-balanced network.

    s1 s2 = s and s2² − s1² = λ, with s2 ≥ 0 and s1 of the sign of s; the smaller one is
    s / larger, so that no digits are lost at large |λ|.
    """
    s, lam = np.broadcast_arrays(np.asarray(s, float), np.asarray(lam, float))
    larger = np.sqrt((np.hypot(lam, 2 * s) + np.abs(lam)) / 2)
    smaller = np.divide(np.abs(s), larger, out=np.zeros_like(larger), where=larger > 0)
    s1, s2 = np.where(lam > 0, (smaller, larger), (larger, smaller))
    return s1 * np.where(s < 0, -1.0, 1.0), s2


def balanced_weights(
    U: Array, s: Array, V: Array, R: Array, lam: ArrayLike
) -> tuple[Array, Array]:
    """Weights of a λ-balanced two-layer network: W2ᵀ W2 − W1 W1ᵀ = λ I.

    W1 = R S1 Vᵀ and W2 = U S2 Rᵀ, whose product has singular values s.

    Args:
        U: orthogonal, (..., output, output).
        s: singular values of W2 W1, (min(input, output),).
        V: orthogonal, (..., input, input).
        R: orthogonal, (..., hidden, hidden).
        lam: λ, scalar or with the leading axes of the others; λ > 0 needs hidden ≤
            output and λ < 0 needs hidden ≤ input.

    Returns:
        W1 (..., hidden, input) and W2 (..., output, hidden).
    """
    (outputs, inputs, hidden), lam = (M.shape[-1] for M in (U, V, R)), np.asarray(lam)
    if ((lam > 0).any() and hidden > outputs) or ((lam < 0).any() and hidden > inputs):
        raise ValueError(
            f"no λ-balanced network has {inputs} inputs, {hidden} hidden units and "
            f"{outputs} outputs at λ of this sign: λ > 0 needs hidden ≤ outputs, "
            "λ < 0 hidden ≤ inputs"
        )
    # A hidden unit beyond the modes has product 0: one of its layers is ±√|λ|.
    product = np.zeros(hidden)
    product[: len(s)] = s
    s1, s2 = balanced_scales(product, lam[..., None])
    first, second = min(hidden, inputs), min(hidden, outputs)
    R_S1, U_S2 = (
        R[..., :first] * s1[..., None, :first],
        U[..., :second] * s2[..., None, :second],
    )
    W1 = R_S1 @ np.swapaxes(V[..., :first], -1, -2)
    W2 = U_S2 @ np.swapaxes(R[..., :second], -1, -2)
    return W1, W2


def balance(W1: Array, W2: Array) -> Array:
    """W2ᵀ W2 − W1 W1ᵀ, which gradient flow conserves: (..., hidden, hidden)."""
    return np.swapaxes(W2, -1, -2) @ W2 - W1 @ np.swapaxes(W1, -1, -2)


# ---- gradient flow ---------------------------------------------------------------------


def gradient_flow(
    W1: Array, W2: Array, target: Array, times: Sequence[float], what: str
) -> tuple[Array, Array]:
    """Gradient flow of ½ ‖Σ − W2 W1‖², integrated to nearly all digits.

    dW1/dt = W2ᵀ(Σ − W2 W1) and dW2/dt = (Σ − W2 W1)W1ᵀ: the flow of the squared loss of a
    two-layer linear network with white inputs.

    Args:
        W1: at t = 0, (..., hidden, input).
        W2: at t = 0, (..., output, hidden).
        target: Σ, (..., output, input).
        times: increasing, positive.
        what: for the error message.

    Returns:
        W1 and W2 at all times, (..., time, ...).
    """
    inputs = W1.shape[-1]

    def velocity(_: float, Q: Array) -> Array:
        first, second = Q[..., :inputs, :], Q[..., inputs:, :]  # W1ᵀ and W2
        error = target - second @ np.swapaxes(first, -1, -2)
        return np.concatenate([np.swapaxes(error, -1, -2) @ second, error @ first], -2)

    Q = np.concatenate([np.swapaxes(W1, -1, -2), W2], axis=-2)
    path = []
    for start, end in zip([0.0, *times[:-1]], times, strict=True):
        # To one time per call: DOP853 is more accurate at its steps than between them.
        Q = ode.integrate(
            velocity, Q, [end - start], what=what, method="DOP853", rtol=1e-12, atol=1e-14
        )[0]
        path.append(Q)
    whole = np.stack(path, axis=-3)
    return np.swapaxes(whole[..., :inputs, :], -1, -2), whole[..., inputs:, :]


# ---- neural tangent kernel -------------------------------------------------------------
#
# K = I ⊗ XᵀA X + B ⊗ XᵀX with A = W1ᵀ W1 and B = W2 W2ᵀ; with white inputs, X Xᵀ = P I,
# its inner products are traces of products of A and B, and it is never formed.


def kernel_inner(A: Array, B: Array, A_other: Array, B_other: Array) -> Array:
    """⟨K, K'⟩ / P² of two two-layer linear networks with white inputs: (...)."""
    inputs, outputs = A.shape[-1], B.shape[-1]

    def trace(M: Array) -> Array:
        return np.trace(M, axis1=-2, axis2=-1)

    inner: Array = outputs * (A * A_other).sum((-2, -1))
    inner = inner + trace(A) * trace(B_other) + trace(B) * trace(A_other)
    return inner + inputs * (B * B_other).sum((-2, -1))


def kernel_distance(A: Array, B: Array, A_other: Array, B_other: Array) -> Array:
    """1 − ⟨K, K'⟩ / (‖K‖ ‖K'‖): 0 if the kernel only changed in scale."""
    norms = kernel_inner(A, B, A, B) * kernel_inner(A_other, B_other, A_other, B_other)
    return 1 - kernel_inner(A, B, A_other, B_other) / np.sqrt(norms)
