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


def kept(values: xr.DataArray, converged: xr.DataArray) -> xr.DataArray:
    """The values of runs that converged, NaN elsewhere: for reductions that skip NaN.

    Where none is left, the reductions give NaN, which is within no claim's threshold.

    Args:
        values: one or more per run.
        converged: a product's mask, with some of the dims of the values.
    """
    return values.where(converged == 1)


def check_any(converged: xr.DataArray, needed_for: str) -> None:
    """Refuse to go on where no run has converged.

    Raises:
        RetrogradError: naming what needs one, and the threshold.
    """
    if not bool(converged.any()):
        raise RetrogradError(
            f"{needed_for}: none of {converged.size} runs has converged (final loss ≤ "
            f"{converged.attrs.get('loss_threshold', 'its threshold')}); train longer, or "
            "with other seeds"
        )


def median(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Median over the runs that converged."""
    return kept(values, converged).median(dim, skipna=True)


def mean(values: xr.DataArray, converged: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """Mean over the runs that converged."""
    return kept(values, converged).mean(dim, skipna=True)


def largest(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Maximum over the runs that converged."""
    return kept(values, converged).max(dim, skipna=True)


def smallest(
    values: xr.DataArray, converged: xr.DataArray, dim: str = "seed"
) -> xr.DataArray:
    """Minimum over the runs that converged."""
    return kept(values, converged).min(dim, skipna=True)


def count(converged: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """How many runs were kept."""
    return converged.sum(dim)
