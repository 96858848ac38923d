"""One-point marginals: odd transforms of a standard normal to zero mean, unit variance.

x = F(z), z ~ N(0, 1), with F odd and increasing, so that every law is symmetric. Applied
to each entry of a Gaussian field, they change its marginals and leave its dependence (a
Gaussian copula). Source: Lufkin, Saxe & Grant 2024 (arXiv:2501.17284), after Ingrosso &
Goldt 2022 (arXiv:2202.00565), whose gain is √2 times that of `Nlgp`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

# Midpoints of z > 0 for expectations. The rule is spectrally accurate for smooth
# transforms (gains up to 1/step); beyond 12 the density is below 1e-31.
_STEP = 1.25e-3
NODES: Array = np.arange(_STEP / 2, 12, _STEP)
WEIGHTS: Array = 2 * _STEP / np.sqrt(2 * np.pi) * np.exp(-(NODES**2) / 2)
HERMITE_TERMS = 25  # odd ones, of an output covariance

_NUMPY = SimpleNamespace(
    erf=special.erf,
    erfc=special.erfc,
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "abs", "sign")},
    **{name: getattr(np, name) for name in ("arctanh", "stack", "concatenate")},
)


def library(array: Any) -> Any:
    """Functions for arrays of that kind, by names that numpy and torch have in common."""
    if isinstance(array, np.ndarray):
        return _NUMPY
    import torch

    return torch


class NormalField:
    """Standard normals z of numpy or torch, and what several marginals share of them."""

    def __init__(self, z: Any) -> None:
        self.z, self.lib = z, library(z)

    @cached_property
    def uniform(self) -> Any:
        """v = 2Φ(z) − 1 = erf(z/√2), in (−1, 1)."""
        return self.lib.erf(self.z * np.sqrt(0.5))

    @cached_property
    def log_uniform(self) -> Any:
        """ln|v|, exact in the tails, where 1 − |v| underflows long before erfc does."""
        magnitude = self.lib.abs(self.z) * np.sqrt(0.5)
        with np.errstate(divide="ignore"):  # ln 0 = −∞ at z = 0 is right
            return self.lib.log1p(-self.lib.erfc(magnitude))


class Marginal(ABC):
    """A symmetric law of zero mean and unit variance."""

    @abstractmethod
    def of(self, field: NormalField) -> Any:
        """F(z) of every entry, in the field's library and precision."""

    @property
    @abstractmethod
    def excess_kurtosis(self) -> float:
        """E x⁴ − 3, exact or by quadrature: never from samples."""

    @property
    @abstractmethod
    def mean_magnitude(self) -> float:
        """E|x|, exact."""

    def __call__(self, z: ArrayLike) -> Array:
        transformed: Array = self.of(NormalField(np.asarray(z, float)))
        return transformed

    def quantile(self, p: ArrayLike) -> Array:
        """x with P(X ≤ x) = p."""
        return self(special.ndtri(p))

    @cached_property
    def on_nodes(self) -> Array:
        """F at NODES."""
        return self(NODES)

    def covariance(self, G: ArrayLike) -> Array:
        """E[F(z) F(z')] where E[z z'] = G, entry by entry.

        By the odd Hermite series Σ_m c_m² G^m, c_m = E[F(z) He_m(z)]/√m!; what the
        truncated series lacks of the variance shows only where |G| is close to 1.
        """
        G = np.asarray(G, float)
        previous, current = np.zeros_like(NODES), np.ones_like(NODES)  # He_m/√m!
        total, power = np.zeros_like(G), G.copy()
        for m in range(1, 2 * HERMITE_TERMS):
            following = (NODES * current - np.sqrt(m - 1) * previous) / np.sqrt(m)
            previous, current = current, following
            if m % 2:
                coefficient = WEIGHTS @ (self.on_nodes * current)
                total += coefficient**2 * power
                power = power * G**2
        exact: Array = np.where(abs(G) >= 1, np.sign(G), total)
        return exact


@dataclass(frozen=True)
class Gaussian(Marginal):
    """The standard normal itself."""

    excess_kurtosis = 0.0
    mean_magnitude = float(np.sqrt(2 / np.pi))

    def of(self, field: NormalField) -> Any:
        return field.z

    def covariance(self, G: ArrayLike) -> Array:
        return np.asarray(G, float)


@dataclass(frozen=True)
class Nlgp(Marginal):
    """Nonlinear Gaussian process: x = erf(g z)/Z, from Gaussian (g → 0) to sign (g → ∞)."""

    g: float

    @cached_property
    def norm(self) -> float:
        """Z, the standard deviation of erf(g z)."""
        gain = 2 * self.g**2 / (1 + 2 * self.g**2)
        return float(np.sqrt(2 / np.pi * np.arcsin(gain)))

    def of(self, field: NormalField) -> Any:
        return field.lib.erf(field.z * self.g) / self.norm

    @cached_property
    def excess_kurtosis(self) -> float:
        return float(WEIGHTS @ self.on_nodes**4) - 3

    @property
    def mean_magnitude(self) -> float:
        return float(2 / np.pi * np.arctan(np.sqrt(2) * self.g) / self.norm)

    def covariance(self, G: ArrayLike) -> Array:
        gain = 2 * self.g**2 / (1 + 2 * self.g**2)
        G = np.asarray(G, float)
        scaled: Array = 2 / np.pi * np.arcsin(gain * G) / self.norm**2
        return scaled


@dataclass(frozen=True)
class Algebraic(Marginal):
    """Density ½(1 + |x|^k)^(−1−1/k) before scaling: tails of power k, uniform for k → ∞.

    Moments of order below k exist, so that the variance needs k > 2 and the kurtosis k > 4.
    """

    k: float

    def __post_init__(self) -> None:
        if self.k <= 4:
            raise ValueError(f"alg({self.k:g}) has no kurtosis: k must be above 4")

    def _moment(self, m: int) -> float:
        """E|x|^m before scaling."""
        return float(special.beta((m + 1) / self.k, 1 - m / self.k) / self.k)

    @cached_property
    def scale(self) -> float:
        """Standard deviation before scaling."""
        return float(np.sqrt(self._moment(2)))

    def of(self, field: NormalField) -> Any:
        """v/(1 − |v|^k)^(1/k), with 1 − |v|^k = −expm1(k ln|v|)."""
        rest = field.lib.expm1(field.log_uniform * self.k)
        rest *= -1
        power = field.lib.log(rest)  # faster than **, and in place where it can be
        power *= -1 / self.k
        x = field.lib.exp(power)
        x *= field.uniform
        x *= 1 / self.scale
        return x

    @property
    def excess_kurtosis(self) -> float:
        return self._moment(4) / self._moment(2) ** 2 - 3

    @property
    def mean_magnitude(self) -> float:
        return self._moment(1) / self.scale


@dataclass(frozen=True)
class Uniform(Marginal):
    """Uniform on [−√3, √3]."""

    excess_kurtosis = -1.2
    mean_magnitude = float(np.sqrt(3) / 2)

    def of(self, field: NormalField) -> Any:
        return field.uniform * np.sqrt(3)

    def covariance(self, G: ArrayLike) -> Array:
        scaled: Array = 6 / np.pi * np.arcsin(np.asarray(G, float) / 2)
        return scaled


@dataclass(frozen=True)
class Sign(Marginal):
    """±1."""

    excess_kurtosis = -2.0
    mean_magnitude = 1.0

    def of(self, field: NormalField) -> Any:
        return field.lib.sign(field.z)

    def covariance(self, G: ArrayLike) -> Array:
        scaled: Array = 2 / np.pi * np.arcsin(np.asarray(G, float))
        return scaled


FAMILIES = {
    "gauss": Gaussian,
    "nlgp": Nlgp,
    "alg": Algebraic,
    "uniform": Uniform,
    "pm1": Sign,
}


def marginal(family: str, *parameters: float) -> Marginal:
    """The marginal of a family's short name, for example ("alg", 5)."""
    made: Marginal = FAMILIES[family](*parameters)
    return made
