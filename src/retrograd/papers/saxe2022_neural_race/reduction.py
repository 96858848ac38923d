"""The reduction of routing networks to their modes: T5 and T6 of the specification.

From decoupled weights each mode learns by itself, as one number per layer. Shares no code
with the simulations. Symbols as in theory.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq

from retrograd import ode
from retrograd.papers.saxe2022_neural_race import data

Array = NDArray[np.float64]
ArrayOrFloat = TypeVar("ArrayOrFloat", Array, float)
TOLERANCES = {"rtol": 1e-10, "atol": 1e-12}


@dataclass(frozen=True)
class SubNetwork:
    """How fast the layers of one (sub-)network learn, relative to a lone pair of domains.

    `outer` pairs use each input or output matrix, `inner` pairs each hidden matrix.
    """

    outer: int
    inner: int

    @classmethod
    def shared_by_all(cls, M: int, K: int) -> "SubNetwork":
        """M inputs and outputs, each trained with K: pathway counting of T5."""
        return cls(K, K * M)

    @classmethod
    def of_degree(cls, root: int) -> "SubNetwork":
        """√P pairs share an outer matrix and P a hidden one: T6, all pairs trained."""
        return cls(root, root**2)


def reduced_velocity(b: Array, s: Array, networks: Sequence[SubNetwork]) -> Array:
    """db/dt of sub-networks whose outputs add up, for one pair's error gradient as unit.

    Args:
        b: singular values, (..., sub-network, layer, mode), layers input, hidden, output.
        s: target, (mode,).
        networks: the sub-networks.

    Returns:
        As b. With D = 1; a time unit is 1/c epochs, c = 2 lr/(features · items).
    """
    first, hidden, last = (b[..., layer, :] for layer in range(3))
    error = (s - (first * hidden * last).sum(-2))[..., None, :]
    outer, inner = (
        np.array([getattr(network, kind) for network in networks])[:, None]
        for kind in ("outer", "inner")
    )
    return np.stack(
        [
            outer * hidden * last * error,
            inner * first * last * error,
            outer * first * hidden * error,
        ],
        axis=-2,
    )


def reduced_map(
    b_0: float,
    s: Array,
    networks: Sequence[SubNetwork],
    c: float,
    steps: Sequence[int],
) -> Array:
    """Full-batch gradient descent on the singular values, exactly (T5, "discrete map").

    Args:
        b_0: all singular values at the start.
        s: target, (mode,).
        networks: the sub-networks.
        c: 2 lr/(features · items).
        steps: increasing, at which b is wanted.

    Returns:
        (time, sub-network, layer, mode).
    """
    b = np.full((len(networks), 3, len(s)), b_0)
    found, taken = [], 0
    for step in steps:
        for _ in range(step - taken):
            b = b + c * reduced_velocity(b, s, networks)
        taken = step
        found.append(b)
    return np.stack(found)


def reduced_flow(
    b_0: float, s: Array, networks: Sequence[SubNetwork], c: float, epochs: Array
) -> Array:
    """The limit of small steps: as `reduced_map`, by an ODE."""
    return ode.integrate(
        lambda _, b: c * reduced_velocity(b, s, networks),
        np.full((len(networks), 3, len(s)), b_0),
        epochs,
        what=f"the reduced flow from b₀ = {b_0:g}",
        method="DOP853",
        **TOLERANCES,
    )


@dataclass(frozen=True)
class Course:
    """One mode of one network by quadrature (T5), for D = 1 and m domains to a side.

    τ dB2/dt = (B2² + C)(S − B2(B2² + C)/m)/m, with B1 = B3 and the invariant
    C = m B1² − B2². Time is in units of τ.
    """

    m: float
    S: float
    b_0: float

    @property
    def C(self) -> float:
        return (self.m - 1) * self.b_0**2

    def strength(self, b2: ArrayOrFloat) -> ArrayOrFloat:
        """B2 B1² at a hidden singular value."""
        return b2 * (b2**2 + self.C) / self.m

    def hidden(self, strength: float) -> float:
        """B2 at a given B2 B1²."""
        top = (self.m * self.S) ** (1 / 3)
        return float(brentq(lambda b: self.strength(b) - strength, 0, top, xtol=1e-15))

    def time(self, b2: float) -> float:
        """When the hidden singular value reaches b2, by adaptive quadrature."""

        def slowness(x: float) -> float:
            return self.m / ((x**2 + self.C) * (self.S - self.strength(x)))

        value: float = quad(slowness, self.b_0, b2, epsabs=0, epsrel=1e-12, limit=500)[0]
        return value

    def time_without_offset(self, b2: float) -> float:
        """The same in closed form for C = 0, that is for m = 1 or balanced weights."""
        scale = (self.m * self.S) ** (1 / 3)
        return self.m / (self.S * scale) * (_phi(b2 / scale) - _phi(self.b_0 / scale))


def _phi(u: float) -> float:
    angle = np.arctan((2 * u + 1) / np.sqrt(3)) / np.sqrt(3)
    return float(-1 / u - np.log1p(-u) / 3 + np.log(1 + u + u**2) / 6 - angle)


def step_constant(lr: float) -> float:
    """c = 2 lr/(features · items): what one pair's error gradient adds per epoch."""
    return 2 * lr / (data.N_OUT * data.N_ITEMS)


def target_modes() -> Array:
    """s of the routing target, (mode,)."""
    return np.asarray(np.linalg.svd(data.routing_target(), compute_uv=False))


def mode_loss(b: Array, pairs: int) -> Array:
    """Loss of so many trained pairs, (time,), by b (time, sub-network, layer, mode)."""
    left = target_modes() - b.prod(-2).sum(-2)
    loss: Array = pairs / (data.N_OUT * data.N_ITEMS) * (left**2).sum(-1)
    return loss
