"""How far a simulation is from the theory of the same variables and coordinates."""

import math
from collections.abc import Sequence

import xarray as xr


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
