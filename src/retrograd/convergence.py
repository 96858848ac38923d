"""Which runs converged: a mask that is stored with the runs, and what is taken of the rest.

A run that did not learn its task says nothing about how the task is learned. It is kept
in its product and marked there; figures and claims reduce over the others, and a claim
says how many there were.
"""

from typing import Any

import numpy as np
import xarray as xr

from retrograd.errors import RetrogradError
from retrograd.products import variable

NAME = "converged"


def mask(dims: str | tuple[str, ...], final_loss: Any, threshold: float) -> xr.Variable:
    """The variable `converged`: 1 where the final loss is at most the threshold, else 0.

    Args:
        dims: of the runs.
        final_loss: one per run; one that is not finite has not converged.
        threshold: of the final loss; it stands in the long name and the attributes.
    """
    found = np.asarray(final_loss) <= threshold  # NaN is not
    text = f"1: the run converged, to a final loss of at most {threshold:g}; 0: it did not"
    made = variable(dims, found.astype(np.int32), text)
    made.attrs["loss_threshold"] = float(threshold)
    return made


def kept(values: xr.DataArray, converged: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """The values of runs that converged, NaN elsewhere: for reductions that skip NaN.

    Args:
        values: one or more per run.
        converged: a product's mask, with some of the dims of the values.
        dim: what will be reduced over.

    Raises:
        RetrogradError: none is left along `dim`; names where, and the threshold.
    """
    left = converged.sum(dim)
    if not bool((left > 0).all()):
        where = left.where(left == 0, drop=True)
        first = where.isel(dict.fromkeys(where.dims, 0))
        place = ", ".join(f"{d} {first[d].values}" for d in where.dims) or "the product"
        raise RetrogradError(
            f"{place}: none of {converged.sizes[dim]} runs has converged (final loss ≤ "
            f"{converged.attrs.get('loss_threshold', 'its threshold')}), so nothing is "
            "left to judge; train longer, or with other seeds"
        )
    return values.where(converged == 1)


def median(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Median over the runs that converged; raises as `kept` does."""
    return kept(values, converged, dim).median(dim, skipna=True)


def mean(values: xr.DataArray, converged: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """Mean over the runs that converged; raises as `kept` does."""
    return kept(values, converged, dim).mean(dim, skipna=True)


def largest(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Maximum over the runs that converged; raises as `kept` does."""
    return kept(values, converged, dim).max(dim, skipna=True)


def smallest(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Minimum over the runs that converged; raises as `kept` does."""
    return kept(values, converged, dim).min(dim, skipna=True)


def count(converged: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """How many runs were kept."""
    return converged.sum(dim)
