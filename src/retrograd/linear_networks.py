"""What papers on deep linear networks share: orthogonal and balanced weights, modes.

Matrices act from the left (y = W x): W2 W1 is the network's map.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A Haar-distributed matrix (rows, columns) with orthonormal rows or columns.

    The shorter side is orthonormal: W Wᵀ = I if rows ≤ columns, else Wᵀ W = I.
    """
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diagonal(r))  # else the distribution depends on QR's sign choice
    return q if rows >= columns else q.T.copy()


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
