"""Several draws of a network: the first that converges is the run, and is counted."""

import numpy as np
import xarray as xr

from retrograd.papers.vanrossem2024_representations_align import train
from vanrossem_setup import CPU, setting, two_points


def runs(draws: int, seeds: int, threshold: float) -> xr.Dataset:
    asked = two_points(
        setting(draws=draws), seeds=seeds, loss_threshold=threshold, curves=True
    )
    return train.settings(asked, 0, CPU)


def test_the_first_draw_that_converges_is_the_run_and_the_others_are_counted() -> None:
    # Six networks, as three draws of two runs: run i draws networks i, i + 2, i + 4.
    networks = runs(1, 6, threshold=1)
    final = networks["loss"].isel(setting=0, time=-1).values
    threshold = float(np.sort(final)[2:4].mean())  # three of the six pass
    converged = final <= threshold
    expected = [
        next((n for n in range(run, 6, 2) if converged[n]), 4 + run) for run in range(2)
    ]
    found = runs(3, 2, threshold)
    np.testing.assert_allclose(
        found["h2"].isel(setting=0),
        networks["h2"].isel(setting=0, seed=expected),
        rtol=1e-4,
    )
    np.testing.assert_array_equal(found["converged"][0], converged[expected])
    discarded = found["discarded"][0].values
    np.testing.assert_array_equal(discarded, [n // 2 for n in expected])
    assert discarded.any()


def test_where_every_first_draw_converges_nothing_was_discarded() -> None:
    assert "discarded" not in runs(3, 2, threshold=10)
    xr.testing.assert_allclose(
        runs(3, 2, threshold=10), runs(1, 2, threshold=10), rtol=1e-4
    )
