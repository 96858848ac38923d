"""What the tests of Lufkin et al. 2024 share: tiny experiments.

C1 to C8, L1 to L5 and runs A to E are those of the project's specification of the paper;
"Pitfalls" is a section of it.
"""

from typing import Any

import torch
import xarray as xr

from retrograd.papers.lufkin2024_localization import train
from retrograd.papers.lufkin2024_localization.params import Batches, Training

CPU = torch.device("cpu")


def training(**changes: Any) -> Training:
    """One ReLU neuron and three marginals, for a few steps."""
    usual: dict[str, Any] = {
        "N": 12,
        "stimuli": ["nlgp 0.1", "nlgp 10", "alg 5"],
        "xi": [0.3, 0.7],
        "lr": 0.1,
        "B": 20,
        "record_at": [0, 10, 30],
        "seeds": 3,
    }
    return Training(**(usual | changes))


def ising(**changes: Any) -> Training:
    usual = training().model_dump(exclude={"xi"}) | {"stimuli": ["ising"], "J": [0.3, 0.7]}
    return Training(**(usual | changes))


def elliptical(**changes: Any) -> Training:
    return training(**({"stimuli": ["shell", "extreme", "t 6"], "xi": [1, 3]} | changes))


def batches(**changes: Any) -> Batches:
    """Elliptical and Ising inputs in one product."""
    lists: dict[str, Any] = {"B": 20, "record_at": [0, 10, 30]}
    usual: dict[str, Any] = {
        "N": 12,
        "seeds": 2,
        "keep_path": True,
        "keep_spectrum": True,
        "batches": [
            {"stimuli": ["shell", "t 6"], "xi": [1, 3], "lr": 0.1} | lists,
            {"stimuli": ["ising"], "J": [0.3, 0.7], "lr": 0.05} | lists,
        ],
    }
    return Batches(**(usual | changes))


def sgd(params: Training | Batches) -> xr.Dataset:
    return train.train(params, {}, CPU)
