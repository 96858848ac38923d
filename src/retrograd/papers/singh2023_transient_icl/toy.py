"""Two mechanisms that share factors and inhibit each other: gradient descent.

The minimal model of the companion paper (arXiv:2503.05631). Mechanism 1, a⊗b⊗c, stands for
ICL, mechanism 2, d⊗b⊗c, for context-constrained IWL; each is to equal the product of true
vectors a*, b*, c* and d*. With mean squared errors l₁ and l₂, and the cost
C = |a⊗d|²/(2 n n_d) of having both,

    L = (l₁ + μ₁)(l₂ + μ₂) + α C.

No tensor is ever built: losses and gradients depend on products of vectors only. Arrays of
vectors are (run, entry).
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.singh2023_transient_icl.params import Toy
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Vectors = dict[str, Array]
LOSSES = {
    "L": "loss of the two mechanisms",
    "l1": "mean squared error of mechanism 1, halved",
    "l2": "mean squared error of mechanism 2, halved",
    "cost": "cost C of having both mechanisms",
}


def sizes(params: Toy) -> dict[str, int]:
    """Entries of every vector."""
    return {"a": params.n, "b": params.n, "c": params.n, "d": params.n_d}


def instance(params: Toy) -> tuple[Vectors, Vectors]:
    """True and initial vectors of every run, all from N(0, 1)."""

    def drawn(purpose: str) -> Vectors:
        return {
            name: np.stack(
                [
                    stream(params.seed, run, f"{purpose} {name}").standard_normal(n)
                    for run in range(params.seeds)
                ]
            )
            for name, n in sizes(params).items()
        }

    return drawn("true"), drawn("initial")


def steps(params: Toy) -> NDArray[np.int32]:
    """Steps that are recorded: equally spaced in log(1 + step), whole, each once."""
    spaced = np.expm1(np.linspace(0, np.log1p(params.steps), params.records))
    return np.unique(np.rint(spaced)).astype(np.int32)


def losses(params: Toy, true: Vectors, vectors: Vectors) -> dict[str, Array]:
    """L, l1, l2 and cost of every run, (run,)."""
    square = {k: (v**2).sum(-1) for k, v in vectors.items()}
    overlap = {k: (v * true[k]).sum(-1) for k, v in vectors.items()}
    size = {k: (v**2).sum(-1) for k, v in true.items()}
    return losses_of_products(params, square, overlap, size)


def losses_of_products(
    params: Toy, square: Vectors, overlap: Vectors, size: Vectors
) -> dict[str, Array]:
    """The same of v·v, v·v* and v*·v* of every vector v."""
    n = sizes(params)

    def error(x: str) -> Array:
        mine, cross, wanted = (p[x] * p["b"] * p["c"] for p in (square, overlap, size))
        found: Array = (mine - 2 * cross + wanted) / (2 * n[x] * n["b"] * n["c"])
        return found

    l1, l2 = error("a"), error("d")
    cost = square["a"] * square["d"] / (2 * n["a"] * n["d"])
    loss = (l1 + params.mu1) * (l2 + params.mu2) + params.alpha * cost
    return {"L": loss, "l1": l1, "l2": l2, "cost": cost}


def gradient(
    params: Toy, true: Vectors, vectors: Vectors, now: Mapping[str, Array]
) -> Vectors:
    """Gradient of L with respect to every vector, (run, entry); `now`: their losses."""
    n = sizes(params)
    square = {k: (v**2).sum(-1) for k, v in vectors.items()}
    overlap = {k: (v * true[k]).sum(-1) for k, v in vectors.items()}
    found = {k: np.zeros_like(v) for k, v in vectors.items()}
    weights = {"a": now["l2"] + params.mu2, "d": now["l1"] + params.mu1}
    for x, weight in weights.items():
        factors = (x, "b", "c")
        count = n[x] * n["b"] * n["c"]
        for v in factors:
            others = [w for w in factors if w != v]
            own, pull = (
                weight * p[others[0]] * p[others[1]] / count for p in (square, overlap)
            )
            found[v] += own[:, None] * vectors[v] - pull[:, None] * true[v]
    both = params.alpha / (n["a"] * n["d"])
    found["a"] += both * square["d"][:, None] * vectors["a"]
    found["d"] += both * square["a"][:, None] * vectors["d"]
    return found


class Descent:
    """Gradient descent of all runs; a run rests once its loss is below `stop_loss`."""

    def __init__(self, params: Toy) -> None:
        self.params, self.step = params, 0
        self.true, self.vectors = instance(params)

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        taken = step - self.step
        while self.step < step:
            now = self.record()
            moving = now["L"] >= self.params.stop_loss
            if not moving.any():
                self.step = step
                break
            rate = self.params.lr * moving[:, None]
            slopes = gradient(self.params, self.true, self.vectors, now)
            for name, slope in slopes.items():
                self.vectors[name] -= rate * slope
            self.step += 1
        report(taken)

    def record(self) -> dict[str, Array]:
        return losses(self.params, self.true, self.vectors)


def product(params: Toy, values: Mapping[str, Array]) -> xr.Dataset:
    """L, l1, l2 and cost (seed, iteration)."""
    dims = ("seed", "iteration")
    return xr.Dataset(
        {
            name: variable(dims, values[name].astype(np.float32), text)
            for name, text in LOSSES.items()
        },
        {
            "seed": variable("seed", np.arange(params.seeds), "index of the run's streams"),
            "iteration": variable("iteration", steps(params), "steps of gradient descent"),
        },
    )
