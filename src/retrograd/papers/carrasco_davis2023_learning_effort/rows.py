"""Rows of a batch as the axes of a product: what all trainings record, and how."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd.products import variable

Array = NDArray[np.float64]
Variables = dict[str, xr.Variable]


@dataclass(frozen=True)
class Rows:
    """The axes that rows of a batch stand for: dims, and their sizes."""

    dims: tuple[str, ...]
    sizes: tuple[int, ...]

    def variable(
        self, values: Tensor, text: str, *dims: str, bulk: bool = True, units: str = "1"
    ) -> xr.Variable:
        """Values (row, ...) by the rows' axes; bulk is kept in single precision."""
        shaped = values.cpu().numpy().reshape(*self.sizes, *values.shape[1:])
        shaped = shaped.astype(np.float32) if bulk else shaped
        return variable((*self.dims, *dims), shaped, text, units)


def tensor(values: Sequence[float] | Array, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values, float), dtype=torch.float64, device=device)


def time_coordinate(steps: Sequence[int] | NDArray[np.int64], dt: float) -> xr.Variable:
    return variable("time", np.asarray(steps) * dt, "time t", "time constants")


def ascended(rows: Rows, V: Array, V_base: Tensor) -> Variables:
    """V along the ascent, (row, iteration), and what the uncontrolled network is worth."""
    return {
        "V": rows.variable(torch.tensor(V), "value V", "iteration", bulk=False),
        "V_base": rows.variable(V_base, "value without control", bulk=False),
        "iteration": variable(
            "iteration", np.arange(V.shape[1]), "iteration of the ascent"
        ),
    }


CASES = ("baseline", "control")


def by_case(rows: Rows) -> Rows:
    """The same rows without control, then with it."""
    return Rows(("case", *rows.dims), (len(CASES), *rows.sizes))


def learned(
    rows: Rows, at: NDArray[np.int64], dt: float, base: Tensor, ctrl: Tensor, cost: Tensor
) -> Variables:
    """Losses without and with control and the cost, (time, row), at the steps `at`.

    The integral over all of the learning comes from every step.
    """
    both, cases = torch.cat([base, ctrl], 1), by_case(rows)
    total = dt * both.sum(0)
    return {
        "loss": cases.variable(both[at].mT, "loss L", "time"),
        "loss_integral": cases.variable(total, "time integral of the loss", bulk=False),
        "cost": rows.variable(cost[at].mT, "cost of control C", "time"),
        "case": variable("case", list(CASES), "without and with control"),
        "time": time_coordinate(at, dt),
    }


def row_labels(*axes: Sequence[str]) -> list[str]:
    """Names of the rows, for error messages: one label of every axis, last one fastest."""
    names = [""]
    for axis in axes:
        names = [f"{name}, {label}" if name else label for name in names for label in axis]
    return names


def seed_labels(seeds: int) -> list[str]:
    return [f"seed {seed}" for seed in range(seeds)]
