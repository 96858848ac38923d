"""Integration of states of any shape."""

import numpy as np
import pytest
from scipy.linalg import expm

from retrograd import ode
from retrograd.errors import RetrogradError


@pytest.mark.parametrize("method", ["LSODA", "DOP853"])
def test_a_linear_flow_of_matrices_is_its_exponential(method: str) -> None:
    rng = np.random.default_rng(0)
    A, start = rng.standard_normal((3, 3)), rng.standard_normal((2, 3, 4))
    times = np.array([0, 0.5, 2.0])
    found = ode.integrate(
        lambda _, y: A @ y, start, times, what="test", method=method, rtol=1e-11
    )
    assert found.shape == (3, 2, 3, 4)
    for t, y in zip(times, found, strict=True):
        np.testing.assert_allclose(y, expm(A * t) @ start, rtol=1e-7, atol=1e-8)


def test_a_flow_that_blows_up_says_which_and_where() -> None:
    with pytest.raises(RetrogradError, match=r"the runaway stopped at t = "):
        ode.integrate(
            lambda _, y: y**2, [1.0], [0.5, 2.0], what="the runaway", method="DOP853"
        )
