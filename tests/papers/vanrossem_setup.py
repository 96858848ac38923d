"""What the tests of van Rossem & Saxe 2024 share: small networks and their training.

T, C1 to C13 and the symbols are those of the project's specification of the paper;
"Pitfalls" is a section of it.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr

from retrograd.config import Paper, load_paper
from retrograd.papers.vanrossem2024_representations_align import (
    data,
    observables,
    theory,
    train,
)
from retrograd.papers.vanrossem2024_representations_align.networks import Dense, Descent
from retrograd.papers.vanrossem2024_representations_align.params import (
    Setting,
    TwoPoints,
)
from retrograd.papers.vanrossem2024_representations_align.training import Run, Training

Array = data.Array
CPU = torch.device("cpu")
SLUG = "vanrossem2024_representations_align"


def setting(**changes: Any) -> Setting:
    """The smoke scale's network, smaller."""
    small: dict[str, Any] = {
        "name": "small",
        "gain": 0.9,
        "lr": 0.03,
        "width": 20,
        "depth": 4,
        "layer": 2,
        "steps": 40,
    }
    return Setting(**(small | changes))


def two_points(*settings: Setting, **changes: Any) -> TwoPoints:
    usual: dict[str, Any] = {"seeds": 2, "records": 11}
    return TwoPoints(settings=list(settings) or [setting()], **(usual | changes))


def linear_training(W: Array, V: Array, dx: float, dy: float, lr: float) -> Training:
    """A two-layer linear network, h = W x, ŷ = V h, on two points at ±dx/2, ±dy/2.

    The data are symmetric, so the mean error stays 0; float64.
    """
    network = setting(activation="linear", width=len(W), depth=1, layer=0)
    weights = [torch.tensor(w[None], dtype=torch.float64) for w in (W, V)]
    x, y = (torch.tensor([[[-d / 2], [d / 2]]], dtype=torch.float64) for d in (dx, dy))
    return Training(
        [Run(network, 0)],
        Dense(network, weights),
        Descent(torch.full((1, 1, 1), lr, dtype=torch.float64)),
        lambda: (x, y),
        observables.pair_observer([0])(x, y),
    )


def recorded(training: Training, steps: Array) -> tuple[Array, Array]:
    """(h, y, w) of one run, (time, 3), and its losses (time,)."""
    rows, losses = [], []
    for step in steps:
        training.advance_to(int(step))
        found = training.record()
        rows.append([found["h2"][0, 0], found["y2"][0], found["w"][0]])
        losses.append(found["loss"][0])
    return np.array(rows), np.array(losses)


@cache
def paper() -> Paper[Any]:
    return load_paper(SLUG, seed=0)


@cache
def product(name: str) -> xr.Dataset:
    """A product of the config at smoke scale, made once; not to be changed."""
    spec, params = paper().products[name], paper().parameters(name, "smoke")
    inputs = {other: product(other) for other in spec.need}
    if spec.step == "theory":
        return getattr(theory, spec.maker)(params, inputs)  # type: ignore[no-any-return]
    return getattr(train, spec.maker)(params, inputs, CPU)  # type: ignore[no-any-return]
