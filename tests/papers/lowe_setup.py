"""What the tests of Löwe et al. 2024 share: the published numbers in small populations.

Numbers T1 to T6 and I1 to I19 are those of the project's specification of the paper;
"Pitfalls" is a section of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrograd.papers.lowe2023_insight.networks import Rule
from retrograd.papers.lowe2023_insight.params import Learning, OneCondition, Study, Task

Array = NDArray[np.float64]
SLUG = "lowe2023_insight"
CPU: Any = None  # the networks are numpy's: a device is not used


def learning(**changes: Any) -> Learning:
    """The authors' code at its published values."""
    usual: dict[str, Any] = {
        "rule": "code",
        "alpha": 0.6,
        "lam": 0.07,
        "sigma_xi": 0.05,
        "sigma_eta": 0.3,
    }
    return Learning(**(usual | changes))


def task(**changes: Any) -> Task:
    usual: dict[str, Any] = {
        "pretraining": 800,
        "motion": 200,
        "colour": 400,
        "labels": "0/1",
        "M_c": 0.22,
        "sigma_m": 0.1,
        "sigma_c": 0.01,
        "coherence_mean": [0.055, 0.070, 0.198, 0.311, 0.358],
        "coherence_sd": [0.062, 0.115, 0.107, 0.1005, 0.1007],
    }
    return Task(**(usual | changes))


def short_task(**changes: Any) -> Task:
    return task(**({"pretraining": 50, "motion": 100, "colour": 100} | changes))


def study(**changes: Any) -> Study:
    usual: dict[str, Any] = {
        "seed": 0,
        "seeds": 2,
        "networks": 5,
        "task": short_task(),
        "conditions": {"default": learning()},
    }
    return Study(**(usual | changes))


def one_condition(**changes: Any) -> OneCondition:
    return OneCondition(**study(**changes).model_dump())


def step(rule: Learning, theta: Any, x: Any, label: float, xi: Any) -> Array:
    """One update of one network, without output noise; xi in units of its sd."""

    def alone(values: Any) -> Array:
        array: Array = np.array(values, dtype=float)
        return array.reshape(*array.shape, 1, 1, 1)

    new = Rule([rule]).step(
        alone(theta)[:, None], alone(x), alone(label), alone(0), alone(xi)
    )
    return new.reshape(4)
