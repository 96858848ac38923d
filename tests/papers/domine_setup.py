"""Shared by the tests of Dominé et al. 2024: small networks, and the paper's own formulas.

Numbers D1 to P1 and "Pitfalls" are of the project's specification of the paper.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
import xarray as xr
from hypothesis import settings

from retrograd.config import load_paper
from retrograd.linear_networks import Array
from retrograd.papers.domine2024_lazy_to_rich import data, theory, train
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.observables import gram, stack
from retrograd.papers.domine2024_lazy_to_rich.params import Experiment, Regression, Shape

SLUG = "domine2024_lazy_to_rich"
CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)
# Every kind of shape that the stable form has, with λ of both signs.
SHAPES = ((5, 5, 5), (8, 3, 3), (3, 3, 8))


def networks(
    shape: Sequence[int], lam: Sequence[float], seed: int = 0, seeds: int = 2
) -> Networks:
    """Sampled networks with axes (seed, λ): singular values 1.5 to 0.5, s0 = 0.1."""
    params = Regression(seed=seed, seeds=seeds, hi=1.5, lo=0.5, s0=0.1)
    return data.sample(params, Shape(*shape), lam)


def start(networks: Networks) -> Array:
    """Q at t = 0."""
    return stack(networks.W1, networks.W2)


def start_gram(networks: Networks) -> Array:
    return gram(start(networks))


def one(networks: Networks, run: int = 0, column: int = 0) -> tuple[Array, Array, Array]:
    """W1, W2 and target of one network."""
    return networks.W1[run, column], networks.W2[run, column], networks.target[run, 0]


def paper_form(W1: Array, W2: Array, target: Array, lam: float, t: float) -> Array:
    """QQᵀ(t) word by word from "Exact solution (paper form)": overflows at long times."""
    (outputs, inputs), n = target.shape, min(target.shape)
    U_all, s, Vt_all = np.linalg.svd(target)
    U, V = U_all[:, :n], Vt_all.T[:, :n]
    U_rest, V_rest = U_all[:, n:], Vt_all.T[:, n:]
    S = np.sqrt(s**2 + lam**2 / 4)
    H = np.sign(lam) * np.sqrt((S - s) / (S + s))
    G = 1 / np.sqrt(1 + H**2)
    m, p = G - H * G, G + H * G
    B = W2.T @ U * p + W1 @ V * m
    C = W2.T @ U * m - W1 @ V * p
    D = V_rest.T @ W1.T if inputs > outputs else U_rest.T @ W2
    rest = np.sign(outputs - inputs) * lam / 2
    grow, decay = np.diag(np.exp(S * t)), np.diag(np.exp(-S * t))
    Z1 = 0.5 * (V * m) @ grow @ B.T - 0.5 * (V * p) @ decay @ C.T
    Z2 = 0.5 * (U * p) @ grow @ B.T + 0.5 * (U * m) @ decay @ C.T
    if inputs > outputs:
        Z1 = Z1 + np.exp(rest * t) * V_rest @ D
    elif outputs > inputs:
        Z2 = Z2 + np.exp(rest * t) * U_rest @ D
    of_rest = np.expm1(2 * rest * t) / (2 * rest) if rest else t
    A = np.eye(len(W1)) + of_rest * D.T @ D
    A = A + B @ np.diag(np.expm1(2 * S * t) / (4 * S)) @ B.T
    A = A + C @ np.diag(-np.expm1(-2 * S * t) / (4 * S)) @ C.T
    Z = np.concatenate([Z1, Z2])
    whole: Array = Z @ np.linalg.inv(A) @ Z.T
    return whole


@cache
def experiment(scale: str) -> Experiment:
    found: Experiment = load_paper(SLUG, seed=0).scales[scale]  # type: ignore[index]
    return found


def section(name: str, **changes: Any) -> Any:
    """A section of the smoke scale, changed."""
    params = getattr(experiment("smoke"), name)
    return type(params)(**(params.model_dump() | changes))


@cache
def product(name: str) -> xr.Dataset:
    """A product of the config at smoke scale, made once; not to be changed."""
    paper = load_paper(SLUG, seed=0)
    spec = paper.products[name]
    params = paper.parameters(name, "smoke")
    if spec.step == "data":
        return getattr(data, spec.maker)(params)  # type: ignore[no-any-return]
    if spec.step == "theory":
        return getattr(theory, spec.maker)(params, {})  # type: ignore[no-any-return]
    return getattr(train, spec.maker)(params, {}, CPU)  # type: ignore[no-any-return]
