"""Initial value problems whose state is an array of any shape."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from retrograd.errors import RetrogradError

Array = NDArray[np.float64]


def integrate(
    velocity: Callable[[float, Array], Array],
    start: ArrayLike,
    times: ArrayLike,
    *,
    what: str,
    method: str = "LSODA",
    rtol: float = 1e-8,
    atol: float = 1e-10,
    **options: Any,
) -> Array:
    """Integrate dy/dt = velocity(t, y) from t = 0 and give y at the asked times.

    LSODA by default, since plateaus followed by fast escapes are mildly stiff, and since
    its interpolation between steps is as accurate as the steps.

    Args:
        velocity: gives an array of the shape of `start`.
        start: y at t = 0, of any shape; leading axes may be those of an ensemble.
        times: increasing, not negative, (time,).
        what: for the error message.
        method: of scipy.integrate.solve_ivp.
        rtol: relative tolerance.
        atol: absolute tolerance.
        options: further ones of solve_ivp.

    Returns:
        (time, *start's shape).

    Raises:
        RetrogradError: the integrator gave up; says where.
    """
    initial, asked = np.asarray(start, float), np.asarray(times, float)

    def flat_velocity(t: float, y: Array) -> Array:
        return velocity(t, y.reshape(initial.shape)).ravel()

    solution = solve_ivp(
        flat_velocity,
        (0.0, asked[-1]),
        initial.ravel(),
        method=method,
        t_eval=asked,
        rtol=rtol,
        atol=atol,
        **options,
    )
    if not solution.success:
        reached = solution.t[-1] if len(solution.t) else 0
        raise RetrogradError(f"{what} stopped at t = {reached:g}: {solution.message}")
    return solution.y.T.reshape(len(asked), *initial.shape)
