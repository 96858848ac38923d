"""The effective theory: what gradient descent does to two points, as the linearised maps
dh = D_h dx, dŷ = D_y dh say (spec "Theory"). Everything is per step.

States are (..., 3): h = |dh|², y = |dŷ|² and w = dŷ·(dŷ − dy), where hats are outputs and
dy is the difference of the targets. The rates are eta_h = 1/τ_h and eta_y = 1/τ_y.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST = 1e-12  # h from below: y/h and w/h are 0/0 at h → 0


def velocity(
    state: Array,
    eta_h: Array | float,
    eta_y: Array | float,
    dx2: float,
    dy2: float,
    *,
    encoder_gain: float = 1.0,
    encoder_term: float = 1.0,
) -> Array:
    """d(h, y, w)/dt, (..., 3).

    The two last arguments alter the theory, as negative controls: a factor of dh/dt,
    and a factor of the encoder's part of dy/dt. The theory has 1 and 1.
    """
    h, y, w = np.moveaxis(state, -1, 0)
    h = np.maximum(h, LEAST)
    encoder, decoder = eta_h * dx2, eta_y * h
    over_h = encoder / h
    return np.stack(
        [
            -encoder_gain * encoder * w,
            -w * (decoder + encoder_term * over_h * y),
            -0.5 * decoder * (3 * w - y + dy2) - 0.5 * over_h * (y + w) * w,
        ],
        axis=-1,
    )


def invariant(
    state: Array, eta_h: Array | float, eta_y: Array | float, dx2: float
) -> Array:
    """I = y/(η_y h) − h/(η_h |dx|²), which the ODE conserves exactly."""
    h, y = state[..., 0], state[..., 1]
    conserved: Array = y / (eta_y * h) - h / (eta_h * dx2)
    return conserved


def final_distance(
    h0: Array | float,
    y0: Array | float,
    rho: Array | float,
    dx2: Array | float,
    dy2: Array | float,
) -> Array:
    """|dh(∞)|², from the invariant at w = 0, y = |dy|²; ρ = η_h/η_y.

    Rich limit (h0 → 0): √ρ |dx| |dy|. Lazy limit (h0 large): h0.
    """
    h0 = np.maximum(h0, LEAST)
    A = h0 - rho * dx2 * y0 / h0
    product = rho * dx2 * dy2
    root = np.sqrt(A**2 / 4 + product)
    # For A < 0 the plain sum cancels; its other form is exact.
    final: Array = np.where(A > 0, A / 2 + root, product / np.maximum(root - A / 2, 1e-300))
    return final


def starting_ratio(h0: Array, y0: Array, h_end: Array, dx2: float, dy2: float) -> Array:
    """The ρ that leads from the start to the final distance; √ρ |dx| |dy| if none does."""
    denominator = dx2 * (dy2 - y0 * h_end / h0)
    numerator = h_end * (h_end - h0)
    positive = (denominator * numerator) > 0
    exact = np.divide(numerator, denominator, out=np.zeros_like(h0), where=positive)
    return np.where(positive, exact, np.maximum(h_end, LEAST) ** 2 / (dx2 * dy2))


def squared_error(y: Array, w: Array, dy2: float) -> Array:
    """|dŷ − dy|² = 2w − y + |dy|²."""
    return 2 * w - y + dy2


def mean_error(loss: Array, y: Array, w: Array, dy2: float) -> Array:
    """|mean output − mean target|², from the loss ½|ē|² + ⅛|dŷ − dy|²."""
    return np.maximum(2 * loss - squared_error(y, w, dy2) / 4, 0)


def loss(
    times: Array, y: Array, w: Array, ebar2: Array, eta_ybar: Array, dy2: float
) -> Array:
    """L(t) = ¼ [2 ē²(0) exp(−2 η_ȳ t) + w + (|dy|² − y)/2]."""
    decay: Array = np.exp(-2 * eta_ybar * times)
    return 0.5 * ebar2 * decay + 0.125 * squared_error(y, w, dy2)


def exact_velocity(
    state: Array, eta_h: float, eta_y: float, dx2: float, dy: float
) -> Array:
    """d(h, s, k)/dt for one output and any D_y: s = dŷ with its sign, k = |D_y|².

    The closure of `velocity` is k = s²/h, D_y parallel to dh; here it need not be. It
    conserves k/η_y − h/(η_h |dx|²).
    """
    h, s, k = np.moveaxis(state, -1, 0)
    r = s - dy
    return np.stack(
        [
            -eta_h * dx2 * s * r,
            -0.5 * (eta_h * dx2 * k + eta_y * h) * r,
            -eta_y * s * r,
        ],
        axis=-1,
    )
