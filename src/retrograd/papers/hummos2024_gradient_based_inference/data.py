"""What the products of all three experiments share: coordinates and bulk variables."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from retrograd.papers.hummos2024_gradient_based_inference import toy
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.products import variable

KINDS = ("gbi", "lstm")  # networks trained with the task as input, and without it


def float32(dims: tuple[str, ...], values: ArrayLike, long_name: str) -> xr.Variable:
    """A variable in single precision."""
    return variable(dims, np.asarray(values, np.float32), long_name)


def indices(counts: Mapping[str, tuple[int, str]]) -> dict[str, xr.Variable]:
    """Coordinates 0, 1, ... of dimensions, from their sizes and what they count."""
    return {
        name: variable(name, np.arange(size), text) for name, (size, text) in counts.items()
    }


def seeds(count: int) -> dict[str, xr.Variable]:
    """The coordinate of independent runs."""
    return indices({"seed": (count, "index of the run's random streams")})


def evidence_coordinates(params: Toy) -> dict[str, xr.Variable]:
    """Of one-step evidence: probes after histories, and the steps of a new stream."""
    steps = np.arange(params.window, params.new_steps)
    histories = toy.TASKS * params.histories
    return seeds(params.seeds) | {
        **indices({"history": (histories, "history before the probe, by task")}),
        "probe": variable("probe", toy.probes(params), "probe value"),
        "observation": variable("observation", steps, "step of the new stream"),
    }
