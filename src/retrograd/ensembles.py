"""Many runs that advance together: seeds and conditions are axes in front of all arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrograd import progress

Array = NDArray[np.float64]


class Ensemble(Protocol):
    """A batched simulation."""

    def advance_to(self, step: int, report: Callable[[int], object]) -> None:
        """Take steps up to `step`; report how many were taken, now and then.

        Raises:
            RetrogradError: a run went non-finite; names the run and the step.
        """

    def record(self) -> Mapping[str, Array]:
        """What is recorded now, by name, on the CPU; the ensemble's axes in front."""


def follow(
    ensemble: Ensemble, steps: Sequence[int], what: str, axes: int = 2
) -> dict[str, Array]:
    """Advance to each of the steps, and stack what is recorded at them.

    Args:
        ensemble: at a step not after the first of `steps`.
        steps: increasing.
        what: for the progress bar.
        axes: number of the ensemble's axes, for example 2 for (seed, condition, ...).

    Returns:
        By name, (seed, condition, time, ...): time comes after the ensemble's axes.
    """
    records: dict[str, list[Array]] = {}
    with progress.bar(int(steps[-1]), what) as bar:
        for step in steps:
            ensemble.advance_to(int(step), bar.update)
            for name, values in ensemble.record().items():
                records.setdefault(name, []).append(values)
    return {name: np.stack(values, axis=axes) for name, values in records.items()}
