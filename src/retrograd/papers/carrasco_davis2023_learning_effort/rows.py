"""Rows of a batch as the axes of a product: what all trainings record, and how."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd.papers.carrasco_davis2023_learning_effort.data import record_steps
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
        shaped = values.cpu().numpy().reshape((*self.sizes, *values.shape[1:]))
        shaped = shaped.astype(np.float32) if bulk else shaped
        return variable((*self.dims, *dims), shaped, text, units)


def tensor(values: Sequence[float] | Array, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values, float), dtype=torch.float64, device=device)


def time_coordinate(steps: Sequence[int] | NDArray[np.int64], dt: float) -> xr.Variable:
    return variable("time", np.asarray(steps) * dt, "time t", "time constants")


ITERATIONS = 13  # of an ascent that are recorded, of however many


def ascended(rows: Rows, V: Array) -> Variables:
    """V along the ascent, (row, iteration), and its least step from any to the next."""
    at = record_steps(V.shape[1], ITERATIONS)
    least = torch.tensor(np.diff(V, axis=1).min(1))
    return {
        "V": rows.variable(torch.tensor(V[:, at]), "value V", "iteration", bulk=False),
        "V_least_step": rows.variable(least, "least step of V in the ascent", bulk=False),
        "iteration": variable("iteration", at, "iteration of the ascent"),
    }


CASES = ("baseline", "control")


def by_case(rows: Rows) -> Rows:
    """The same rows without control, then with it."""
    return Rows(("case", *rows.dims), (len(CASES), *rows.sizes))


def learned(
    rows: Rows, at: NDArray[np.int64], dt: float, base: Tensor, ctrl: Tensor
) -> Variables:
    """Losses (time, row) without and with control, at the steps `at`."""
    both = torch.cat([base, ctrl], 1)
    return {
        "loss": by_case(rows).variable(both[at].mT, "loss L", "time"),
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
