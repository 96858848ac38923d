"""What the tests of Saxe et al. 2022 share: tiny experiments.

T1 to T6, M1 to M4, D1 to D4, C1 to C22 are those of the project's specification of the
paper; "Pitfalls" is a section of it.
"""

from typing import Any

import torch
import xarray as xr

from retrograd.papers.saxe2022_neural_race import theory, train
from retrograd.papers.saxe2022_neural_race.params import (
    Decoupled,
    Gating,
    Images,
    Routing,
)

CPU = torch.device("cpu")


def gating(**changes: Any) -> Gating:
    """XoR as the paper has it, for two seeds; the contextual task in small steps."""
    xor = {"N_h": 128, "sigma_0": 0.0002, "tau": 2.5, "epochs": 120, "record_every": 1}
    contextual = {"hidden": 3, "a_0": 0.01, "tau": 20, "epochs": 800, "records": 21}
    usual: dict[str, Any] = {"seeds": 2, "xor": xor, "contextual": contextual}
    for task in ("xor", "contextual"):
        usual[task] |= changes.pop(task, {})
    return Gating(**(usual | changes))


def routing(**changes: Any) -> Routing:
    """A routing network that learns the first modes."""
    usual: dict[str, Any] = {
        "M": 4,
        "K": [2],
        "sigma_0": [0.2],
        "h": 16,
        "lr": 0.02,
        "epochs": 60,
        "record_every": 20,
        "seeds": 2,
    }
    return Routing(**(usual | changes))


def routed(**changes: Any) -> xr.Dataset:
    return train.routing(routing(**changes), {}, CPU)


def network(**changes: Any) -> dict[str, Any]:
    usual = {"name": "one", "M": 4, "K": 4, "roots": [4], "h": 9, "b_0": 0.2, "lr": 0.02}
    return usual | changes


def decoupled(
    *networks: dict[str, Any], epochs: int = 150
) -> tuple[xr.Dataset, xr.Dataset]:
    """Simulation and theory of decoupled networks."""
    params = Decoupled(
        networks=[network(**n) for n in networks],
        epochs=epochs,
        record_every=max(1, epochs // 5),
        singular_values_every=max(1, epochs // 3),
    )
    return train.decoupled(params, {}, CPU), theory.decoupled(params, {})


def images(**changes: Any) -> Images:
    usual: dict[str, Any] = {
        "data": "digits",
        "inputs": "permuted",
        "M": 4,
        "h": 6,
        "networks": [
            {"K": 1, "gain": 0.5, "lr": 0.5},
            {"K": 3, "gain": 1, "lr": 0.2},
            {"K": 2, "gain": 1, "lr": 0.2, "leaky": True},
        ],
        "batch": 5,
        "steps": 12,
        "momentum": 0.9,
        "records": 3,
        "seeds": 2,
    }
    return Images(**(usual | changes))
