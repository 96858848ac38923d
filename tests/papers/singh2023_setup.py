"""What the tests of Singh et al. 2023 share: small mixtures, networks and products.

T, c1 to c14 and L are those of the project's specification of the paper.
"""

from typing import Any

import numpy as np
import torch
import xarray as xr

from retrograd.papers.singh2023_transient_icl import data, train
from retrograd.papers.singh2023_transient_icl.params import Mixture, Training
from retrograd.products import variable

CPU = torch.device("cpu")
SLUG = "singh2023_transient_icl"


def mixture(**changes: Any) -> Mixture:
    """The mixture of the laptop scale, with fewer classes."""
    usual = {"K": 2048, "n_lab": 32, "n_ex": 10, "D1": 64, "D2": 16, "eps": 1.2}
    return Mixture(**(usual | changes))


def training(**changes: Any) -> Training:
    """A narrow network, for a few steps."""
    usual: dict[str, Any] = {
        "exemplars": {"K": 64, "n_lab": 8, "n_ex": 3, "D1": 12, "D2": 4, "eps": 0.5},
        "network": {"d": 16, "heads": 2},
        "adam": {"steps": 20, "batch": 8},
        "conditions": [{"delta": 0.1, "seeds": [0, 1]}],
        "record_every": 5,
        "evaluated": 40,
    }
    return Training(**(usual | changes))


def trained(**changes: Any) -> xr.Dataset:
    return train.train(training(**changes), {}, CPU)


def product(runs: list[dict[str, Any]], heads: int = 2, **curves: Any) -> xr.Dataset:
    """A product made up of known curves, as `train.train` would give it.

    Args:
        runs: conditions: delta, l2 and seeds.
        heads: of the last layer.
        curves: by name, broadcasting to (run, step) for 24 records: evaluators (all three
            kinds of their numbers), train_run (23 of them), ih (the sum over the heads).
    """
    params = training(
        conditions=runs,
        adam={"steps": 23},
        record_every=1,
        network={"d": 16, "heads": heads},
    )
    made = train_shape(params)
    for name, values in curves.items():
        if name == "train_run":
            shape = made["train_run"].shape
            made["train_run"][:] = np.broadcast_to(np.asarray(values)[..., 1:], shape)
        elif name == "ih":
            shape = made["theta_norm2"].shape
            made["ih_strength"][:] = np.broadcast_to(values, shape)[..., None] / heads
        else:
            for kind in ("loss", "acc", "ctx_acc"):
                made[kind].loc[{"evaluator": name}] = values
    return made


def train_shape(params: Training) -> xr.Dataset:
    """Zeros in place of everything that is recorded."""
    coordinates = data.run_coordinates(params)
    sizes = {name: coordinates[name].size for name in coordinates}

    def zeros(*dims: str) -> xr.Variable:
        return variable(dims, np.zeros([sizes[d] for d in dims]), "made up")

    return xr.Dataset(
        {name: zeros("run", "step", "evaluator") for name in ("loss", "acc", "ctx_acc")}
        | {
            "train_run": zeros("run", "until"),
            "ih_strength": zeros("run", "step", "head"),
            "theta_norm2": zeros("run", "step"),
            "labels": variable((), np.int32(32), "labels"),
            "width": variable((), np.int32(16), "width"),
        },
        coordinates,
    )
