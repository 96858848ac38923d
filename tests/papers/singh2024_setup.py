"""What the tests of Singh et al. 2024 share: tiny experiments, and made-up trajectories.

T1 to T14 are the "Test ideas" of the project's specification of the paper, c1 to c15 its
claims. T2 (rotary positions know distances only) is in tests/test_transformer.py.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.special import expit

from retrograd.papers.singh2024_induction_heads.data import LN2
from retrograd.papers.singh2024_induction_heads.params import Training, condition
from retrograd.papers.singh2024_induction_heads.training import Batch, Member, Networks

CPU = torch.device("cpu")
SLUG = "singh2024_induction_heads"


def training(*conditions: str, **changes: Any) -> Training:
    """A few classes and labels, for a few steps."""
    batch = {"conditions": list(conditions or ["all"]), "steps": 20, "every": 10}
    batch |= {k: changes.pop(k) for k in ("steps", "every", "stop") if k in changes}
    usual: dict[str, Any] = {
        "K": 10,
        "novel": 6,
        "L": 4,
        "D": 16,
        "rho": 0.7,
        "d": 16,
        "H": 4,
        "lr": 1e-3,
        "batch": 8,
        "evaluate": 40,
        "seeds": 2,
        "batches": [batch],
    }
    return Training(**(usual | changes))


def networks(*conditions: str, **changes: Any) -> Networks:
    """All conditions and seeds as one program."""
    params = training(*conditions, **changes)
    members = [
        Member(condition(name), seed)
        for name in params.names
        for seed in range(params.seeds)
    ]
    return Networks(params, members, CPU)


def answers(made: Networks, batch: Batch) -> torch.Tensor:
    return made._forward(made.weights, batch, made._clamps).logits


def trajectory(half: float, plateau: float = 1.0, steep: float = 0.05) -> Any:
    """Loss at 0, 800, ..., 99 200 sequences: a plateau at ln 2 until it is halved.

    Args:
        half: thousands of sequences at which the loss is half of ln 2.
        plateau: factor on the loss before.
        steep: width of the drop over `half`.
    """
    t = np.arange(125) * 0.8
    loss = plateau * LN2 * expit((half - t) / (steep * half))
    loss[0] = 1.6
    return loss


def product(losses: Mapping[str, Any], **variables: Any) -> xr.Dataset:
    """Losses (seed, record) per condition, recorded every 800 sequences."""
    loss = np.array([np.atleast_2d(values) for values in losses.values()])
    dims = ("condition", "seed", "record")
    t = np.broadcast_to(800 * np.arange(loss.shape[2]), loss.shape).copy()
    found = {"loss": (dims, loss), "sequences": (dims, t)} | variables
    return xr.Dataset(
        found,
        {
            "condition": list(losses),
            "seed": np.arange(loss.shape[1]),
            "record": np.arange(loss.shape[2]),
        },
    )
