"""The prediction: effective dynamics of one ReLU neuron, its amplifier, exact cases.

With t = lr · step (specification, Theory; K = 1, no bias, inputs x and −x alike):

    dw/dt = ½ [φ(a) − (Σ₀ + Σ₁) w],   a = Σ₁ w / √(w·Σ₁ w),

the class y = 1 alone in the amplifier φ, both in the decay. φ acts on each entry.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special
from scipy.interpolate import CubicSpline

from retrograd import circulant, marginals
from retrograd.errors import RetrogradError
from retrograd.marginals import Marginal
from retrograd.papers.lufkin2024_localization import data
from retrograd.papers.lufkin2024_localization.params import (
    Batches,
    Models,
    Stimulus,
    Training,
    stimulus,
)
from retrograd.products import variable

Array = NDArray[np.float64]
Phi = Callable[[Array], Array]
TABLE = 200  # angles θ in [0, π/2] at which φ(sin θ) is tabulated
LINEAR = float(np.sqrt(2 / np.pi))  # φ'(0), whatever the marginal
LOW = 3  # largest wavenumber that counts as low


# ---- the amplifier -----------------------------------------------------------------------


def amplifier(marginal: Marginal, theta: Array) -> Array:
    """φ(sin θ) = E[X erf(X tan θ/√2)] by quadrature, θ in [0, π/2]: (angle,).

    tan θ is alg⁻¹(a) = a/√(1 − a²) at a = sin θ.
    """
    X = marginal.on_nodes
    argument = np.outer(np.tan(theta) / np.sqrt(2), X)
    values = special.erf(argument) @ (marginals.WEIGHTS * X)
    # At a = 1 the error function is a sign, whose kink the quadrature does not like.
    return np.where(theta < np.pi / 2, values, marginal.mean_magnitude)


class Amplifier:
    """φ of several marginals at once, from tables: cubic splines in θ = arcsin a."""

    def __init__(self, of: Sequence[Marginal]) -> None:
        theta = np.linspace(0, np.pi / 2, TABLE)
        self._per_angle = (TABLE - 1) / (np.pi / 2)
        pieces = [CubicSpline(theta, amplifier(m, theta)).c for m in of]
        # Coefficients of ((c₀ s + c₁) s + c₂) s + c₃, (power, condition · piece).
        self._coefficients = np.moveaxis(np.array(pieces), 1, 0).reshape(4, -1)
        self._first = np.arange(len(pieces))[:, None, None] * (TABLE - 1)

    def __call__(self, a: Array) -> Array:
        """φ(a), a (condition, seed, N); |a| is clipped at 1."""
        theta = np.arcsin(np.minimum(abs(a), 1))
        piece = np.minimum((theta * self._per_angle).astype(np.int64), TABLE - 2)
        s = theta - piece / self._per_angle
        piece += self._first
        c = self._coefficients
        value = c[0].take(piece)
        for k in (1, 2, 3):
            value *= s
            value += c[k].take(piece)
        return np.copysign(value, a)


def cubic_amplifier(excess_kurtosis: float, a: Array) -> Array:
    """φ to third order, √(2/π) (a − (κ − 3) a³/6): the prefactor belongs to both terms."""
    return LINEAR * (a - excess_kurtosis / 6 * a**3)


def elliptical_slope(family: Stimulus, N: int) -> float:
    """c of φ(a) = c a: E|u| of the one-point marginal u, which has unit variance."""
    ratio = np.exp(special.gammaln(N / 2) - special.gammaln((N + 1) / 2))
    shell = np.sqrt(N / np.pi) * ratio
    if family.family == "shell":
        return float(shell)
    if family.family == "extreme":
        mean, square = 2 + np.log(2), 4 + 4 * np.log(2) + np.pi**2 / 12
        return float(shell * mean / np.sqrt(square))
    (df,) = family.parameters
    gammas = np.exp(special.gammaln((df + 1) / 2) - special.gammaln(df / 2))
    return float(2 * np.sqrt(df - 2) * gammas / (np.sqrt(np.pi) * (df - 1)))


def stationary_norm(c: float, row_0: Array, row_1: Array) -> float:
    """|w*| of the stable fixed point for elliptical inputs: a single frequency.

    It is the one of the largest λ₁/(λ₀ + λ₁), and |w*| = c √λ₁/(λ₀ + λ₁).
    """
    lambda_0, lambda_1 = (circulant.eigenvalues(row) for row in (row_0, row_1))
    total = lambda_0 + lambda_1
    share = np.divide(lambda_1, total, out=np.zeros_like(total), where=total > 1e-12)
    k = int(share.argmax())
    return float(c * np.sqrt(lambda_1[k]) / total[k])


# ---- effective dynamics ------------------------------------------------------------------


def theory(params: Training | Batches, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Effective dynamics from the initial weights of every run: see `data.recorded`.

    Raises:
        RetrogradError: the theory has no say in these networks.
    """
    if isinstance(params, Batches):
        return data.concat_batches([theory(batch, inputs) for batch in params.each()])
    if (params.K, params.activation, params.bias) != (1, "relu", False):
        raise RetrogradError("the effective dynamics are of one ReLU neuron without bias")
    if params.geometry != "ring":
        raise RetrogradError("the effective dynamics are integrated on a ring only")
    families = params.families
    rows = np.array(
        [
            [data.covariance_row(family, params.N, d) for d in params.dependence]
            for family in families
        ]
    )
    phi: Phi
    if params.kind == "elliptical":
        slopes = [elliptical_slope(family, params.N) for family in families]
        phi = linear_amplifier(slopes)
    else:
        phi = Amplifier([family.marginal for family in families])
    start = data.initial_weights(params)[:, 0]
    w = effective(phi, rows, start, params.lr, params.record_at)
    return data.recorded(params, w[:, :, :, None])


def effective(
    phi: Phi, rows: Array, start: Array, dt: float, record_at: Sequence[int]
) -> Array:
    """Euler steps of the effective dynamics, which is SGD with lr = dt and no noise.

    Args:
        phi: the amplifier, of a (condition, seed, N).
        rows: first rows of Σ₀ and Σ₁, (condition, 2, N).
        start: initial weights, not 0, (seed, N).
        dt: step.
        record_at: steps, increasing from 0.

    Returns:
        w (condition, seed, record, N).
    """
    covariance_0, covariance_1 = np.moveaxis(circulant.matrix(rows), 1, 0)
    both = np.concatenate([covariance_1, covariance_0 + covariance_1], -1)
    N = start.shape[-1]
    w = np.repeat(start[None], len(rows), axis=0)
    records, step = [], 0
    for end in record_at:
        for _ in range(end - step):
            products = w @ both
            drive, decay = products[..., :N], products[..., N:]
            w = w + dt / 2 * (phi(normalised(w, drive)) - decay)
        step = end
        records.append(w)
    return np.stack(records, axis=2)


def normalised(w: Array, drive: Array) -> Array:
    """a = Σ₁w/√(w·Σ₁w), entries in [−1, 1], from w and Σ₁w (..., N)."""
    a: Array = drive / np.sqrt((w * drive).sum(-1, keepdims=True))
    return a


def linear_amplifier(slopes: Sequence[float]) -> Phi:
    """φ(a) = c a with a slope c per condition."""
    c = np.array(slopes)[:, None, None]
    return lambda a: c * a


# ---- fig1 and the order of the classes ---------------------------------------------------


def amplifiers(params: Models, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Amplifiers of the models, and where weights end with either order of the classes.

    Returns:
        phi and phi_cubic, its third order, (condition, a); phi_linear (a), √(2/π) a of
        Gaussian inputs; low_power (order,), see `low_power`.
    """
    families = [stimulus(text) for text in params.stimuli]
    theta = np.linspace(0, np.pi / 2, 31)
    half = np.array([amplifier(family.marginal, theta) for family in families])
    a = np.sin(np.concatenate([-theta[:0:-1], theta]))
    phi = np.concatenate([-half[:, :0:-1], half], axis=1)
    cubic = [cubic_amplifier(family.marginal.excess_kurtosis, a) for family in families]
    short, long = sorted(params.order.xi)
    orders = {"y = 1 longer": (short, long), "y = 1 shorter": (long, short)}
    low = [low_power(params, xi) for xi in orders.values()]
    dims = ("condition", "a")
    text = f"share of the power of w at the end in |wavenumber| ≤ {LOW}"
    return xr.Dataset(
        {
            "phi": variable(dims, phi, "localization amplifier φ(a)"),
            "phi_cubic": variable(dims, np.array(cubic), "φ(a) to third order"),
            "phi_linear": variable("a", LINEAR * a, "√(2/π) a, of Gaussian inputs"),
            "low_power": variable("order", low, text),
        },
        data.condition_coordinates(families)
        | {
            "a": variable("a", a, "a = (Σ₁w)_i/√(w·Σ₁w)"),
            "order": variable("order", list(orders), "which class is longer correlated"),
        },
    )


def low_power(params: Models, xi: Sequence[float]) -> float:
    """Share of the power of w in |wavenumber| ≤ LOW after learning Gaussian inputs.

    Args:
        params: has sizes, steps and the seed of the initial weights.
        xi: correlation lengths of the classes y = 0 and y = 1.
    """
    order, N = params.order, params.N
    rows = np.array([[circulant.gaussian_row(N, length) for length in xi]])
    start = data.glorot(params.seed, 0, 1, N, order.init_scale)
    w = effective(linear_amplifier([LINEAR]), rows, start, order.lr, [0, order.steps])
    return float(data.spectrum(w[0, 0, -1])[: LOW + 1].sum())
