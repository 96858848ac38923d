"""How far a simulation is from the theory of the same variables and coordinates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from retrograd.errors import RetrogradError


def rms_deviation(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    variables: Sequence[str],
    entries: Sequence[str],
) -> xr.DataArray:
    """RMS of the differences over all entries of the named variables together.

    Args:
        simulation: has the variables.
        theory: has them too, with the same dims and coordinates.
        variables: names.
        entries: dims whose entries are pooled, as far as a variable has them; all other
            dims (seed, condition, time, ...) are shared by the variables, and kept.
    """
    squares, count = [], 0
    for name in variables:
        a, b = xr.align(simulation[name], theory[name], join="exact")
        pooled = [dim for dim in a.dims if dim in entries]
        squares.append(((a - b) ** 2).sum(pooled))
        count += math.prod(a.sizes[dim] for dim in pooled)
    total: xr.DataArray = sum(squares[1:], start=squares[0])
    return (total / count) ** 0.5


def agreement(simulation: xr.Dataset, theory: xr.Dataset) -> list[dict[str, Any]]:
    """Deviation of every variable that both have, with the same dims and coordinates.

    Returns:
        Per variable: `name`; `largest` and `mean` of abs(simulation − theory) over all
        entries; `magnitude`, the largest of abs(theory); `at`, the coordinates of the
        largest; and `over_time`, whether recorded times are among the entries.

    Raises:
        RetrogradError: they have no such variable, so they are no pair.
    """
    rows = []
    for name, predicted in theory.data_vars.items():
        simulated = simulation.get(name)
        if simulated is None or not _comparable(simulated, predicted):
            continue
        deviation = abs(simulated - predicted).transpose(*predicted.dims)
        at = np.unravel_index(int(np.argmax(deviation.values)), deviation.shape)
        places = [
            f"{dim}={deviation[dim].values[i]}"
            for dim, i in zip(deviation.dims, at, strict=True)
        ]
        rows.append(
            {
                "name": str(name),
                "largest": float(deviation.max()),
                "mean": float(deviation.mean()),
                "magnitude": float(abs(predicted).max()),
                "at": ", ".join(places),
                "over_time": "time" in deviation.dims,
            }
        )
    if not rows:
        raise RetrogradError(
            "a simulation and the theory that `predicts` it share no variable with the "
            f"same dims and coordinates: {sorted(map(str, simulation.data_vars))} and "
            f"{sorted(map(str, theory.data_vars))}"
        )
    return rows


def _comparable(a: xr.DataArray, b: xr.DataArray) -> bool:
    if a.dtype.kind != "f" or b.dtype.kind != "f" or set(a.dims) != set(b.dims):
        return False
    return all(a.indexes[dim].equals(b.indexes[dim]) for dim in a.dims)


def text(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Sentences that end a caption: the variables over time, or all if none is."""
    sentences = []
    for pair in pairs:
        rows = [row for row in pair["variables"] if row["over_time"]] or pair["variables"]
        found = ", ".join(f"{r['name']} {r['largest']:.2g} ({r['mean']:.2g})" for r in rows)
        apart = f"deviation of {pair['simulation']} from {pair['theory']}: {found}"
        sentences.append(f" Largest (mean) {apart}.")
    return "".join(sentences)
