"""Reading products of trainings, for figures and claims: accuracies, runs, peaks, ends."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

RISEN = 0.75  # accuracy of ciwl at which in-weights learning counts as there


def accuracy(product: xr.Dataset, name: str) -> xr.DataArray:
    """Accuracy of an evaluator, (run, step): within the context for icl, flip and ciwl."""
    kind = "acc" if name in ("train", "iwl") else "ctx_acc"
    return product[kind].sel(evaluator=name, drop=True)


def select(product: xr.Dataset, **wanted: float) -> xr.Dataset:
    """Runs with these values of seed, delta or l2."""
    chosen = np.ones(product.sizes["run"], bool)
    for name, value in wanted.items():
        chosen &= np.isclose(product[name].values, value, rtol=1e-6, atol=0)
    return product.isel(run=chosen)


def speeds(products: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Runs of seed 0 without regulariser at every speed δ of IWL, ascending."""
    parts = [select(products[name], seed=0, l2=0) for name in ("controls", "main")]
    joined: xr.Dataset = xr.concat(parts, "run", data_vars="all", join="exact")
    return joined.sortby("delta")


def arrival(runs: xr.Dataset) -> xr.DataArray:
    """Step at which ciwl first reaches RISEN, of the runs that get there: (run,)."""
    risen = accuracy(runs, "ciwl") >= RISEN
    there = (risen.any("step") & (runs["delta"] > 0)).values
    return runs["step"][risen.argmax("step")].drop_vars("step").isel(run=there)


def smoothed(values: xr.DataArray) -> xr.DataArray:
    """Mean of three records, at the middle one: (..., step) without its ends."""
    mean: xr.DataArray = values.rolling(step=3, center=True).mean()
    return mean.isel(step=slice(1, -1))


def peak(values: xr.DataArray) -> xr.DataArray:
    """The largest of the smoothed values over the steps."""
    return smoothed(values).max("step")


def peak_step(values: xr.DataArray) -> xr.DataArray:
    """t*: the step at which the smoothed values are largest."""
    return smoothed(values).idxmax("step")


def final(values: xr.DataArray, time: str = "step") -> xr.DataArray:
    """Mean of the last four records."""
    return values.isel({time: slice(-4, None)}).mean(time)
