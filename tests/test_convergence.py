"""Masks of runs that converged, and reductions over them."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from retrograd import convergence, products
from retrograd.errors import RetrogradError

LOSSES = np.array([[0.001, 0.5, 0.01], [0.002, np.inf, np.nan]])


def runs() -> xr.Dataset:
    coordinates = {
        "setting": products.variable("setting", ["a", "b"], "setting"),
        "seed": products.variable("seed", np.arange(3), "seed"),
    }
    value = products.variable(("setting", "seed"), np.arange(6.0).reshape(2, 3), "value")
    mask = convergence.mask(("setting", "seed"), LOSSES, 0.01)
    return xr.Dataset({"value": value, "converged": mask}, coordinates)


def test_a_run_is_kept_if_its_loss_is_finite_and_at_most_the_threshold() -> None:
    np.testing.assert_array_equal(runs()["converged"], [[1, 0, 1], [1, 0, 0]])


def test_the_mask_can_be_stored_and_says_its_threshold(tmp_path: Path) -> None:
    products.write(runs(), tmp_path / "runs.nc", {})
    found = products.read(tmp_path / "runs.nc")["converged"]
    assert found.attrs["loss_threshold"] == 0.01
    assert "at most 0.01" in found.attrs["long_name"]
    assert found.dtype == np.int32


def test_reductions_leave_out_the_others() -> None:
    value, mask = runs()["value"], runs()["converged"]
    np.testing.assert_allclose(convergence.mean(value, mask), [1, 3])
    np.testing.assert_allclose(convergence.median(value, mask), [1, 3])
    np.testing.assert_allclose(convergence.largest(value, mask), [2, 3])
    np.testing.assert_allclose(convergence.smallest(value, mask), [0, 3])
    np.testing.assert_array_equal(convergence.count(mask), [2, 1])


@pytest.mark.parametrize("reduce", [convergence.mean, convergence.median])
def test_where_no_run_is_left_there_is_no_value(reduce) -> None:
    dataset = runs()
    dataset["converged"].loc[{"setting": "b"}] = 0
    found = reduce(dataset["value"], dataset["converged"])
    np.testing.assert_array_equal(found, [1, np.nan])


def test_what_needs_a_run_that_converged_says_so() -> None:
    mask = runs()["converged"]
    convergence.check_any(mask, "rates of a")
    with pytest.raises(RetrogradError, match=r"rates of a: none of 6 runs .* 0\.01"):
        convergence.check_any(mask.where(mask == 2, 0), "rates of a")
