"""Predictions: the ceiling of in-context learning, and the flow of two mechanisms."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from retrograd import ode
from retrograd.papers.singh2023_transient_icl import toy
from retrograd.papers.singh2023_transient_icl.params import Ceiling, Toy
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
NAMES = ("a", "b", "c", "d")


# ---- the ceiling of in-context learning --------------------------------------------------


def ceiling(params: Ceiling, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Accuracy of matching a query to one of two exemplars of different classes.

    Exemplars of one class correlate with ρ = 1/(1 + ε²) in every dimension of the code.

    Returns:
        By case: bayes and dot_product, Monte Carlo estimates for the optimal log-odds and
        for the larger product; normal, the approximation of the latter; repeated, the
        product's if the query may be the context's own exemplar. Coordinates D1, eps.
    """
    found = np.array(
        [
            accuracies(params, i, D1, eps)
            for i, (D1, eps) in enumerate(zip(params.D1, params.eps, strict=True))
        ]
    ).T
    texts = {
        "bayes": "accuracy of the optimal log-odds, Monte Carlo",
        "dot_product": "accuracy of the larger dot product, Monte Carlo",
        "normal": "accuracy of the larger dot product, normal approximation",
        "repeated": "accuracy of the dot product if exemplars may repeat",
    }
    cases = np.arange(len(params.D1), dtype=np.int32)
    return xr.Dataset(
        {
            name: variable("case", values, text)
            for (name, text), values in zip(texts.items(), found, strict=True)
        },
        {
            "case": variable("case", cases, "case"),
            "D1": variable("case", np.array(params.D1, np.int32), "dimensions of the code"),
            "eps": variable("case", params.eps, "ε, noise of the exemplars"),
        },
    )


def accuracies(
    params: Ceiling, case: int, D1: int, eps: float
) -> tuple[float, float, float, float]:
    """Those of one case, in the order of `ceiling`."""
    rng, rho = stream(params.seed, case, "ceiling"), correlation(eps)
    correct = np.zeros(2)
    for left in range(params.samples, 0, -_CHUNK):
        query, own, other = rng.standard_normal((3, min(left, _CHUNK), D1))
        own = rho * query + np.sqrt(1 - rho**2) * own
        products = (query * (own - other)).sum(-1)
        norms = (own**2).sum(-1) - (other**2).sum(-1)
        odds = (rho * products - rho**2 * norms / 2) / (1 - rho**2)
        correct += (odds > 0).sum(), (products > 0).sum()
    bayes, product = correct / params.samples
    repeats = 1 / params.n_ex
    return bayes, product, approximate(D1, eps), repeats + (1 - repeats) * product


_CHUNK = 20_000  # sequences that are drawn at once


def correlation(eps: float) -> float:
    """ρ, of two exemplars of one class in a dimension of the code."""
    return 1 / (1 + eps**2)


def approximate(D1: int, eps: float) -> float:
    """Φ(√D1 ρ/√(2 + ρ²)): the product as a normal variable, by its mean and variance.

    x·(x₁ − x₂) has in every dimension the mean ρ, and the variance
    E[x² x₁²] + E[x² x₂²] − ρ² = (1 + 2ρ²) + 1 − ρ² = 2 + ρ².
    """
    rho = correlation(eps)
    return float(norm.cdf(np.sqrt(D1) * rho / np.sqrt(2 + rho**2)))


# ---- two mechanisms ----------------------------------------------------------------------


def competition(params: Toy, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Gradient flow of the two mechanisms, by its order parameters.

    L depends on a vector v through |v|² and v·v* only, so its gradient is
    2 L_{|v|²} v + L_{v·v*} v*, and the flow closes on these eight numbers:

        d|v|²/dt = −4 |v|² L_{|v|²} − 2 (v·v*) L_{v·v*},
        d(v·v*)/dt = −2 (v·v*) L_{|v|²} − |v*|² L_{v·v*}.

    Time is lr times step. Returns what `toy.product` describes.
    """
    true, start = toy.instance(params)
    times = toy.steps(params) * params.lr
    found: dict[str, list[Array]] = {name: [] for name in toy.LOSSES}
    for run in range(params.seeds):
        size = np.array([(true[v][run] ** 2).sum() for v in NAMES])
        initial = [
            [(start[v][run] ** 2).sum(), (start[v][run] * true[v][run]).sum()]
            for v in NAMES
        ]
        states = ode.integrate(
            partial(_velocity, params, size),
            initial,
            times,
            what=f"the flow of two mechanisms, run {run}",
        )
        square, overlap = (
            {v: states[:, i, k] for i, v in enumerate(NAMES)} for k in (0, 1)
        )
        wanted = {v: np.full(len(times), size[i]) for i, v in enumerate(NAMES)}
        for name, values in toy.losses_of_products(params, square, overlap, wanted).items():
            found[name].append(values)
    return toy.product(params, {name: np.stack(rows) for name, rows in found.items()})


def _velocity(params: Toy, size: Array, t: float, state: Array) -> Array:
    """d/dt of (|v|², v·v*) for v = a, b, c, d, (4, 2); `size`: their |v*|²."""
    P, Q = state.T
    n1, n2 = params.n**3, params.n**2 * params.n_d
    mine, cross, wanted = (p[[0, 3]] * p[1] * p[2] for p in (P, Q, size))
    l1, l2 = (mine - 2 * cross + wanted) / (2 * np.array([n1, n2]))
    w1, w2 = (l2 + params.mu2) / (2 * n1), (l1 + params.mu1) / (2 * n2)
    cost = params.alpha / (2 * params.n * params.n_d)
    dP = np.array(
        [
            w1 * P[1] * P[2] + cost * P[3],
            (w1 * P[0] + w2 * P[3]) * P[2],
            (w1 * P[0] + w2 * P[3]) * P[1],
            w2 * P[1] * P[2] + cost * P[0],
        ]
    )
    dQ = -2 * np.array(
        [
            w1 * Q[1] * Q[2],
            (w1 * Q[0] + w2 * Q[3]) * Q[2],
            (w1 * Q[0] + w2 * Q[3]) * Q[1],
            w2 * Q[1] * Q[2],
        ]
    )
    return np.stack([-4 * P * dP - 2 * Q * dQ, -2 * Q * dP - size * dQ], -1)
