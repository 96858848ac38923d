"""What the tests of Sandbrink et al. 2024 share: tiny networks, and runs of them.

Numbers R1 to R5, C1 to C23 and the symbols are those of the project's specification of the
paper; "Pitfalls" and "Model and training" are sections of it.
"""

from typing import Any

import numpy as np
import torch

from retrograd.papers.sandbrink2024_flexible_task_abstractions.networks import (
    Array,
    GatedNetwork,
)
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
    Regime,
    TwoLayer,
)

CPU = torch.device("cpu")
SLUG = "sandbrink2024_flexible_task_abstractions"
FLEXIBLE = Regime(tau_w=1.3, tau_c=0.03, strength=0.1, weights=(1, 10))
FORGETFUL = Regime(tau_w=1.3, tau_c=1.3)
TINY: dict[str, Any] = {
    "d_in": 8,
    "d_out": 4,
    "tasks": 2,
    "gradient": "sampled",
    "batch": 20,
    "dt": 0.005,
    "tau_B": [0.5],
    "duration": 2,
    "seeds": 2,
}


def gated(**changes: Any) -> Gated:
    """Two gated students of two teachers, in both regimes; four blocks of 100 steps."""
    regimes = {"flexible": FLEXIBLE, "forgetful": FORGETFUL}
    keep = [
        "t_cross",
        "gate_speed",
        "alignment",
        "c_end",
        "loss",
        "c",
        "cos_own",
        "c_speed",
    ]
    own: dict[str, Any] = {
        "paths": 2,
        "regimes": regimes,
        "keep": keep,
        "offsets": [0, 0.1],
        "speed_steps": 10,
    }
    return Gated(**(TINY | own | changes))


def two_layer(**changes: Any) -> TwoLayer:
    strong = Regime(tau_w=0.06, tau_c=0.01, strength=0.22, weights=(1, 10))
    weak = Regime(tau_w=0.06, tau_c=0.01)
    own = {"hidden": 8, "norm": 2, "regimes": {"flexible": strong, "forgetful": weak}}
    return TwoLayer(**(TINY | own | changes))


def network(params: Gated, W: Array | None = None, c: Array | None = None) -> GatedNetwork:
    """A gated network, from chosen W (..., path, d_out, d_in) and c (..., path)."""
    found = GatedNetwork(params, CPU)
    if W is not None:
        found.W[:] = torch.tensor(np.broadcast_to(W, found.W.shape), dtype=found.dtype)
    if c is not None:
        gates = np.broadcast_to(np.asarray(c)[..., None, None], found.c.shape)
        found.c[:] = torch.tensor(gates, dtype=found.dtype)
    return found
